package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"raffsync/connectors"
	"raffsync/connectors/hooks"
	"raffsync/connectors/rules"
	"raffsync/outbox"
)

// Listeners, where the file is silent.
const (
	DefaultHTTP = "127.0.0.1:8080"
	DefaultGRPC = "127.0.0.1:9090"
	// DefaultMetrics is tried; where it is taken and nobody asked for it, any other
	// port serves.
	DefaultMetrics = "127.0.0.1:9464"
)

// Off stands for no address.
const Off = "off"

// File is a configuration file that was read and found right.
type File struct {
	Path string
	// Listen and Database are the process's own; they are not applied.
	Listen   Listen
	Database Database
	// Configuration is what is applied, every default filled in.
	Configuration outbox.Configuration
	// Warnings are what does no harm, but was hardly meant.
	Warnings []Problem
	// Trials is what came of the sample events beside it; nil where there is no folder of them.
	Trials *Trials
}

// Listen holds the addresses to listen on, loopback all of them.
type Listen struct {
	HTTP, GRPC string
	// Metrics is empty where the file is silent, so that a port that somebody asked for
	// can be told from one that nobody did; or [Off].
	Metrics string
}

// Database says where Postgres is.
type Database struct {
	// URL is a reference to the address, or an address without a password; empty
	// where the file is silent.
	URL string
}

// Resolve gives the address to connect to, "" where the file is silent. It may hold a
// password: never show it.
func (d Database) Resolve() (string, error) {
	if strings.HasPrefix(d.URL, "env:") || strings.HasPrefix(d.URL, "file:") {
		address, err := ResolveSecret(d.URL)
		if err != nil {
			return "", fmt.Errorf("database.url: %w", err)
		}
		return address, nil
	}
	return d.URL, nil
}

// Options of [Load].
type Options struct {
	// Registry knows the kinds of destination. Each destination is built once, to
	// check its settings; nothing is sent.
	Registry connectors.Registry
	// Rules compile the outcome rules of a destination of a kind: its own with those that
	// the kind ships with. A kind that is not there takes none.
	Rules map[string]func(connectors.Options) (*rules.Set, error)
	// Notices knows the kinds of destination by which teams are told; nil: addresses are
	// not looked at.
	Notices connectors.Registry
	// AllowLoopback lets destinations be on this machine. For development.
	AllowLoopback bool
	// Secrets says that references to secrets must lead to one: for a process that is
	// going to use them. Otherwise only their form is checked.
	Secrets bool
	// Samples is a folder of sample events for each source; [Load] takes [SamplesFolder]
	// beside the file where it is nil. nil: nothing is tried.
	Samples fs.FS
}

// Load reads the file and checks all of it. What is wrong with it is an error of type
// [Problems].
func Load(path string, o Options) (*File, error) {
	content, err := read(path)
	if err != nil {
		return nil, Problems{{File: path, Message: err.Error()}}
	}
	if o.Samples == nil {
		o.Samples = samplesBeside(path)
	}
	return Parse(path, content, o)
}

// read gives at most one byte more than a file may hold.
func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("is a directory; expected a YAML file")
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, reason(err)
	}
	return content, nil
}

// Parse is [Load] of content that is in memory already; name stands for it in
// problems.
func Parse(name string, content []byte, o Options) (*File, error) {
	src, root, problem := parse(name, content)
	if problem != nil {
		return nil, Problems{*problem}
	}
	d := &decoder{options: o, src: src, places: map[string]position{}, names: map[string]position{}, references: map[string]string{}, unsound: map[string]bool{}, connectors: map[string]connectors.Destination{}, receivers: map[string]*hooks.Source{}}
	f := &File{Path: name, Listen: Listen{HTTP: DefaultHTTP, GRPC: DefaultGRPC}}
	if !d.refuse(root) {
		d.object(value{node: root}, rootFields(f, o.Registry))
		d.checkListeners(f)
		d.checkRoutes(&f.Configuration)
		d.checkEscalation(&f.Configuration)
	}
	if len(d.problems) == 0 && o.Samples != nil {
		f.Trials = d.try(&f.Configuration)
	}
	if len(d.problems) > 0 {
		return nil, Problems(d.finish(d.problems))
	}
	f.Warnings = d.finish(d.warnings)
	f.Configuration = Canonical(f.Configuration)
	return f, nil
}

// finish puts problems in order and quotes their lines, now that everything to be
// hidden is known.
func (d *decoder) finish(problems []Problem) []Problem {
	problems = inOrder(problems)
	for i := range problems {
		problems[i].Excerpt = d.src.excerpt(problems[i])
	}
	return problems
}

func (d *decoder) checkListeners(f *File) {
	at, given := d.places["listen.grpc"]
	if !given {
		at, given = d.places["listen.http"]
	}
	if given && f.Listen.HTTP == f.Listen.GRPC && !strings.HasSuffix(f.Listen.HTTP, ":0") {
		d.fail(at, "listen", "http and grpc are both %s; expected an address each", f.Listen.HTTP)
	}
	metrics := f.Listen.Metrics
	if at, given := d.places["listen.metrics"]; given && !strings.HasSuffix(metrics, ":0") && (metrics == f.Listen.HTTP || metrics == f.Listen.GRPC) {
		d.fail(at, "listen", "metrics is %s, as another listener is; expected an address each", metrics)
	}
}
