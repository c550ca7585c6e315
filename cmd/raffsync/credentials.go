package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"raffsync/outbox"
)

type keysCommand struct {
	Create         keysCreate         `cmd:"" help:"Make a key for a source; it is printed this once."`
	List           keysList           `cmd:"" help:"List a tenant's keys, without their secrets."`
	Revoke         keysRevoke         `cmd:"" help:"End a key; streams that use it end within seconds."`
	Operator       keysOperator       `cmd:"" help:"Give an operator a login for the API."`
	Operators      keysOperators      `cmd:"" help:"List a tenant's operators, without their secrets."`
	RevokeOperator keysRevokeOperator `cmd:"" help:"End an operator's login, within a minute."`
}

type tenantFlag struct {
	Tenant string `help:"Whose; may be left out where there is only one." placeholder:"NAME"`
}

// resolve gives the tenant meant: the one named, if there is one of this name, or the
// only one there is.
func (f tenantFlag) resolve(ctx context.Context, store *outbox.Store) (string, error) {
	all, err := store.Configurations(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, a := range all {
		names = append(names, a.Tenant)
	}
	switch {
	case len(names) == 0:
		return "", errors.New("no configuration is in force yet; apply one first")
	case f.Tenant == "" && len(names) == 1:
		return names[0], nil
	case f.Tenant == "":
		return "", fmt.Errorf("there are several tenants; name one with --tenant: %s", strings.Join(names, ", "))
	case !slices.Contains(names, f.Tenant):
		return "", fmt.Errorf("there is no tenant %q; there is %s", f.Tenant, strings.Join(names, ", "))
	}
	return f.Tenant, nil
}

type keysCreate struct {
	tenantFlag
	Source string `arg:"" help:"Source that the key is for."`
	Out    string `help:"Write the key to this file, for its owner only, instead of printing it." type:"path" placeholder:"FILE"`
}

func (keysCreate) Help() string {
	return `Examples:
  raffsync keys create shop
  raffsync keys create shop --out /run/secrets/shop.key`
}

func (c *keysCreate) Run(ctx context.Context, line *commandLine) error {
	if c.Out != "" {
		if _, err := os.Lstat(c.Out); err == nil {
			return fmt.Errorf("%s is there already; revoke its key and delete it, or choose another file", c.Out)
		}
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		current, err := store.ConfigurationOf(ctx, tenant)
		if err != nil {
			return err
		}
		if _, ok := current.Names.Sources[c.Source]; !ok {
			return fmt.Errorf("tenant %s has no source %q; add it to the configuration and apply that first", tenant, c.Source)
		}
		key, err := store.CreateKey(ctx, actor(tenant), c.Source)
		if err != nil {
			return err
		}
		if c.Out == "" {
			fmt.Println(key)
			return nil
		}
		return writeSecret(c.Out, key)
	})
}

type keysList struct {
	tenantFlag
	JSON bool `name:"json" help:"Print as JSON."`
}

func (c *keysList) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		keys, err := store.Keys(ctx, tenant)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(append([]outbox.Key{}, keys...))
		}
		for _, k := range keys {
			fmt.Printf("%s  %-20s  %s\n", k.Prefix, k.Source, sinceWhen(k.CreatedAt, k.CreatedBy, k.RevokedAt))
		}
		return nil
	})
}

// sinceWhen says who made a credential, and whether it is in force.
func sinceWhen(created time.Time, by string, revoked *time.Time) string {
	const minute = "2006-01-02 15:04"
	state := "in force"
	if revoked != nil {
		state = "revoked " + revoked.Format(minute)
	}
	return fmt.Sprintf("created %s by %s, %s", created.Format(minute), by, state)
}

type keysRevoke struct {
	tenantFlag
	Prefix string `arg:"" help:"The key's eight characters after rs_, as the list shows them."`
}

func (c *keysRevoke) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		if err := store.RevokeKey(ctx, actor(tenant), c.Prefix); err != nil {
			return err
		}
		fmt.Println("revoked")
		return nil
	})
}

// writeSecret puts a secret into a file that only its owner may read. It is there as
// a whole, or not at all.
func writeSecret(path, secret string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // gone already where all went well
	if _, err := file.WriteString(secret + "\n"); err != nil {
		file.Close()
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
