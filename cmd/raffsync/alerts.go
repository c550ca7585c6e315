package main

import (
	"fmt"

	"raffsync/cmd/raffsync/metrics"
)

type alertsCommand struct{}

func (alertsCommand) Help() string {
	return `Prints rules to begin with: what a person should hear of, and what to do then.

Examples:
  raffsync alerts > raffsync.yml && promtool check rules raffsync.yml`
}

func (alertsCommand) Run() error {
	_, err := fmt.Print(metrics.Alerts)
	return err
}
