// Bundle builds the page of package console. It takes the npm packages that
// package-lock.json names, into a folder of the user's cache, and bundles them with
// esbuild: the same input gives the same bytes.
//
//	go generate ./graph/console
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, "."); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, console string) error {
	modules, err := packages(ctx, console)
	if err != nil {
		return err
	}
	files, err := bundle(console, modules)
	if err != nil {
		return err
	}
	return store(console, files)
}
