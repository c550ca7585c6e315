package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"raffsync/migrations"
)

type migrateCommand struct{}

func (migrateCommand) Help() string {
	return `Brings the database to this program's version. serve does the same when it starts;
run it by hand where the tables belong to another role than the one that serves.`
}

func (migrateCommand) Run(ctx context.Context, line *commandLine) error {
	log := newLogger(os.Stderr, slog.LevelWarn)
	d, err := openDatabase(ctx, line, "", prepare, log)
	if err != nil {
		return err
	}
	result, err := migrations.Up(ctx, d.dsn)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if stopErr := d.stop(stopping); err == nil {
		err = stopErr
	}
	if err != nil {
		return err
	}
	if len(result.Applied) == 0 {
		fmt.Printf("nothing to do: the database is at version %d\n", result.To)
		return nil
	}
	fmt.Printf("from version %d to %d: %v\n", result.From, result.To, result.Applied)
	return nil
}
