package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"raffsync/outbox/pglocal"
)

type resetCommand struct {
	Yes bool `help:"Do not ask."`
}

func (resetCommand) Help() string {
	return `Deletes what this folder's installation keeps: the embedded Postgres with all events
and their history, and the keys, logins and ledgers in the state folder. It asks first,
and refuses while the installation runs. A Postgres of yours is left alone.`
}

func (c *resetCommand) Run(ctx context.Context, line *commandLine) error {
	name, err := readInstance(line.State)
	if err != nil {
		return err
	}
	if name == "" {
		if !hasBeenUp(line.State, false) {
			return noInstallation(line.State)
		}
		name = instanceName(line.State)
	}
	dir, err := pglocal.DefaultDir(name)
	if err != nil {
		return err
	}
	fmt.Printf("This deletes the embedded Postgres in %s with all its data, and what %s holds of it.\n", dir, line.State)
	if !c.Yes {
		fmt.Print("Type yes to go on: ")
		answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		if strings.TrimSpace(answer) != "yes" {
			return errors.New("nothing was deleted")
		}
	}
	unlock, err := lockState(line.State)
	if err != nil {
		return err
	}
	defer unlock()
	if err := pglocal.Remove(ctx, dir); errors.Is(err, pglocal.ErrInUse) {
		return fmt.Errorf("the installation runs; stop it first: %w", err)
	} else if err != nil {
		return err
	}
	return deleteState(line.State)
}

// ofInstallation are the files of a state folder that mean nothing without the data.
var ofInstallation = []string{"*.key", loginFile, "shop.json", "platforms", demoLogFile, demoLockFile, addressFile, instanceFile}

// deleteState deletes what is ours in the folder, and the folder if nothing else is
// there.
func deleteState(state string) error {
	for _, pattern := range ofInstallation {
		found, err := filepath.Glob(filepath.Join(globEscaped(state), pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(state); errors.Is(err, syscall.ENOTEMPTY) {
		fmt.Printf("%s stays: it holds files that are not of the installation\n", state)
	} else if err != nil {
		return err
	}
	return nil
}
