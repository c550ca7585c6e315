package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestShortReason(t *testing.T) {
	for reason, want := range map[string]string{
		"": "", "too many requests failed": "too many requests failed",
		"at least 50 % of the requests of 30s failed, the last by: 503 Service Unavailable: down for maintenance": "503 Service Unavailable",
	} {
		if got := shortReason(reason); got != want {
			t.Errorf("%q of %q, want %q", got, reason, want)
		}
	}
}

func TestTyped(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DATABASE_URL", "postgres://of/environment")
	t.Setenv("MAKELEVEL", "")
	for name, test := range map[string]struct {
		line         commandLine
		arguments    []string
		story, again string
	}{
		"Default":     {commandLine{State: filepath.Join(here, ".raffsync")}, []string{"raffsync", "demo"}, "raffsync story 1042", "raffsync demo"},
		"State":       {commandLine{State: filepath.Join(here, "s 2")}, []string{filepath.Join(here, "bin/raffsync"), "demo", "--state", "s 2"}, "bin/raffsync story 1042 --state 's 2'", "bin/raffsync demo --state 's 2'"},
		"Elsewhere":   {commandLine{State: "/srv/s"}, []string{"/opt/raffsync", "--state=/srv/s", "demo"}, "/opt/raffsync story 1042 --state /srv/s", "/opt/raffsync --state=/srv/s demo"},
		"Environment": {commandLine{State: filepath.Join(here, ".raffsync"), Database: "postgres://of/environment"}, []string{"raffsync", "demo"}, "raffsync story 1042", "raffsync demo"},
		"Password": {
			commandLine{State: filepath.Join(here, ".raffsync"), Database: "postgres://u:s3cr3t@h/d"},
			[]string{"raffsync", "demo", "--database=postgres://u:s3cr3t@h/d"},
			"raffsync story 1042 --database postgres://…@h/d", "raffsync demo --database=postgres://…@h/d",
		},
		"KeywordsAndValues": {commandLine{State: filepath.Join(here, ".raffsync"), Database: "host=h password=s3cr3t"}, []string{"raffsync", "demo"}, "raffsync story 1042 --database …", "raffsync demo"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := typed(test.arguments[0], &test.line, "story", "1042"); got != test.story {
				t.Errorf("to look: %q, want %q", got, test.story)
			}
			if got := startedBy(test.arguments, &test.line); got != test.again {
				t.Errorf("to start again: %q, want %q", got, test.again)
			}
		})
	}
	t.Setenv("MAKELEVEL", "1")
	if got := startedBy([]string{"bin/raffsync", "demo"}, &commandLine{}); got != "make run" {
		t.Errorf("under make: %q", got)
	}
}
