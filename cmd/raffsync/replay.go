package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"raffsync/outbox"
)

// previewed bounds how many matching events the command looks at.
const previewed = 1_000_000

type replayCommand struct {
	Start  replayStart  `cmd:"" default:"withargs" help:"Start one (the default): says what it will do first."`
	List   replayList   `cmd:"" help:"List them, the newest first, with their progress."`
	Pause  replayPause  `cmd:"" help:"Make no more deliveries for now."`
	Resume replayResume `cmd:"" help:"Go on."`
	Cancel replayCancel `cmd:"" help:"Make no more deliveries. Those made stay."`
}

type replayStart struct {
	tenantFlag
	To       string `help:"Destination." required:"" placeholder:"NAME"`
	From     string `name:"from-time" help:"Acceptance of the first event: 2026-11-01T00:00:00Z, 2026-11-01, or 30d ago as 30d." required:"" placeholder:"TIME"`
	Until    string `help:"Acceptance from which events are left out; now, where it is not given." placeholder:"TIME"`
	Source   string `help:"Only events of this source." placeholder:"NAME"`
	Type     string `help:"Only events of this type." placeholder:"TYPE"`
	Outlet   string `help:"Only events of this outlet." placeholder:"NAME"`
	Ref      string `help:"Only events with this reference, an order number for example." placeholder:"VALUE"`
	Unrouted bool   `help:"Only events that no route wanted when they came."`
	Rate     string `help:"Deliveries a second." default:"20/s" placeholder:"N/s"`
	DryRun   bool   `help:"Say what it would do, and store nothing."`
	Reason   string `help:"Why, for the timeline." default:"replayed from the command line"`
	JSON     bool   `name:"json" help:"Print as JSON."`
}

func (replayStart) Help() string {
	return `Today's routes to the destination decide which of the events it gets, and how. Each
delivery is a new one, with a new idempotency key: a platform that has the event already
gets it again. It is made in the background by running processes, in the order of
acceptance, and goes on after a restart. What comes after the request is left out.

Examples:
  raffsync replay --to webstore --from-time 30d --dry-run
  raffsync replay --to webstore --from-time 30d --rate 50/s --reason "webstore is new"
  raffsync replay --to books --from-time 2026-11-01 --until 2026-11-02 --ref 1042
  raffsync replay list`
}

// parseMoment reads a time, a day, or how long ago.
func parseMoment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	ago := text
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n < 100_000 {
			ago = fmt.Sprintf("%dh", 24*n)
		}
	}
	if d, err := time.ParseDuration(ago); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%s: found %q; expected a time as 2026-11-01T00:00:00Z, a day as 2026-11-01 (UTC), or how long ago as 30d or 2h", flag, text)
}

func parseRate(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(text, "/s"))
	if err != nil || n < 1 || n > outbox.MaxReplayRate {
		return 0, fmt.Errorf("--rate: found %q; expected 1/s to %d/s", text, outbox.MaxReplayRate)
	}
	return n, nil
}

func (c *replayStart) Run(ctx context.Context, line *commandLine) error {
	q := outbox.ReplayRequest{
		RequestID: "command line " + rand.Text(), Destination: c.To, Reason: c.Reason,
		Filter: outbox.ReplayFilter{Source: c.Source, Type: c.Type, Outlet: c.Outlet, Reference: c.Ref, Unrouted: c.Unrouted},
	}
	now := time.Now()
	var err error
	if q.Rate, err = parseRate(c.Rate); err != nil {
		return err
	}
	if q.Filter.From, err = parseMoment("--from-time", c.From, now); err != nil {
		return err
	}
	if q.Filter.Until, err = parseMoment("--until", c.Until, now); err != nil {
		return err
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		routes := &routing{store: store}
		preview, err := replays{store, routes.router}.PreviewReplay(ctx, tenant, c.To, q.Filter, previewed)
		if err != nil {
			return err
		}
		told := toldPreview(preview, q.Rate)
		if !c.JSON {
			fmt.Print(told)
		}
		if c.DryRun || preview.Matching == 0 && preview.Complete {
			if c.JSON {
				return printJSON(map[string]any{"preview": told})
			}
			fmt.Println("nothing is started")
			return nil
		}
		started, err := store.StartReplay(ctx, actor(tenant), q)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(map[string]any{"preview": told, "replay": toldReplayOf(started)})
		}
		fmt.Printf("replay %d has started; see raffsync replay list\n", started.Number)
		return nil
	})
}

