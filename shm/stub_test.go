package shm
func publishedOwner(){}
func stranger(){}
