package pglocal

import (
	"bytes"
	"fmt"
	"os"
)

// isPostmaster tells whether the process is a postmaster that was launched on
// this data directory. It reads the command line, since /proc/<pid>/cwd is
// closed even to root in a container without CAP_SYS_PTRACE; a zombie has none.
func isPostmaster(pid int, dataDir string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(line, []byte("\x00-D\x00"+dataDir+"\x00"))
}
