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
	"raffsync/outbox/view"
)

// jobStart are the flags of what starts a job.
type jobStart struct {
	tenantFlag
	IDs           []string `arg:"" optional:"" name:"id" help:"Deliveries, one by one."`
	Destination   string   `help:"Only those to this destination." placeholder:"NAME"`
	Exception     string   `help:"Only what this exception holds." placeholder:"ID"`
	Class         string   `help:"Only what open exceptions of this class hold, as VALIDATION." placeholder:"CLASS"`
	OnlyWaiting   bool     `name:"waiting" help:"Only what waits for a retry." xor:"state"`
	OnlyHeld      bool     `name:"held" help:"Only what exceptions hold." xor:"state"`
	Source        string   `help:"Only events of this source." placeholder:"NAME"`
	Type          string   `help:"Only events of this type." placeholder:"TYPE"`
	Outlet        string   `help:"Only events of this outlet." placeholder:"NAME"`
	AcceptedFrom  string   `help:"Acceptance of the first event: 2026-11-01T00:00:00Z, 2026-11-01, or 2h ago as 2h." placeholder:"TIME"`
	AcceptedUntil string   `help:"Acceptance from which events are left out." placeholder:"TIME"`
	HeldFrom      string   `help:"Only what is held since then, or later." placeholder:"TIME"`
	HeldUntil     string   `help:"Only what was held before." placeholder:"TIME"`
	Everything    bool     `help:"All that has failed, where nothing else narrows it."`
	Rate          string   `help:"Deliveries a second, at most." default:"100/s" placeholder:"N/s"`
	DryRun        bool     `help:"Say what it would do, and change nothing."`
	Request       string   `help:"Names this request: a repeat by the same name starts nothing new." placeholder:"NAME"`
	Reason        string   `help:"Why, for the timeline." default:"from the command line"`
	JSON          bool     `name:"json" help:"Print as JSON."`
}

type (
	retryCommand     struct{ jobStart }
	skipCommand      struct{ jobStart }
	reprocessCommand struct{ jobStart }
)

const jobHelp = `Takes what has failed and matches at this moment; what fails later is not among it. It is
done in the background by running processes, and goes on after a restart. What goes on by
itself before its turn comes, or is another's already, is left alone and listed.

Examples:
`

func (retryCommand) Help() string {
	return jobHelp + `  raffsync retry --destination books --class RETRIES_EXHAUSTED --dry-run
  raffsync retry --destination books --class RETRIES_EXHAUSTED --rate 50/s --reason "books is back"
  raffsync retry dlv_AAAAAAAAAAE --reason "the customer asked"
  raffsync jobs`
}

func (skipCommand) Help() string {
	return `Ends deliveries without sending them. ` + jobHelp + `  raffsync skip --destination stock --outlet mall --held --dry-run
  raffsync skip --exception exc_AAAAAAAAAAE --reason "entered by hand"
  raffsync jobs`
}

func (reprocessCommand) Help() string {
	return `Prepares deliveries again by today's mappings and routes, under a new idempotency key
where all that was sent is proven to have had no effect. ` + jobHelp + `  raffsync reprocess --destination books --class VALIDATION --dry-run
  raffsync reprocess --destination books --class VALIDATION --reason "the map is right now"
  raffsync jobs`
}

func (c *retryCommand) Run(ctx context.Context, line *commandLine) error {
	return c.start(ctx, line, outbox.JobRetry)
}

func (c *skipCommand) Run(ctx context.Context, line *commandLine) error {
	return c.start(ctx, line, outbox.JobSkip)
}

func (c *reprocessCommand) Run(ctx context.Context, line *commandLine) error {
	return c.start(ctx, line, outbox.JobReprocess)
}

