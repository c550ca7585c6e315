package demo

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"raffsync/connectors/simulator"
)

// PlatformCommand is `raffsync platform NAME`, which [Platforms] starts. It is
// hidden: people have no use for it, except in tests of their own.
type PlatformCommand struct {
	Name       string `arg:"" help:"Name of the platform."`
	Behaviour  string `enum:"healthy,failing,strict" default:"healthy" help:"What it does: ${enum}."`
	Listen     string `default:"127.0.0.1:0" help:"Loopback address to listen on; port 0 takes a free one."`
	Ledger     string `required:"" type:"path" help:"File that the ledger is kept in."`
	SecretFile string `required:"" type:"existingfile" help:"File with the whsec_ secret of its webhooks."`
	SKUFile    string `name:"sku-file" type:"existingfile" help:"File with the SKUs that a strict platform knows, one a line."`

	FaultSeed    uint64        `help:"Chooses one schedule of faults."`
	FaultPercent int           `help:"Percentage of requests that a failing platform fails: 20 where 0, none where negative."`
	OutageFirst  time.Duration `help:"When a failing platform is down for the first time after its start: 12s where 0."`
	OutageEvery  time.Duration `help:"How often it is down: every 60s where 0."`
	OutageDown   time.Duration `help:"How long it is down: 15s where 0, never where negative."`
	Hang         time.Duration `help:"The longest that a request stays without an answer: 30s where 0."`
	Slow         time.Duration `help:"The longest that a slow answer takes: 4s where 0."`
}

// Run serves until ctx or standard input ends.
func (c *PlatformCommand) Run(ctx context.Context) error {
	secret, err := readLine(c.SecretFile)
	if err != nil {
		return fmt.Errorf("platform %s: %w", c.Name, err)
	}
	config := simulator.Config{
		Name:      c.Name,
		Behaviour: simulator.Behaviour(c.Behaviour),
		Listen:    c.Listen,
		Ledger:    c.Ledger,
		Secret:    secret,
		Faults: simulator.Faults{
			Seed: c.FaultSeed, Percent: c.FaultPercent, Hang: c.Hang, Slow: c.Slow,
			First: c.OutageFirst, Every: c.OutageEvery, Down: c.OutageDown,
		},
	}
	if c.SKUFile != "" {
		if config.SKUs, err = readLines(c.SKUFile); err != nil {
			return fmt.Errorf("platform %s: %w", c.Name, err)
		}
	}
	return simulator.Run(ctx, config, os.Stdin, os.Stdout)
}

func readLines(path string) ([]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := []string{}
	for scanner := bufio.NewScanner(file); ; {
		if !scanner.Scan() {
			return lines, scanner.Err()
		}
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			lines = append(lines, line)
		}
	}
}

// arguments is the command line that makes the command.
func (c *PlatformCommand) arguments() []string {
	return []string{
		"platform", c.Name,
		"--behaviour=" + c.Behaviour,
		"--listen=" + c.Listen,
		"--ledger=" + c.Ledger,
		"--secret-file=" + c.SecretFile,
		fmt.Sprintf("--fault-seed=%d", c.FaultSeed),
		fmt.Sprintf("--fault-percent=%d", c.FaultPercent),
		"--outage-first=" + c.OutageFirst.String(),
		"--outage-every=" + c.OutageEvery.String(),
		"--outage-down=" + c.OutageDown.String(),
		"--hang=" + c.Hang.String(),
		"--slow=" + c.Slow.String(),
	}
}
