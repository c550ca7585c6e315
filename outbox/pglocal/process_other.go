//go:build !linux

package pglocal

import (
	"os/exec"
	"strconv"
	"strings"
)

// isPostmaster tells whether the process is a postmaster that was launched on
// this data directory.
func isPostmaster(pid int, dataDir string) bool {
	line, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.HasSuffix(strings.TrimSpace(string(line)), " -D "+dataDir)
}
