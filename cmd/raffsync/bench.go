package main

import (
	"context"
	"log/slog"
	"maps"
	"os"

	"raffsync/cmd/raffsync/bench"
)

type benchCommand struct{ bench.Command }

func (c *benchCommand) Run(ctx context.Context, line *commandLine) error {
	return c.Measure(ctx, instanceName("bench "+line.State))
}

// benchEngineCommand is `raffsync bench-engine`, which the bench starts and speaks to:
// serve as it is, on free ports, with the bench's kinds of destination beside its own.
type benchEngineCommand struct{ listenFlags }

func (c *benchEngineCommand) Run(ctx context.Context, line *commandLine) error {
	var own bench.Kinds
	kinds := registry()
	maps.Copy(kinds, own.Registry())
	listen := c.listenFlags
	listen.HTTP, listen.GRPC, listen.Metrics = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return serve(ctx, line, serveOptions{
		listenFlags: listen, development: true, kinds: kinds, log: newLogger(os.Stderr, slog.LevelWarn),
		ready: func(r running) error {
			return bench.ServeEngine(ctx, os.Stdin, os.Stdout, r.app.grpcAt.Addr().String(), r.app.httpAt.Addr().String(), &own, r.ended)
		},
	})
}