func (c *jobStart) filter(now time.Time) (f outbox.JobFilter, err error) {
	f = outbox.JobFilter{Destination: c.Destination, Class: c.Class, Source: c.Source, Type: c.Type, Outlet: c.Outlet, Everything: c.Everything}
	switch {
	case c.OnlyWaiting:
		f.State = outbox.StateWaiting
	case c.OnlyHeld:
		f.State = outbox.StateNeedsAction
	}
	for _, text := range c.IDs {
		id, err := view.ParseDeliveryID(text)
		if err != nil {
			return f, fmt.Errorf("%s: %w", text, err)
		}
		f.Deliveries = append(f.Deliveries, id)
	}
	if c.Exception != "" {
		if f.Exception, err = view.ParseExceptionID(c.Exception); err != nil {
			return f, fmt.Errorf("--exception: %w", err)
		}
	}
	for _, m := range []struct {
		flag, text string
		to         *time.Time
	}{
		{"--accepted-from", c.AcceptedFrom, &f.AcceptedFrom},
		{"--accepted-until", c.AcceptedUntil, &f.AcceptedUntil},
		{"--held-from", c.HeldFrom, &f.HeldFrom},
		{"--held-until", c.HeldUntil, &f.HeldUntil},
	} {
		if *m.to, err = parseMoment(m.flag, m.text, now); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (c *jobStart) start(ctx context.Context, line *commandLine, action outbox.JobAction) error {
	q := outbox.JobRequest{RequestID: c.Request, Action: action, Reason: c.Reason}
	if q.RequestID == "" {
		q.RequestID = "command line " + rand.Text()
	}
	var err error
	if q.Rate, err = parseRate(c.Rate); err != nil {
		return err
	}
	if q.Filter, err = c.filter(time.Now()); err != nil {
		return err
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		if c.DryRun {
			preview, err := store.PreviewJob(ctx, tenant, q.Filter)
			if err != nil {
				return err
			}
			told := toldJobPreview{preview.Total, preview.NeedsAction, preview.Unknown, preview.Taken, preview.First, preview.Last}
			if c.JSON {
				return printJSON(map[string]any{"preview": told})
			}
			fmt.Print(told)
			fmt.Println("nothing is started")
			return nil
		}
		started, err := store.StartJob(ctx, actor(tenant), q)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(map[string]any{"job": toldJobOf(started)})
		}
		fmt.Println(toldJobOf(started))
		fmt.Printf("see raffsync jobs show %d\n", started.ID)
		return nil
	})
}

// toldJobPreview is what a job would do, as it is printed.
type toldJobPreview struct {
	Total       int64      `json:"total"`
	NeedsAction int64      `json:"needsAction"`
	Unknown     int64      `json:"unknown"`
	Taken       int64      `json:"taken"`
	First       *time.Time `json:"first,omitempty"`
	Last        *time.Time `json:"last,omitempty"`
}

func (t toldJobPreview) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d deliveries match: %d need action, %d wait for a retry\n", t.Total, t.NeedsAction, t.Total-t.NeedsAction)
	if t.Unknown > 0 {
		fmt.Fprintf(&b, "%d of them may have had their effect: a retry asks about that first, where it can; where it cannot, see raffsync send-anyway\n", t.Unknown)
	}
	if t.Taken > 0 {
		fmt.Fprintf(&b, "%d of them belong to other jobs: see raffsync jobs\n", t.Taken)
	}
	if t.First != nil {
		fmt.Fprintf(&b, "the first was accepted %s, the last %s\n", t.First.UTC().Format(time.RFC3339), t.Last.UTC().Format(time.RFC3339))
	}
	return b.String()
}

type jobsCommand struct {
	List   jobsList   `cmd:"" default:"withargs" help:"List jobs, the newest first, with their progress."`
	Show   jobsShow   `cmd:"" help:"Show one job, and what of it did not work and why."`
	Pause  jobsPause  `cmd:"" help:"Do no more for now."`
	Resume jobsResume `cmd:"" help:"Go on."`
	Cancel jobsCancel `cmd:"" help:"Do no more. What is done stays, the rest is as if nobody had asked."`
}

// toldJob is a job, as it is printed.
type toldJob struct {
	ID          int64      `json:"id"`
	Action      string     `json:"action"`
	State       string     `json:"state"`
	Total       int64      `json:"total"`
	Done        int64      `json:"done"`
	Failed      int64      `json:"failed"`
	Rate        int32      `json:"rate"`
	RequestedAt time.Time  `json:"requestedAt"`
	EndedAt     *time.Time `json:"endedAt,omitempty"`
	Actor       string     `json:"actor"`
	Reason      string     `json:"reason"`
}

