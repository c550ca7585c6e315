package publish

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"raffsync/connectors/client"
	"raffsync/connectors/filesource"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// listed is how many refused events the summary lists.
const listed = 10

// refusal is an event, or lines that make none, that a person has to correct.
type refusal struct {
	ID    string `json:"id,omitempty"`
	Lines []int  `json:"lines,omitempty"`
	// Status is INVALID or CONFLICT.
	Status     string      `json:"status"`
	Fix        string      `json:"fix"`
	Violations []violation `json:"violations,omitempty"`
	// Event is the event in the JSON form of the contract, in --rejected only.
	Event json.RawMessage `json:"event,omitempty"`
}

type violation struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// String is a refusal in one line.
func (r refusal) String() string {
	var b strings.Builder
	b.WriteString(strings.ToLower(r.Status))
	if r.ID != "" {
		fmt.Fprintf(&b, " %q", r.ID)
	}
	if len(r.Lines) > 0 {
		fmt.Fprintf(&b, " (line %d", r.Lines[0])
		if more := len(r.Lines) - 1; more > 0 {
			fmt.Fprintf(&b, " and %s more", thousands(int64(more)))
		}
		b.WriteString(")")
	}
	parts := make([]string, 0, len(r.Violations)+1)
	for _, v := range r.Violations {
		parts = append(parts, v.Field+" "+v.Message)
	}
	if r.Fix != "" {
		parts = append(parts, r.Fix)
	}
	return b.String() + ": " + strings.Join(parts, "; ")
}

// report gathers what becomes of the events. Its methods may be called from any
// goroutine.
type report struct {
	file    string
	started time.Time

	mu       sync.Mutex
	summary  summary
	rejected *bufio.Writer
	output   *os.File
	// problem is the first error of writing the rejected events.
	problem error
	// closed is true once the summary was taken: it counts nothing more.
	closed bool
}

// report opens the file for rejected events, so that a path that can't be written is
// noticed before anything is sent.
func (c *Command) report(in *input) (*report, error) {
	r := &report{file: in.name, started: time.Now(), summary: summary{File: in.name, DryRun: c.DryRun, Refused: []refusal{}}}
	if c.Rejected == "" {
		return r, nil
	}
	r.summary.RejectedFile = c.Rejected
	if info, err := os.Stat(c.Rejected); err == nil && in.info != nil && os.SameFile(info, in.info) {
		return nil, fmt.Errorf("--rejected %s is the file that is read: name another one", c.Rejected)
	}
	output, err := os.OpenFile(c.Rejected, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the file for rejected events can't be written: %w", err)
	}
	r.output, r.rejected = output, bufio.NewWriter(output)
	return r, nil
}

// result is what the broker says of an event.
func (r *report) result(event *raffsyncv1.Event, result client.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	switch result.Status {
	case raffsyncv1.Status_STATUS_ACCEPTED:
		r.summary.Accepted++
		return
	case raffsyncv1.Status_STATUS_DUPLICATE:
		r.summary.Duplicates++
		if result.Resent {
			r.summary.Resent++
		}
		return
	case raffsyncv1.Status_STATUS_UNROUTED:
		r.summary.Unrouted++
		return
	}
	r.add(refusal{
		ID: event.Id, Status: strings.TrimPrefix(result.Status.String(), "STATUS_"), Fix: result.Fix, Violations: told(result.Violations),
	}, event)
}

func told(violations []*raffsyncv1.FieldViolation) []violation {
	var all []violation
	for _, v := range violations {
		all = append(all, violation{v.Field, v.Message})
	}
	return all
}

// unsendable counts an event, or lines that make none, that never reached the broker.
// It is false for errors of another kind.
func (r *report) unsendable(event *raffsyncv1.Event, err error) bool {
	var read *filesource.EventError
	var send *client.EventError
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.As(err, &read):
		r.add(refusal{ID: read.ID, Lines: read.Lines, Status: invalid, Fix: read.Problem}, nil)
	case errors.As(err, &send):
		r.add(refusal{ID: send.ID, Status: invalid, Fix: send.Reason}, event)
	default:
		return false
	}
	return true
}

const (
	invalid  = "INVALID"
	conflict = "CONFLICT"
)

// stream takes over what only the client knows.
func (r *report) stream(stats client.Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.summary.Source = stats.Source
	if stats.Streams == 0 {
		r.summary.NotSent = stats.Unacknowledged
	} else {
		r.summary.Unacknowledged = stats.Unacknowledged
	}
}

// add counts a refusal, lists it as far as there is room, and writes it down.
func (r *report) add(refused refusal, event *raffsyncv1.Event) {
	if r.closed {
		return
	}
	if refused.Status == conflict {
		r.summary.Conflicts++
	} else {
		r.summary.Invalid++
	}
	if len(r.summary.Refused) < listed {
		r.summary.Refused = append(r.summary.Refused, refused)
	}
	if r.rejected == nil || r.problem != nil {
		return
	}
	if event != nil {
		encoded, err := protojson.Marshal(event)
		if err != nil {
			// Texts that are not UTF-8 have no JSON form; the reason says so.
			encoded = nil
		}
		refused.Event = encoded
	}
	line, err := json.Marshal(refused)
	if err == nil {
		_, err = r.rejected.Write(append(line, '\n'))
	}
	r.problem = err
}

// close makes sure that the rejected events are in their file, and gives the summary.
func (r *report) close() (*summary, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.output != nil {
		if err := errors.Join(r.problem, r.rejected.Flush(), r.output.Close()); err != nil {
			return &r.summary, fmt.Errorf("the rejected events were not written completely: %w", err)
		}
	}
	return &r.summary, nil
}
