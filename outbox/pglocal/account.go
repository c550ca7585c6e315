package pglocal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is whom Postgres runs as.
type account struct {
	name     string
	uid, gid uint32
	drop     bool // we are root and must become this account
}

// nobodyID is the uid and gid of "nobody" on Linux: the account to drop to where
// no user postgres exists. Nothing else should own files under it.
const nobodyID = 65534

// serverAccount chooses the account: ourselves, or, for root, the owner of an
// existing data directory (a user postgres may have been added since), else the
// user postgres, else nobody.
func serverAccount(dataDir string) (account, error) {
	if uid := os.Geteuid(); uid != 0 {
		return account{name: "uid " + strconv.Itoa(uid), uid: uint32(uid), gid: uint32(os.Getegid())}, nil
	}
	if info, err := os.Stat(dataDir); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return account{name: userName(st.Uid), uid: st.Uid, gid: st.Gid, drop: true}, nil
		}
	}
	u, err := user.Lookup("postgres")
	var unknown user.UnknownUserError
	if errors.As(err, &unknown) {
		return account{name: userName(nobodyID), uid: nobodyID, gid: nobodyID, drop: true}, nil
	}
	if err != nil {
		return account{}, fmt.Errorf("pglocal: looking up the user postgres: %w", err)
	}
	uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uerr, gerr); err != nil {
		return account{}, fmt.Errorf("pglocal: the ids of user postgres: %w", err)
	}
	return account{name: "postgres", uid: uint32(uid), gid: uint32(gid), drop: true}, nil
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// become makes the command run as the account, in a session of its own: the
// terminal's Ctrl-C goes to the foreground group, and Postgres must outlive us
// until the last transaction of the drain.
func (a account) become(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if a.drop {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	// Nothing of ours: PGDATA, PGPORT and the like change what Postgres does,
	// and secrets in the environment are none of its business.
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
}

// own hands a path to the account.
func (a account) own(path string) error {
	if !a.drop {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// privateDir makes sure that path is a folder of the account with mode 0700. In
// /tmp anyone could have made it before us, so what is there is not trusted.
func (a account) privateDir(path string) error {
	err := os.Mkdir(path, 0o700)
	if err == nil {
		return a.own(path)
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || (st.Uid != a.uid && st.Uid != 0) {
		return fmt.Errorf("%s exists and is not a folder of %s: remove it", path, a.name)
	}
	if err := os.Chmod(path, 0o700); err != nil {
		return err
	}
	return a.own(path)
}

// makeDirs is MkdirAll with the mode meant literally: root's umask of 077 would
// otherwise close the way to the account.
func makeDirs(path string, mode fs.FileMode) error {
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s is not a folder", path)
		}
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := makeDirs(parent, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(path, mode)
}

// reach tells which folder on the way to path the account can't pass, if any.
func (a account) reach(path string) error {
	if !a.drop {
		return nil
	}
	for p := path; ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if ok && !a.mayPass(st) {
			return fmt.Errorf("%s is closed to the user %s (mode %04o), and Postgres refuses to run as root: choose a folder outside it", p, a.name, info.Mode().Perm())
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}

func (a account) mayPass(st *syscall.Stat_t) bool {
	switch {
	case st.Uid == a.uid:
		return st.Mode&0o100 != 0
	case st.Gid == a.gid:
		return st.Mode&0o010 != 0
	default:
		return st.Mode&0o001 != 0
	}
}