func toldJobOf(j outbox.Job) toldJob {
	return toldJob{j.ID, string(j.Action), j.State, j.Total, j.Done, j.Failed, j.Rate, j.RequestedAt, j.EndedAt, j.Actor, j.Reason}
}

func (j toldJob) String() string {
	return fmt.Sprintf("job %d %s: %s, %d of %d done, %d failed, %d/s (%s: %s)", j.ID, j.Action, j.State, j.Done, j.Total, j.Failed, j.Rate, j.Actor, j.Reason)
}

type jobsList struct {
	tenantFlag
	JSON bool `name:"json" help:"Print as JSON."`
}

func (c *jobsList) Run(ctx context.Context, line *commandLine) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		all, err := store.Jobs(ctx, tenant, 0, 100)
		if err != nil {
			return err
		}
		told := []toldJob{}
		for _, j := range all {
			told = append(told, toldJobOf(j))
		}
		if c.JSON {
			return printJSON(told)
		}
		for _, j := range told {
			fmt.Fprintln(os.Stdout, j)
		}
		return nil
	})
}

type jobsShow struct {
	tenantFlag
	ID    int64 `arg:"" help:"Number of the job."`
	First int   `help:"Most failures to show." default:"20"`
	JSON  bool  `name:"json" help:"Print as JSON."`
}

// toldFailure is a delivery to which nothing was done.
type toldFailure struct {
	Delivery string `json:"delivery"`
	Reason   string `json:"reason"`
}

func (c *jobsShow) Run(ctx context.Context, line *commandLine) error {
	if c.First < 1 || c.First > 1000 {
		return errors.New("--first must be between 1 and 1000")
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		j, err := store.Job(ctx, tenant, c.ID)
		if errors.Is(err, outbox.ErrNotFound) {
			return noSuchJob(tenant, c.ID)
		}
		if err != nil {
			return err
		}
		failures, err := store.JobFailures(ctx, tenant, c.ID, 0, c.First)
		if err != nil {
			return err
		}
		told := []toldFailure{}
		for _, f := range failures {
			told = append(told, toldFailure{view.FormatDeliveryID(f.Delivery), f.Reason})
		}
		if c.JSON {
			return printJSON(map[string]any{"job": toldJobOf(j), "failures": told})
		}
		fmt.Println(toldJobOf(j))
		for _, f := range told {
			fmt.Printf("    %s  %s\n", f.Delivery, f.Reason)
		}
		if j.Failed > int64(len(told)) {
			fmt.Printf("    … and %d more; --first shows more of them, the first thousand in all\n", j.Failed-int64(len(told)))
		}
		return nil
	})
}

func noSuchJob(tenant string, id int64) error {
	return fmt.Errorf("tenant %s has no job %s", tenant, strconv.FormatInt(id, 10))
}

type jobChange struct {
	tenantFlag
	ID     int64  `arg:"" help:"Number of the job."`
	Reason string `help:"Why, for the timeline." default:"from the command line"`
}

type (
	jobsPause  struct{ jobChange }
	jobsResume struct{ jobChange }
	jobsCancel struct{ jobChange }
)

func (c *jobsPause) Run(ctx context.Context, line *commandLine) error {
	return c.change(ctx, line, outbox.JobPaused)
}

func (c *jobsResume) Run(ctx context.Context, line *commandLine) error {
	return c.change(ctx, line, outbox.JobRunning)
}

func (c *jobsCancel) Run(ctx context.Context, line *commandLine) error {
	return c.change(ctx, line, outbox.JobCancelled)
}

func (c *jobChange) change(ctx context.Context, line *commandLine, to string) error {
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		j, err := store.ChangeJob(ctx, actor(tenant), c.ID, to, c.Reason)
		if errors.Is(err, outbox.ErrNotFound) {
			return noSuchJob(tenant, c.ID)
		}
		if err != nil {
			return err
		}
		fmt.Println(toldJobOf(j))
		return nil
	})
}
