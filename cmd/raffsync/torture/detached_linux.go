package torture

import "syscall"

// detached keeps the terminal's signals from a child, and the child from outliving the
// rig, however that ends.
func detached() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
