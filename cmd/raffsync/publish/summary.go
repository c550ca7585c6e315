package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"raffsync/connectors/filesource"
)

// summary is what `--json` prints.
type summary struct {
	File string `json:"file"`
	// Source is the name that the broker knows the key by.
	Source string `json:"source,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
	// Lines and Events that were read.
	Lines  int64 `json:"lines"`
	Events int64 `json:"events"`

	Accepted   uint64 `json:"accepted"`
	Duplicates uint64 `json:"duplicates"`
	// Resent are those duplicates that this run itself sent twice, after a broken
	// stream: they may well be of this run.
	Resent    uint64 `json:"duplicates_after_resend,omitempty"`
	Unrouted  uint64 `json:"unrouted"`
	Conflicts uint64 `json:"conflicts"`
	Invalid   uint64 `json:"invalid"`
	// Unacknowledged were sent or waited, and nothing is known of them.
	Unacknowledged uint64 `json:"unacknowledged"`

	Seconds     float64 `json:"seconds"`
	Interrupted bool    `json:"interrupted,omitempty"`
	Error       string  `json:"error,omitempty"`
	// Refused are the first of the invalid and conflicting events.
	Refused      []refusal `json:"refused"`
	RejectedFile string    `json:"rejected_file,omitempty"`

	rehearsal *rehearsal
}

// exitError carries an exit status to main.
type exitError struct {
	error
	code int
}

// ExitCode is the process's exit status.
func (e exitError) ExitCode() int { return e.code }

func (e exitError) Unwrap() error { return e.error }

// exitRefused is the exit status when some events were invalid or in conflict.
const exitRefused = 3

// errInterrupted is a context that ended before the file was published.
var errInterrupted = errors.New("interrupted")

// conclude prints the summary and decides the exit status.
func (c *Command) conclude(r *report, reader *filesource.Reader, err error) error {
	s, problem := r.close()
	if problem != nil {
		err = errors.Join(err, problem)
	}
	progress := reader.Progress()
	s.Lines, s.Events = progress.Lines, progress.Events
	s.Seconds = math.Round(time.Since(r.started).Seconds()*1000) / 1000
	refused := s.Invalid + s.Conflicts
	switch {
	case errors.Is(err, errInterrupted):
		s.Interrupted = true
		err = fmt.Errorf("interrupted: %s events are acknowledged, %s sent ones are not; run the same command again for the rest: what was accepted is recognised and makes nothing twice",
			thousands(int64(s.acknowledged())), thousands(int64(s.Unacknowledged)))
		if s.DryRun {
			err = errInterrupted
		}
	case err != nil && !s.DryRun && s.acknowledged() > 0:
		err = fmt.Errorf("%w\n%s events are acknowledged; once that is mended, run the same command again: they are recognised and make nothing twice", err, thousands(int64(s.acknowledged())))
	case err == nil && refused > 0:
		err = exitError{fmt.Errorf("%s events were refused: correct them and publish them again, except those in conflict, which a person decides", thousands(int64(refused))), exitRefused}
	}
	if err != nil {
		s.Error = err.Error()
	}
	if c.JSON {
		encoded, problem := json.Marshal(s)
		if problem == nil {
			_, problem = c.Stdout.Write(append(encoded, '\n'))
		}
		return errors.Join(err, problem)
	}
	if problem := s.print(c.Stdout); problem != nil {
		return errors.Join(err, problem)
	}
	return err
}

// acknowledged counts the events that the broker said anything about.
func (s *summary) acknowledged() uint64 {
	// Invalid ones may have been refused before they were sent: they don't count.
	return s.Accepted + s.Duplicates + s.Unrouted + s.Conflicts
}

func (s *summary) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s events of %s lines read from %s", thousands(s.Events), thousands(s.Lines), s.File)
	if s.DryRun {
		b.WriteString("; nothing was sent\n")
		s.rehearsal.print(&b)
	} else {
		if s.Source != "" {
			fmt.Fprintf(&b, ", published as source %s", s.Source)
		}
		fmt.Fprintf(&b, " in %s", time.Duration(s.Seconds*float64(time.Second)).Round(10*time.Millisecond))
		if n := s.acknowledged(); n > 0 && s.Seconds > 0 {
			fmt.Fprintf(&b, ", %s/s", thousands(int64(float64(n)/s.Seconds)))
		}
		b.WriteByte('\n')
	}
	for _, row := range []struct {
		name  string
		count uint64
		note  string
		show  bool
	}{
		{"accepted", s.Accepted, "", !s.DryRun},
		{"duplicate", s.Duplicates, s.duplicateNote(), !s.DryRun},
		{"unrouted", s.Unrouted, "durable, and can be replayed once a route wants them", s.Unrouted > 0},
		{"conflict", s.Conflicts, "another content is known under the id: a person decides", s.Conflicts > 0},
		{"invalid", s.Invalid, "not kept", s.Invalid > 0},
		{"unacknowledged", s.Unacknowledged, "nothing is known of them: run the same command again", s.Unacknowledged > 0},
	} {
		if !row.show {
			continue
		}
		line := fmt.Sprintf("  %-14s %12s", row.name, thousands(int64(row.count)))
		if row.count > 0 && row.note != "" {
			line += "   " + row.note
		}
		b.WriteString(line + "\n")
	}
	for _, refused := range s.Refused {
		fmt.Fprintf(&b, "  - %s\n", refused)
	}
	if more := s.Invalid + s.Conflicts - uint64(len(s.Refused)); more > 0 {
		fmt.Fprintf(&b, "  - and %s more", thousands(int64(more)))
		if s.RejectedFile == "" {
			b.WriteString("; --rejected FILE writes them all")
		}
		b.WriteByte('\n')
	}
	if s.RejectedFile != "" && len(s.Refused) > 0 {
		fmt.Fprintf(&b, "  all of them are in %s\n", s.RejectedFile)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *summary) duplicateNote() string {
	if s.Resent > 0 {
		return fmt.Sprintf("already durable; %s of them were sent again after a broken stream, and may be of this run", thousands(int64(s.Resent)))
	}
	return "already durable with the same content"
}

// thousands writes 25900 as 25,900.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var groups []string
	for len(digits) > 3 {
		groups = append(groups, digits[len(digits)-3:])
		digits = digits[:len(digits)-3]
	}
	groups = append(groups, digits)
	slices.Reverse(groups)
	return sign + strings.Join(groups, ",")
}
