package supervisor

import "syscall"

// processAttributes puts a worker into a process group of its own, so that a Ctrl-C in the terminal reaches the program
// alone, and has the kernel kill it when the thread that started it is gone.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
