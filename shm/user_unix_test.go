//go:build unix

package shm

import (
	"os"
	"os/exec"
	"syscall"

	"github.com/shmactor/shmactor/internal/testkit"
)

// asAnotherUser makes a command run as a user without rights, if this process may do that.
func asAnotherUser(cmd *exec.Cmd) bool {
	if os.Getuid() != 0 || testkit.Emulated() {
		return false
	}
	cmd.Path = "/proc/self/exe" // the file's folder is closed to the other user
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: true}}
	return true
}
