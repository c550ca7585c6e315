package pglocal

import (
	"syscall"
	"testing"
)

func TestStart_RefusesDirectoriesItCanNotUse_DiskFull(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=755"); err != nil {
		t.Skipf("not tried on this machine: a small file system can't be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	_, err := Start(t.Context(), Config{Dir: dir})
	wantError(t, err, nil, "initdb", "No space left on device")
}
