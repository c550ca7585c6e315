package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/explain"
	"raffsync/outbox/view"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

type exceptionsShowCommand struct {
	tenantFlag
	ID       string `arg:"" help:"As the list shows it."`
	First    int    `help:"Most deliveries to show of what it holds." default:"20"`
	Language string `help:"Language of the explanation: en or id (Indonesian)." enum:"en,id" default:"en"`
	JSON     bool   `name:"json" help:"Print as JSON."`
}

func (exceptionsShowCommand) Help() string {
	return `Shows why it is there, what resolves it, the first deliveries that it holds, and what
happened to it.

Examples:
  raffsync exceptions show exc_AAAAAAAAAAE
  raffsync exceptions show exc_AAAAAAAAAAE --language id`
}

// toldExplanation is what an exception is, in words for a shop.
type toldExplanation struct {
	Title    string `json:"title"`
	What     string `json:"what"`
	Why      string `json:"why"`
	NextStep string `json:"nextStep"`
	Turn     string `json:"turn"`
}

// toldHeld is a delivery that an exception holds.
type toldHeld struct {
	ID        string `json:"id"`
	Event     string `json:"event"`
	OtherHeld int    `json:"others"` // exceptions that hold it besides
}

func (c *exceptionsShowCommand) Run(ctx context.Context, line *commandLine) error {
	if c.First < 1 || c.First > view.MaxFirst {
		return fmt.Errorf("--first must be between 1 and %d", view.MaxFirst)
	}
	number, err := view.ParseExceptionID(c.ID)
	if err != nil {
		return err
	}
	var told toldException
	var words explain.Explanation
	held := []toldHeld{}
	var entries []toldEntry
	err = c.read(ctx, line, func(tx *view.Tx) error {
		found, err := tx.ExceptionsByID(ctx, []int64{number})
		if err != nil {
			return err
		}
		if found[number] == nil {
			return errors.New("there is no such exception")
		}
		told, words = toldOf(found[number]), found[number].Explain(explain.Language(c.Language))
		worth, err := tx.Exposures(ctx, []int64{number})
		if err != nil {
			return err
		}
		told.exposed(worth[number])
		if held, err = heldBy(ctx, tx, number, c.First); err != nil {
			return err
		}
		steps, err := tx.LifeSteps(ctx, []int64{number})
		if err != nil {
			return err
		}
		for _, s := range steps[number] {
			entries = append(entries, toldEntry{At: s.At, What: s.Action, Reason: deref(s.Reason), Actor: deref(s.Actor)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(map[string]any{
			"exception": told, "held": held, "timeline": entries,
			"explanation": toldExplanation{words.Title, words.What, words.Why, words.NextStep, words.TurnName},
		})
	}
	told.print(os.Stdout)
	fmt.Printf("    %s\n    %s\n    %s\n    → %s (%s)\n", words.Title, words.What, words.Why, words.NextStep, words.TurnName)
	if told.Class == outbox.Class(raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME) {
		fmt.Print("      it is there:     raffsync mark-delivered DELIVERY NAME-THERE --reason …\n" +
			"      it is not there: raffsync send-anyway DELIVERY --acknowledge-risk --reason …\n")
	}
	for _, h := range held {
		fmt.Printf("    holds event %s, %s", h.Event, h.ID)
		if h.OtherHeld > 0 {
			fmt.Printf(", as %d others do", h.OtherHeld)
		}
		fmt.Println()
	}
	for _, e := range entries {
		fmt.Printf("    %s  %s", e.At.Local().Format(time.DateTime), e.What)
		if e.Actor != "" {
			fmt.Printf(" by %s", e.Actor)
		}
		fmt.Printf(": %s\n", e.Reason)
	}
	return nil
}

func heldBy(ctx context.Context, tx *view.Tx, exception int64, first int) ([]toldHeld, error) {
	pages, err := tx.Held(ctx, []view.HeldBy{{Exception: exception, First: first}})
	if err != nil {
		return nil, err
	}
	var ids []outbox.EventID
	for _, d := range pages[0].Nodes {
		ids = append(ids, d.Ref.Event)
	}
	events, err := tx.EventsByID(ctx, ids)
	held := []toldHeld{}
	for _, d := range pages[0].Nodes {
		h := toldHeld{ID: d.ID(), OtherHeld: max(len(d.Exceptions)-1, 0)}
		if e := events[d.Ref.Event]; e != nil {
			h.Event = e.EventID
		}
		held = append(held, h)
	}
	return held, err
}
