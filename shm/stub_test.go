package shm
func fileOwner(){}
func publishedOwner(){}
func stranger(){}
func allocator(){}
