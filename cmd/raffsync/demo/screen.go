package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"raffsync/connectors/simulator"
)

// Welcome is what the first screen says.
type Welcome struct {
	// Database in a few words: "Postgres 15 embedded, durable, data kept".
	Database string
	// Startup is how long it took to get ready.
	Startup time.Duration
	// API is the URL of the HTTP listener, Login what opens it. GRPC is the address
	// that sources stream to, KeyFile the file with the shop's key.
	API, Login, GRPC, KeyFile string
	Platforms                 []Endpoint
	// Story is the command that tells all about the first order, as one types it where
	// the user is; Map what says what the strict platform calls its missing item, Again what
	// starts the demo once more, PID what to kill.
	Story, Map, Again string
	PID               int
}

// ScreenConfig is what a screen shows, and where.
type ScreenConfig struct {
	Out     io.Writer
	Figures Figures
	Ledgers Ledgers
	// Poll is how often the figures are read: 1 s where 0. Every is how often the
	// line of totals comes: 10 s where 0.
	Poll, Every time.Duration
	// Location is whose time is shown: this machine's where nil.
	Location *time.Location
	// Colour is whether to use any; [UseColour] knows.
	Colour bool
}

// Screen tells on a terminal what happens.
type Screen struct {
	config ScreenConfig
	memory memory
}

// NewScreen fills in the defaults.
func NewScreen(config ScreenConfig) *Screen {
	if config.Poll == 0 {
		config.Poll = time.Second
	}
	if config.Every == 0 {
		config.Every = 10 * time.Second
	}
	if config.Location == nil {
		config.Location = time.Local
	}
	return &Screen{config: config}
}

// UseColour is true for a terminal that can show colours and whose user has not
// declined them (no-color.org).
func UseColour(file *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd()))
}

// colour is a parameter of SGR (ECMA-48, section 8.3.117).
type colour string

const (
	bold   colour = "1"
	dim    colour = "2"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
)

func (s *Screen) paint(c colour, text string) string {
	if !s.config.Colour || c == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// Welcome prints the first screen.
func (s *Screen) Welcome(w Welcome) error {
	var platforms []string
	for _, p := range w.Platforms {
		how := string(p.Behaviour)
		if p.Behaviour == simulator.Failing {
			how = "failing on purpose"
		}
		platforms = append(platforms, fmt.Sprintf("%s (%s)", p.Name, how))
	}
	var text strings.Builder
	line := func(format string, values ...any) { fmt.Fprintf(&text, format+"\n", values...) }
	line("%s · %s · ready in %.1f s", s.paint(bold, "Raffs Sync"), w.Database, w.Startup.Seconds())
	width := max(24, utf8.RuneCountInString(w.API), utf8.RuneCountInString(w.GRPC))
	line("  API      %-*s %s", width, w.API, w.Login)
	line("  gRPC     %-*s key: %s", width, w.GRPC, w.KeyFile)
	line("  Demo     %d outlets → %s", len(outlets), strings.Join(platforms, " · "))
	line("")
	again := fmt.Sprintf("kill -9 %d; %s", w.PID, w.Again)
	width = max(28, utf8.RuneCountInString(w.Story), utf8.RuneCountInString(again))
	line("  Try  %-*s all about the first order", width, w.Story)
	line("       %s   and what waits for it goes out", w.Map)
	line("       %-*s the console: clear what needs a person", width, w.API)
	line("       %-*s still 0 duplicate", width, again)
	line("")
	_, err := io.WriteString(s.config.Out, text.String())
	return err
}

// Run prints what changes until ctx ends, and returns nil then. An error is one of
// writing.
func (s *Screen) Run(ctx context.Context) error {
	poll := time.NewTicker(s.config.Poll)
	defer poll.Stop()
	totals := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		}
		now := time.Now()
		due := !now.Before(totals)
		if due {
			totals = now.Add(s.config.Every)
		}
		if err := s.runOnce(ctx, due); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// runOnce prints what is new, and the totals where they are due.
func (s *Screen) runOnce(ctx context.Context, due bool) error {
	snapshot, err := s.config.Figures.Snapshot(ctx)
	if ctx.Err() != nil {
		return nil
	}
	now := time.Now()
	said := s.memory.failed(err)
	if err == nil {
		said = append(said, s.memory.changes(snapshot, now)...)
		if due {
			said = append(said, s.totals(ctx, snapshot))
		}
	}
	return s.print(now, snapshot, said)
}

func (s *Screen) print(now time.Time, snapshot Snapshot, said []news) error {
	width := 0
	for _, d := range snapshot.Destinations {
		width = max(width, len(d.Name))
	}
	for _, n := range said {
		about := ""
		if n.about != "" {
			about = fmt.Sprintf("%-*s  ", width, printable(n.about))
		}
		at := s.paint(dim, now.In(s.config.Location).Format(time.TimeOnly))
		if _, err := fmt.Fprintf(s.config.Out, "  %s  %s%s\n", at, about, s.paint(n.colour, short(printable(n.text)))); err != nil {
			return err
		}
	}
	return nil
}

// mostShown is how long a line's text may be, in characters.
const mostShown = 100

// short is a text that fits into a line.
func short(text string) string {
	if runes := []rune(text); len(runes) > mostShown {
		return string(runes[:mostShown-1]) + "…"
	}
	return text
}

// printable leaves out what could steer a terminal: titles hold words of platforms.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
}

func (s *Screen) totals(ctx context.Context, snapshot Snapshot) news {
	text := fmt.Sprintf("accepted %d · delivered %d · waiting %d · needs action %d",
		snapshot.Accepted, snapshot.Delivered, snapshot.Waiting, snapshot.NeedsAction)
	summaries, err := s.config.Ledgers.Ledgers(ctx)
	if err != nil {
		return news{"", text + " · a platform is not there to count", ""}
	}
	var effects, duplicates int64
	for _, summary := range summaries {
		effects += summary.Effects
		duplicates += summary.Duplicates
	}
	noun, shade := "duplicate", colour("")
	if duplicates > 0 {
		shade = red
	}
	if duplicates > 1 {
		noun = "duplicates"
	}
	return news{"", fmt.Sprintf("%s · platforms count %d, %d %s", text, effects, duplicates, noun), shade}
}