// toldPreviewed is a preview, as it is printed.
type toldPreviewed struct {
	Deliveries int64      `json:"deliveries"`
	Unwanted   int64      `json:"unwanted"`
	First      *time.Time `json:"first,omitempty"`
	Last       *time.Time `json:"last,omitempty"`
	Complete   bool       `json:"complete"`
	Takes      string     `json:"takes"`
}

func toldPreview(p outbox.ReplayPreview, rate int) toldPreviewed {
	takes := time.Duration(float64(p.Matching) / float64(rate) * float64(time.Second)).Round(time.Second)
	return toldPreviewed{p.Matching, p.Unwanted, p.First, p.Last, p.Complete, takes.String()}
}

func (t toldPreviewed) String() string {
	var b strings.Builder
	least := ""
	if !t.Complete {
		least = "at least "
	}
	fmt.Fprintf(&b, "%s%d deliveries, which take %s\n", least, t.Deliveries, t.Takes)
	if t.Unwanted > 0 {
		fmt.Fprintf(&b, "%s%d more events match, and no route to the destination wants them\n", least, t.Unwanted)
	}
	if t.First != nil {
		fmt.Fprintf(&b, "the first was accepted %s, the last %s\n", t.First.UTC().Format(time.RFC3339), t.Last.UTC().Format(time.RFC3339))
	}
	return b.String()
}

type replayList struct {
	tenantFlag
	JSON bool `name:"json" help:"Print as JSON."`
}

// toldReplay is a replay, as it is printed.
type toldReplay struct {
	Number      int32      `json:"number"`
	Destination string     `json:"destination"`
	State       string     `json:"state"`
	Made        int64      `json:"made"`
	Unwanted    int64      `json:"unwanted"`
	From        time.Time  `json:"from"`
	Until       time.Time  `json:"until"`
	Through     time.Time  `json:"through"`
	Rate        int32      `json:"rate"`
	RequestedAt time.Time  `json:"requestedAt"`
	EndedAt     *time.Time `json:"endedAt,omitempty"`
	Actor       string     `json:"actor"`
	Reason      string     `json:"reason"`
}

func toldReplayOf(r outbox.Replay) toldReplay {
	return toldReplay{r.Number, r.Destination, r.State, r.Made, r.Unwanted, r.Filter.From, r.Filter.Until, r.Through, r.Rate, r.RequestedAt, r.EndedAt, r.Actor, r.Reason}
}

func (r toldReplay) String() string {
	return fmt.Sprintf("replay %d to %s: %s, %d made, through %s of %s, %d/s (%s: %s)", r.Number, r.Destination, r.State, r.Made,
		r.Through.UTC().Format(time.RFC3339), r.Until.UTC().Format(time.RFC3339), r.Rate, r.Actor, r.Reason)
}

func (c *replayList) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		all, err := store.Replays(ctx, tenant, 0, 100)
		if err != nil {
			return err
		}
		told := []toldReplay{}
		for _, r := range all {
			told = append(told, toldReplayOf(r))
		}
		if c.JSON {
			return printJSON(told)
		}
		for _, r := range told {
			fmt.Fprintln(os.Stdout, r)
		}
		return nil
	})
}

type replayChange struct {
	tenantFlag
	Number int32  `arg:"" help:"Number of the replay."`
	Reason string `help:"Why, for the timeline." default:"from the command line"`
}

type (
	replayPause  struct{ replayChange }
	replayResume struct{ replayChange }
	replayCancel struct{ replayChange }
)

func (c *replayPause) Run(ctx context.Context, line *commandLine) error {
	return c.change(ctx, line, outbox.ReplayPaused)
}

func (c *replayResume) Run(ctx context.Context, line *commandLine) error {
	return c.change(ctx, line, outbox.ReplayRunning)
}

func (c *replayCancel) Run(ctx context.Context, line *commandLine) error {
	return c.change(ctx, line, outbox.ReplayCancelled)
}

func (c *replayChange) change(ctx context.Context, line *commandLine, to string) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		r, err := store.ChangeReplay(ctx, actor(tenant), c.Number, to, c.Reason)
		if errors.Is(err, outbox.ErrNotFound) {
			return fmt.Errorf("tenant %s has no replay %d", tenant, c.Number)
		}
		if err != nil {
			return err
		}
		fmt.Println(toldReplayOf(r))
		return nil
	})
}
