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
	DryRun bool   `json:"dryRun,omitempty"`
	// Lines and Events that were read.
	Lines  int64 `json:"lines"`
	Events int64 `json:"events"`

	Accepted   uint64 `json:"accepted"`
	Duplicates uint64 `json:"duplicates"`
	// Resent are those duplicates that this run itself sent twice, after a broken
	// stream: they may well be of this run.
	Resent    uint64 `json:"duplicatesAfterResend,omitempty"`
	Unrouted  uint64 `json:"unrouted"`
	Conflicts uint64 `json:"conflicts"`
	Invalid   uint64 `json:"invalid"`
	// Unacknowledged were sent or waited, and nothing is known of them.
	Unacknowledged uint64 `json:"unacknowledged"`
	// NotSent waited for a stream, and none ever opened.
	NotSent uint64 `json:"notSent,omitempty"`

	Seconds     float64 `json:"seconds"`
	Interrupted bool    `json:"interrupted,omitempty"`
	// Warning is about a file that looks as if it were not what was meant.
	Warning string `json:"warning,omitempty"`
	Error   string `json:"error,omitempty"`
	// Refused are the first of the invalid and conflicting events.
	Refused      []refusal `json:"refused"`
	RejectedFile string    `json:"rejectedFile,omitempty"`

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
	if err == nil && s.Lines == 0 {
		s.Warning = "there is no event in the file: nothing was published"
		if progress.Total == 0 {
			s.Warning = "there is no line below the header: nothing was published"
		}
	}
	switch {
	case errors.Is(err, errInterrupted):
		s.Interrupted = true
		err = fmt.Errorf("interrupted: %s acknowledged, %s sent ones are not; run the same command again for the rest: what was accepted is recognised and makes nothing twice",
			are(s.acknowledged()), thousands(int64(s.Unacknowledged)))
		if s.DryRun {
			err = errInterrupted
		}
	case err != nil && !s.DryRun && s.acknowledged() > 0:
		err = fmt.Errorf("%w\n%s acknowledged; once that is mended, run the same command again: what was accepted is recognised and makes nothing twice", err, are(s.acknowledged()))
	case err == nil && s.Invalid+s.Conflicts > 0:
		err = exitError{errors.New(s.refusal()), exitRefused}
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

// refusal says what is to be done about the events that were refused.
func (s *summary) refusal() string {
	of := func(n uint64, one, more string) string {
		if n == 1 {
			return one
		}
		return thousands(int64(n)) + " " + more
	}
	invalid := of(s.Invalid, "1 event is invalid: correct it and publish it again", "events are invalid: correct them and publish them again")
	conflicts := of(s.Conflicts, "1 event is in conflict with what is known under its id: a person decides, do not publish it again",
		"events are in conflict with what is known under their ids: a person decides, do not publish them again")
	switch {
	case s.Conflicts == 0:
		return invalid
	case s.Invalid == 0:
		return conflicts
	default:
		return invalid + "; " + conflicts
	}
}

// acknowledged counts the events that the broker said anything about.
func (s *summary) acknowledged() uint64 {
	// Invalid ones may have been refused before they were sent: they don't count.
	return s.Accepted + s.Duplicates + s.Unrouted + s.Conflicts
}

func (s *summary) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s read from %s", counted(s.Events, "event"), counted(s.Lines, "line"), s.File)
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
		{"not sent", s.NotSent, "no stream to the broker opened: run the same command again once that is mended", s.NotSent > 0},
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
	if s.Warning != "" {
		b.WriteString("  " + s.Warning + "\n")
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

// counted is a number with the noun that it counts.
func counted(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return thousands(n) + " " + noun
}

// are is so many events, and the verb.
func are(n uint64) string {
	if n == 1 {
		return "1 event is"
	}
	return counted(int64(n), "event") + " are"
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
