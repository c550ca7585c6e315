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
		return printJSON(struct {
			Version  string `json:"version"`
			Revision string `json:"revision,omitempty"` // not of every build
			Go       string `json:"go"`
			Schema   uint   `json:"schema"`
		}{version, revision, goVersion, migrations.Latest()})
	}
	if revision != "" {
		version += " " + revision
	}
	fmt.Printf("raffsync %s, %s, database version %d\n", version, goVersion, migrations.Latest())
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
