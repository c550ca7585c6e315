package torture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// smallDisk is a file system of its own, small enough to be filled.
type smallDisk struct{ mount string }

// mountSmallDisk makes one of so many bytes. It needs the right to mount; the error says why
// it is not there.
func mountSmallDisk(mount string, bytes int64) (*smallDisk, error) {
	if err := os.MkdirAll(mount, 0o755); err != nil {
		return nil, err
	}
	if err := syscall.Mount("raffsync", mount, "tmpfs", 0, fmt.Sprintf("mode=0755,size=%d", bytes)); err != nil {
		return nil, fmt.Errorf("mount a small disk: %w", err)
	}
	return &smallDisk{mount}, nil
}

func (d *smallDisk) ballast() string { return filepath.Join(d.mount, "ballast") }

// fill takes what room there is.
func (d *smallDisk) fill() error {
	var room syscall.Statfs_t
	if err := syscall.Statfs(d.mount, &room); err != nil {
		return err
	}
	file, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer file.Close()
	// Postgres takes of it too, meanwhile.
	var taken int64
	for piece := int64(room.Bavail) * room.Bsize; piece >= 32<<10; {
		switch err := syscall.Fallocate(int(file.Fd()), 0, taken, piece); {
		case err == nil:
			taken += piece
		case errors.Is(err, syscall.ENOSPC):
			piece /= 2
		default:
			return err
		}
	}
	return nil
}

// free gives it back.
func (d *smallDisk) free() error { return os.Remove(d.ballast()) }

func (d *smallDisk) unmount() error {
	if err := syscall.Unmount(d.mount, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", d.mount, err)
	}
	return os.Remove(d.mount)
}
