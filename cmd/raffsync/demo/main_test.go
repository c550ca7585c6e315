package demo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// The test binary is raffsync to the platforms: "platform" is the subcommand that
// they are started with, "parent" a process that has platforms, to be killed.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "platform" && os.Args[1] != "parent" {
		os.Exit(m.Run())
	}
	var commands struct {
		Platform PlatformCommand `cmd:"" hidden:""`
		Parent   parentCommand   `cmd:""`
	}
	call := kong.Parse(&commands, kong.BindTo(context.Background(), (*context.Context)(nil)))
	call.FatalIfErrorf(call.Run())
	os.Exit(0)
}

type parentCommand struct {
	State string `arg:""`
}

func (c *parentCommand) Run(ctx context.Context) error {
	p, err := NewPlatforms(PlatformsConfig{State: c.State})
	if err != nil {
		return err
	}
	go func() {
		if _, err := p.Ready(ctx); err == nil {
			fmt.Println("ready")
		}
	}()
	return p.Run(ctx)
}

// eventually returns once the condition holds; the test's own deadline ends it.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	every := time.NewTicker(2 * time.Millisecond)
	defer every.Stop()
	for !condition() {
		select {
		case <-every.C:
		case <-t.Context().Done():
			t.Fatalf("never: %s", what)
		}
	}
}

var quiet = slog.New(slog.DiscardHandler)
