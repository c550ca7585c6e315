package pglocal

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// unpackLimit bounds what a package may unpack to; the pinned ones come to 60 MB.
const unpackLimit = 512 << 20

// unpack extracts the server (the tree native/) of an npm tarball into dir and
// recreates the symbolic links, which npm can't carry: the package lists them in
// native/pg-symlinks.json, and without them the loader misses its libraries.
func unpack(tarball, dir string) error {
	file, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer file.Close()
	zipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	entries := tar.NewReader(io.LimitReader(zipped, unpackLimit))
	for {
		head, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(head.Name, "package/")
		if head.Typeflag != tar.TypeReg || !strings.HasPrefix(name, "native/") {
			continue
		}
		if err := extract(entries, dir, name, head.Mode&0o111 != 0); err != nil {
			return err
		}
	}
	return linkUp(dir)
}

func extract(from io.Reader, dir, name string, executable bool) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("the path %q leads out of the package", name)
	}
	// No fork between open and close: the child would hold the program open for
	// writing until its exec, and "text file busy" meets who runs it meanwhile.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	path := filepath.Join(dir, name)
	if err := makeDirs(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if executable {
		mode = 0o755
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, from)
	return errors.Join(err, out.Chmod(mode), out.Close())
}

func linkUp(dir string) error {
	list, err := os.ReadFile(filepath.Join(dir, "native", "pg-symlinks.json"))
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(list, &links); err != nil {
		return fmt.Errorf("pg-symlinks.json: %w", err)
	}
	for _, l := range links {
		// The list calls the existing file the source and the link the target.
		to, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
		if err != nil || !filepath.IsLocal(l.Source) || !filepath.IsLocal(l.Target) {
			return fmt.Errorf("the link %q leads out of the package", l.Target)
		}
		if err := os.Symlink(to, filepath.Join(dir, l.Target)); err != nil {
			return err
		}
	}
	return nil
}
