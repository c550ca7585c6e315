package config

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"

	"raffsync/broker"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// SamplesFolder is the folder beside a configuration file with a folder of sample events
// for each source: samples/shop/order.json.
const SamplesFolder = "samples"

const (
	maxSamples      = 500       // files of all sources
	maxSampleEvents = 1000      // events of all files
	maxSampleBytes  = 1 << 20   // of a file
	maxSampleData   = 512 << 10 // of an event, as the broker takes it
)

// sample is an event that lies beside the file.
type sample struct {
	source, name string // "shop", "shop/order.json"
	event        *raffsyncv1.Event
}

// samplesBeside is the folder beside a file; nil where there is none.
func samplesBeside(file string) fs.FS {
	folder := filepath.Join(filepath.Dir(file), SamplesFolder)
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil
	}
	return os.DirFS(folder)
}

// readSamples makes events of the files beside the configuration, as their sources would.
// Foreign says which folders are misspelt.
func (d *decoder) readSamples(sources []string) (all []sample, foreign []string) {
	folders, err := fs.ReadDir(d.options.Samples, ".")
	if err != nil {
		d.fail(position{}, "", "%s: %s", SamplesFolder, reason(err))
	}
	files := 0
	for _, folder := range folders {
		source := folder.Name()
		switch {
		case !folder.IsDir() || strings.HasPrefix(source, "."):
			continue
		case !slices.Contains(sources, source):
			if close := meant(source, sources); close != "" { // or it is another file's
				foreign = append(foreign, fmt.Sprintf("%s/%s is of no source; did you mean %s?", SamplesFolder, source, close))
			}
			continue
		}
		inside, err := fs.ReadDir(d.options.Samples, source)
		if err != nil {
			d.fail(position{}, "", "%s/%s: %s", SamplesFolder, source, reason(err))
		}
		for _, file := range inside {
			extension := path.Ext(file.Name())
			if file.IsDir() || extension != ".json" && extension != ".jsonl" {
				continue
			}
			if files++; files > maxSamples || len(all) > maxSampleEvents {
				d.fail(position{}, "", "%s holds more than %d files or %d events, the most that are tried", SamplesFolder, maxSamples, maxSampleEvents)
				return all, foreign
			}
			name := source + "/" + file.Name()
			content, err := d.readSample(name)
			if err == nil {
				var read []sample
				read, err = d.eventsOf(source, name, content, extension == ".jsonl")
				all = append(all, read...)
			}
			if err != nil {
				d.sampleProblem(source, name, err)
			}
		}
	}
	return all, foreign
}

func (d *decoder) readSample(name string) ([]byte, error) {
	file, err := d.options.Samples.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSampleBytes+1))
	switch {
	case err != nil:
		return nil, reason(err)
	case len(content) > maxSampleBytes:
		return nil, fmt.Errorf("is larger than %d KiB, the most that is read", maxSampleBytes>>10)
	}
	return content, nil
}

// eventsOf makes the event of a file, or of each of its lines.
func (d *decoder) eventsOf(source, name string, content []byte, lines bool) (all []sample, err error) {
	whole := [][]byte{content}
	if lines {
		whole = bytes.Split(content, []byte("\n"))
	}
	for i, one := range whole {
		at := name
		if lines {
			at = fmt.Sprintf("%s:%d", name, i+1)
		}
		if lines && len(bytes.TrimSpace(one)) == 0 {
			continue
		}
		event, err := d.eventOf(source, one)
		if err == nil {
			err = valid(event)
		}
		if err != nil && lines {
			err = fmt.Errorf("line %d: %w", i+1, err)
		}
		if err != nil {
			return all, err
		}
		all = append(all, sample{source, at, event})
	}
	return all, nil
}

// eventOf makes an event of what raffsync send would post to a receiver, or of the JSON
// form that raffsync publish takes.
func (d *decoder) eventOf(source string, content []byte) (*raffsyncv1.Event, error) {
	if receiver, ok := d.receivers[source]; ok {
		return receiver.Sample(context.Background(), content)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(content, &fields); err != nil {
		return nil, errors.New("is no object of JSON")
	}
	if data, ok := fields["data"]; ok {
		delete(fields, "data")
		fields["textData"], _ = json.Marshal(string(data)) // a text always can be
	}
	plain, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	event := &raffsyncv1.Event{}
	if err := protojson.Unmarshal(plain, event); err != nil {
		why := strings.TrimSpace(strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto:"))
		return nil, fmt.Errorf("is not the form of an event, as {\"id\": …, \"type\": …, \"orderingKey\": …, \"data\": {…}}: %s", firstLine(why))
	}
	return event, nil
}

// contract takes some milliseconds to compile.
var contract = sync.OnceValues(func() (*broker.Validator, error) { return broker.NewValidator(maxSampleData) })

// valid holds an event against the contract, as the broker does.
func valid(event *raffsyncv1.Event) error {
	validator, err := contract()
	if err != nil {
		return err
	}
	for _, wrong := range validator.Event(event) {
		return errors.New(cmp.Or(wrong.GetField(), "the event") + ": " + wrong.GetMessage())
	}
	return nil
}

// sampleProblem says why no event can be made of a sample, at the expression of its source
// where one is to blame.
func (d *decoder) sampleProblem(source, name string, err error) {
	at := value{path: "sources." + source, key: d.names["sources."+source]}
	field, _, _ := strings.Cut(err.Error(), ": ")
	where, _ := d.nearest(at, field)
	d.fail(where, at.path, "no event can be made of %s/%s: %s", SamplesFolder, name, firstLine(err.Error()))
}
