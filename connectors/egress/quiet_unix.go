//go:build unix

package egress

import "syscall"

// nothingToRead tells whether a socket is open and has nothing to be read.
func nothingToRead(fd uintptr) bool {
	var b [1]byte
	_, err := syscall.Read(int(fd), b[:])
	return err == syscall.EAGAIN
}
