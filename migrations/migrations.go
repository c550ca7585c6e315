package migrations

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"

	"github.com/golang-migrate/migrate/v4/source"
)

//go:embed *.sql
var embedded embed.FS

// Hash identifies the embedded migrations: 16 hexadecimal digits over names and
// contents. Databases migrated by equal hashes are equal.
func Hash() string {
	hash, err := hashOf(embedded)
	if err != nil {
		panic(err) // an embedded file can be read
	}
	return hash
}

func hashOf(files fs.FS) (string, error) {
	names, err := fs.Glob(files, "*.sql") // sorted
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	part := func(b []byte) {
		_ = binary.Write(sum, binary.BigEndian, uint64(len(b)))
		sum.Write(b)
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return "", err
		}
		part([]byte(name))
		part(text)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// Latest is the version that the embedded migrations lead to.
func Latest() uint {
	known, err := list(embedded)
	if err != nil {
		panic(err) // a test reads them
	}
	return known.latest()
}

// versions are the migrations of a set of files, ascending.
type versions []*source.Migration

func list(files fs.FS) (versions, error) {
	names, err := fs.Glob(files, "*.up.sql")
	if err != nil {
		return nil, err
	}
	var all versions
	for _, name := range names {
		m, err := source.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("migration %s: the name is to be like 000001_subject.up.sql", name)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *source.Migration) int { return cmp.Compare(a.Version, b.Version) })
	return all, nil
}

func (v versions) latest() uint {
	if len(v) == 0 {
		return 0
	}
	return v[len(v)-1].Version
}

// file is the name of a version's file, "" for a version that is not here.
func (v versions) file(version uint) string {
	for _, m := range v {
		if m.Version == version {
			return m.Raw
		}
	}
	return ""
}

// before is the version that precedes one, 0 where none does.
func (v versions) before(version uint) uint {
	var last uint
	for _, m := range v {
		if m.Version < version {
			last = m.Version
		}
	}
	return last
}

// between are the files that lead from one version to another.
func (v versions) between(from, to uint) []string {
	var names []string
	for _, m := range v {
		if m.Version > from && m.Version <= to {
			names = append(names, m.Raw)
		}
	}
	return names
}
