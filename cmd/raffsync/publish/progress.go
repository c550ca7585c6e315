package publish

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
	"google.golang.org/grpc/status"

	"raffsync/connectors/client"
	"raffsync/connectors/filesource"
)

const (
	// redrawEvery is quick enough to look alive and costs nothing.
	redrawEvery = 100 * time.Millisecond
	// reportEvery keeps the logs of scripts short.
	reportEvery = 5 * time.Second
	// defaultColumns serves where a terminal does not tell its width.
	defaultColumns = 80
)

// moment is what progress shows.
type moment struct {
	read filesource.Progress
	// part is how much of the input was read, 0 to 1; negative where it is not known.
	part  float64
	sent  client.Stats
	since time.Duration
}

func (m moment) acknowledged() int64 {
	s := m.sent
	return int64(s.Accepted + s.Duplicate + s.Conflict + s.Invalid + s.Unrouted + s.Other)
}

func (m moment) rate() int64 {
	if m.since <= 0 {
		return 0
	}
	return int64(float64(m.acknowledged()) / m.since.Seconds())
}

// trouble is why nothing moves, in one line.
func (m moment) trouble() string {
	if m.sent.Connected || m.sent.Trouble == nil {
		return ""
	}
	reason := m.sent.Trouble.Error()
	if s, ok := status.FromError(m.sent.Trouble); ok {
		reason = s.Message()
	}
	return "waiting for the broker: " + strings.Join(strings.Fields(reason), " ")
}

// words is one line for logs.
func (m moment) words() string {
	of := ""
	if m.read.Total >= 0 {
		of = " of " + thousands(m.read.Total)
	}
	line := fmt.Sprintf("%s%s events acknowledged, %s lines read, %s/s", thousands(m.acknowledged()), of, thousands(m.read.Lines), thousands(m.rate()))
	if t := m.trouble(); t != "" {
		line += "; " + t
	}
	return line
}

// bar is one line for a terminal, at most so many columns wide.
func (m moment) bar(columns int) string {
	const width = 24
	var line string
	trouble := m.trouble()
	switch {
	case trouble != "":
		// What to do something about comes before the rest, should it be cut off.
		line = fmt.Sprintf("%s acknowledged  %s", thousands(m.acknowledged()), trouble)
	case m.read.Total > 0:
		line = drawBar(float64(m.acknowledged())/float64(m.read.Total), width) +
			fmt.Sprintf("  %s of %s acknowledged  %s/s", thousands(m.acknowledged()), thousands(m.read.Total), thousands(m.rate()))
	case m.acknowledged() > 0 && m.part >= 0:
		line = drawBar(m.part, width) + fmt.Sprintf("  %s acknowledged  %s/s", thousands(m.acknowledged()), thousands(m.rate()))
	case m.acknowledged() > 0:
		line = fmt.Sprintf("%s read  %s acknowledged  %s/s", thousands(m.read.Events), thousands(m.acknowledged()), thousands(m.rate()))
	case m.part >= 0:
		line = drawBar(m.part, width) + fmt.Sprintf("  reading, %s lines", thousands(m.read.Lines))
	default:
		line = fmt.Sprintf("reading, %s lines", thousands(m.read.Lines))
	}
	if utf8.RuneCountInString(line) >= columns {
		line = string([]rune(line)[:max(columns-2, 0)]) + "…"
	}
	return line
}

func drawBar(part float64, width int) string {
	part = min(max(part, 0), 1)
	full := int(part * float64(width))
	return "[" + strings.Repeat("█", full) + strings.Repeat("░", width-full) + fmt.Sprintf("] %3d%%", int(part*100))
}

// showProgress keeps stderr informed until the returned function is called: a bar on a
// terminal, otherwise a line from time to time.
func (c *Command) showProgress(reader *filesource.Reader, in *input, stream *client.Client) (stop func()) {
	every, draw, clear := reportEvery, func(m moment) { fmt.Fprintln(c.Stderr, m.words()) }, ""
	if isTerminal(c.Stderr) {
		terminal := int(c.Stderr.(*os.File).Fd())
		every, clear = redrawEvery, "\r\x1b[K"
		draw = func(m moment) {
			columns, _, err := term.GetSize(terminal)
			if err != nil || columns <= 0 {
				columns = defaultColumns
			}
			fmt.Fprint(c.Stderr, clear+m.bar(columns))
		}
	}
	started := time.Now()
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				fmt.Fprint(c.Stderr, clear)
				return
			case <-ticker.C:
				m := moment{read: reader.Progress(), part: -1, sent: stream.Stats(), since: time.Since(started)}
				if in.size > 0 {
					m.part = float64(in.read.Load()) / float64(in.size)
				}
				draw(m)
			}
		}
	}()
	return func() { close(done); <-gone }
}
