//go:build !linux

package supervisor

import "syscall"

func processAttributes() *syscall.SysProcAttr { return nil }
