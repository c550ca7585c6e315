package pglocal

import (
	"fmt"
	"syscall"
)

// Space is how much of the disk that the cluster's data are on is free, for whoever
// needs no privilege, and how large it is, in bytes.
func (s *Server) Space() (free, size uint64, err error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(s.cluster.data(), &stat); err != nil {
		return 0, 0, fmt.Errorf("look at the disk of the embedded Postgres: %w", err)
	}
	block := uint64(stat.Bsize)
	return uint64(stat.Bavail) * block, uint64(stat.Blocks) * block, nil
}
