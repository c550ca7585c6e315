package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"raffsync/outbox"
)

type keysCommand struct {
	Create   keysCreate   `cmd:"" help:"Make a key for a source; it is printed this once."`
	List     keysList     `cmd:"" help:"List a tenant's keys, without their secrets."`
	Revoke   keysRevoke   `cmd:"" help:"End a key; streams that use it end within seconds."`
	Operator keysOperator `cmd:"" help:"Give an operator a login for the API."`
}

type tenantFlag struct {
	Tenant string `help:"Whose; may be left out where there is only one." placeholder:"NAME"`
}

// resolve gives the tenant meant: the only one there is, where none is named.
func (f tenantFlag) resolve(ctx context.Context, store *outbox.Store) (string, error) {
	if f.Tenant != "" {
		return f.Tenant, nil
	}
	all, err := store.Configurations(ctx)
	if err != nil {
		return "", err
	}
	switch len(all) {
	case 0:
		return "", errors.New("no configuration is in force yet; apply one first, or name the tenant with --tenant")
	case 1:
		return all[0].Tenant, nil
	}
	var names []string
	for _, a := range all {
		names = append(names, a.Tenant)
	}
	return "", fmt.Errorf("there are several tenants; name one with --tenant: %s", strings.Join(names, ", "))
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
			state := "in force"
			if k.RevokedAt != nil {
				state = "revoked " + k.RevokedAt.Format("2006-01-02 15:04")
			}
			fmt.Printf("%s  %-20s  created %s by %s, %s\n", k.Prefix, k.Source, k.CreatedAt.Format("2006-01-02 15:04"), k.CreatedBy, state)
		}
		return nil
	})
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

type keysOperator struct {
	tenantFlag
	Name string `arg:"" help:"Name to log in with."`
}

func (keysOperator) Help() string {
	return `Makes a secret for the operator and prints it this once; an earlier one ends.`
}

func (c *keysOperator) Run(ctx context.Context, line *commandLine) error {
	if c.Name == "" || strings.ContainsFunc(c.Name, unicode.IsControl) || strings.Contains(c.Name, ":") {
		return errors.New("an operator's name is one line of text without a colon, which HTTP Basic keeps for itself")
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		secret := rand.Text()
		if err := store.SetOperator(ctx, actor(tenant), c.Name, secret); err != nil {
			return err
		}
		fmt.Printf("%s / %s\n", c.Name, secret)
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
