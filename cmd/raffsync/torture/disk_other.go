//go:build !linux

package torture

import "errors"

// smallDisk is there on Linux only.
type smallDisk struct{}

func mountSmallDisk(string, int64) (*smallDisk, error) { return nil, errors.ErrUnsupported }

func (*smallDisk) fill() error    { return errors.ErrUnsupported }
func (*smallDisk) free() error    { return errors.ErrUnsupported }
func (*smallDisk) unmount() error { return errors.ErrUnsupported }
