//go:build !linux

package torture

import "syscall"

// detached keeps the terminal's signals from a child.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
