package main

import (
	"fmt"
	"runtime/debug"

	"raffsync/migrations"
)

type versionCommand struct {
	JSON bool `name:"json" help:"Print as JSON."`
}

func (c *versionCommand) Run() error {
	version, revision, goVersion := programVersion()
	if c.JSON {
		return printJSON(map[string]any{"version": version, "revision": revision, "go": goVersion, "schema": migrations.Latest()})
	}
	fmt.Printf("raffsync %s %s, %s, database version %d\n", version, revision, goVersion, migrations.Latest())
	return nil
}

// programVersion is what the linker wrote into the program.
func programVersion() (version, revision, goVersion string) {
	info, _ := debug.ReadBuildInfo()
	version = "(devel)"
	if info != nil {
		version, goVersion = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return version, revision, goVersion
}
