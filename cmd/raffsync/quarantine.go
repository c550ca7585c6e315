package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

type quarantineCommand struct {
	List  quarantineList  `cmd:"" help:"List webhooks of which no event can be made." default:"withargs"`
	Retry quarantineRetry `cmd:"" help:"Evaluate them again, by today's expressions."`

	Dismiss exceptionsDismissCommand `cmd:"" help:"Put those of one exception aside: they stay as they are, and become no events."`
}

func (quarantineCommand) Help() string {
	return `A webhook that was signed rightly and of which no event can be made is kept as it came,
and answered with 200, so that its sender does not switch the feed off. One exception of
class QUARANTINED for each source and cause says so.

Examples:
  raffsync quarantine
  raffsync quarantine list eGk8AQ                     # the webhooks of one exception
  raffsync quarantine retry eGk8AQ --reason "the number is called id now"
  raffsync quarantine dismiss eGk8AQ --reason "a test of theirs"`
}

type quarantineList struct {
	tenantFlag
	Exception string `arg:"" optional:"" help:"Of this exception, as the list shows it."`
	First     int    `help:"Most to list." default:"20"`
	JSON      bool   `name:"json" help:"Print as JSON."`
}

// quarantineCause is an exception as it is listed.
type quarantineCause struct {
	ID       string    `json:"id"`
	Source   string    `json:"source"`
	Code     string    `json:"code"`
	Held     int64     `json:"held"`
	Reason   string    `json:"reason"`
	LastAt   time.Time `json:"lastAt"`
	OpenedAt time.Time `json:"openedAt"`
}

func (c *quarantineList) Run(ctx context.Context, line *commandLine) error {
	if c.First < 1 || c.First > view.MaxFirst {
		return fmt.Errorf("--first must be between 1 and %d", view.MaxFirst)
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		return view.New(store.API()).As(ctx, tenant, func(tx *view.Tx) error {
			if c.Exception != "" {
				return c.webhooks(ctx, tx)
			}
			return c.causes(ctx, tx)
		})
	})
}

func (c *quarantineList) causes(ctx context.Context, tx *view.Tx) error {
	open := true
	page, err := tx.Exceptions(ctx, view.ExceptionFilter{Open: &open, Class: outbox.ClassQuarantined}, c.First, "")
	if err != nil {
		return err
	}
	causes := []quarantineCause{}
	for _, x := range page.Nodes {
		q := quarantineCause{ID: x.ID(), Code: x.Code, Held: x.HeldCount, Reason: x.Sample, LastAt: x.LastAt, OpenedAt: x.OpenedAt}
		if x.Source != nil {
			q.Source = *x.Source
		}
		causes = append(causes, q)
	}
	if c.JSON {
		return printJSON(causes)
	}
	if len(causes) == 0 {
		fmt.Println("nothing is quarantined")
	}
	for _, q := range causes {
		fmt.Printf("%-12s %-16s %6d  %s: %s\n", q.ID, q.Source, q.Held, q.Code, q.Reason)
	}
	return nil
}

func (c *quarantineList) webhooks(ctx context.Context, tx *view.Tx) error {
	number, err := view.ParseExceptionID(c.Exception)
	if err != nil {
		return fmt.Errorf("%q names no exception; `raffsync quarantine` lists them", c.Exception)
	}
	page, err := tx.Quarantined(ctx, number, c.First, "")
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(page.Nodes)
	}
	if len(page.Nodes) == 0 {
		fmt.Println("it keeps no webhook")
	}
	for _, q := range page.Nodes {
		asked := ""
		if q.Asked {
			asked = " (is evaluated again)"
		}
		fmt.Printf("%s  %s  %d bytes of %s%s\n  %s\n  %s\n", q.ReceivedAt.Local().Format("2006-01-02 15:04:05"), q.ID[:min(12, len(q.ID))], q.BodyBytes, q.ContentType, asked, q.Reason, beginning(q.Body))
	}
	if page.HasNext {
		fmt.Printf("There are more; --first shows up to %d.\n", view.MaxFirst)
	}
	return nil
}

// beginning of a body, on one line that a terminal can show.
func beginning(body []byte) string {
	const most = 160
	more := len(body) > most
	if more {
		body = body[:most]
	}
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || r >= 0x80 && r < 0xa0 {
			return '·'
		}
		return r
	}, string(body))
	if more {
		text += "…"
	}
	return text
}

type quarantineRetry struct {
	tenantFlag
	Exception string        `arg:"" help:"Whose webhooks, as the list shows it."`
	Reason    string        `help:"Why, for the timeline." required:""`
	Wait      time.Duration `help:"How long to wait for a running process to do it." default:"15s"`
}

func (c *quarantineRetry) Run(ctx context.Context, line *commandLine) error {
	number, err := view.ParseExceptionID(c.Exception)
	if err != nil {
		return fmt.Errorf("%q names no exception; `raffsync quarantine` lists them", c.Exception)
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := c.resolve(ctx, store)
		if err != nil {
			return err
		}
		asked, err := store.AskWebhooks(ctx, actor(tenant), number, c.Reason)
		if errors.Is(err, outbox.ErrNotFound) {
			return errors.New("the exception keeps no webhook")
		}
		if err != nil {
			return err
		}
		waiting, left, err := c.watch(ctx, store, tenant, number)
		if err != nil {
			return err
		}
		fmt.Printf("%d of %s became events\n", asked-left, counted(int(asked), "webhook"))
		switch {
		case waiting > 0:
			return fmt.Errorf("%s wait for a running process", counted(waiting, "webhook"))
		case left > 0:
			return fmt.Errorf("no event can be made of %d still; `raffsync quarantine list %s` says why", left, c.Exception)
		}
		return nil
	})
}

// watch waits until none is to be evaluated any more, or the time is over, and returns
// how many of the first are, and how many are kept.
func (c *quarantineRetry) watch(ctx context.Context, store *outbox.Store, tenant string, exception int64) (waiting int, left int64, err error) {
	over := time.After(c.Wait)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		err := view.New(store.API()).As(ctx, tenant, func(tx *view.Tx) error {
			waiting = 0
			for more, after := true, ""; more; {
				page, err := tx.Quarantined(ctx, exception, view.MaxFirst, after)
				if err != nil {
					return err
				}
				for _, q := range page.Nodes {
					if q.Asked {
						waiting++
					}
				}
				more, after = page.HasNext, page.EndCursor
			}
			found, err := tx.ExceptionsByID(ctx, []int64{exception})
			if x := found[exception]; x != nil {
				left = x.HeldCount
			}
			return err
		})
		if err != nil || waiting == 0 {
			return waiting, left, err
		}
		select {
		case <-ctx.Done():
			return waiting, left, ctx.Err()
		case <-over:
			return waiting, left, nil
		case <-tick.C:
		}
	}
}
