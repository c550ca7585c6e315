package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"raffsync/outbox"
	"raffsync/outbox/view"
)

// stepFlags are those of every step of an exception.
type stepFlags struct {
	tenantFlag
	reasonFlag
	ID        string `arg:"" help:"As the list shows it."`
	IfVersion int32  `help:"Refuse where somebody has decided something since this version, which show tells." default:"-1" placeholder:"N"`
	JSON      bool   `name:"json" help:"Print as JSON."`
}

// conflictStatus is the exit status where somebody was first.
const conflictStatus = 3

// conflictError says who was.
type conflictError struct{ error }

func (conflictError) ExitCode() int { return conflictStatus }

// take has a step done in the name of whoever runs this program, and says so.
func (f *stepFlags) take(ctx context.Context, line *commandLine, q outbox.ExceptionRequest) error {
	number, err := view.ParseExceptionID(f.ID)
	if err != nil {
		return err
	}
	q.Exception, q.Reason, q.RequestID = number, f.Reason, "command line "+rand.Text()
	if f.IfVersion >= 0 {
		q.ExpectedVersion = &f.IfVersion
	}
	return withStore(ctx, line, "", func(store *outbox.Store) error {
		tenant, err := f.resolve(ctx, store)
		if err != nil {
			return err
		}
		done, err := store.StepException(ctx, actor(tenant), q)
		switch {
		case errors.Is(err, outbox.ErrNotFound):
			return errors.New("there is no such exception: see `raffsync exceptions`")
		case errors.Is(err, outbox.ErrConflict):
			return conflictError{err}
		case err != nil:
			return err
		}
		if f.JSON {
			return printJSON(done)
		}
		fmt.Println(tookStep(q.Step, done))
		return nil
	})
}

// tookStep is what a step came to, in words.
func tookStep(step outbox.ExceptionStep, done outbox.ExceptionStepped) string {
	switch {
	case step == outbox.StepAcknowledge:
		return fmt.Sprintf("acknowledged until %s", done.Until.Local().Format(time.DateTime))
	case done.Held > 0 && step == outbox.StepDismiss:
		return fmt.Sprintf("%s; skipping %s in the background", done.Status, deliveries(done.Held))
	case done.Held > 0:
		return fmt.Sprintf("%s; trying %s again in the background, in order", done.Status, deliveries(done.Held))
	case step == outbox.StepRetry:
		return "its webhooks are evaluated again; it resolves with the last of them"
	}
	return done.Status
}

const stepHelp = `

Exit status: 0 done, 1 refused or failed, 2 not understood, 3 somebody was first: the
message says who, and how it stands now.`

type exceptionsAckCommand struct {
	stepFlags
	For time.Duration `help:"How long: then it needs action again. 720h at most." default:"4h"`
}

func (exceptionsAckCommand) Help() string {
	return `Nobody else is told meanwhile, where escalation is configured. It solves nothing.

Examples:
  raffsync exceptions ack exc_AAAAAAAAAAE --for 2h --reason "asking the supplier"` + stepHelp
}

func (c *exceptionsAckCommand) Run(ctx context.Context, line *commandLine) error {
	return c.take(ctx, line, outbox.ExceptionRequest{Step: outbox.StepAcknowledge, Until: time.Now().Add(c.For)})
}

// withWhom are the flags that give an exception to somebody.
type withWhom struct {
	Assignee *string `arg:"" optional:"" help:"Whose it is; '' takes it off."`
	Team     *string `help:"The team whose it is; '' takes it off." placeholder:"NAME"`
}

type exceptionsAssignCommand struct {
	stepFlags
	withWhom
}

func (exceptionsAssignCommand) Help() string {
	return `Examples:
  raffsync exceptions assign exc_AAAAAAAAAAE budi --reason "he knows the catalogue"
  raffsync exceptions assign exc_AAAAAAAAAAE --team catalogue --reason "new item"` + stepHelp
}

func (c *exceptionsAssignCommand) Run(ctx context.Context, line *commandLine) error {
	return c.take(ctx, line, outbox.ExceptionRequest{Step: outbox.StepAssign, Assignee: c.Assignee, Team: c.Team})
}

type exceptionsStartCommand struct {
	stepFlags
	withWhom
}

func (exceptionsStartCommand) Help() string {
	return `Without ASSIGNEE it is yours.

Examples:
  raffsync exceptions start exc_AAAAAAAAAAE --reason "on the phone with accounting"` + stepHelp
}

func (c *exceptionsStartCommand) Run(ctx context.Context, line *commandLine) error {
	return c.take(ctx, line, outbox.ExceptionRequest{Step: outbox.StepStart, Assignee: c.Assignee, Team: c.Team})
}

type exceptionsCommentCommand struct{ stepFlags }

func (exceptionsCommentCommand) Help() string {
	return `The reason is what the comment says.

Examples:
  raffsync exceptions comment exc_AAAAAAAAAAE --reason "they answer on Monday"` + stepHelp
}

func (c *exceptionsCommentCommand) Run(ctx context.Context, line *commandLine) error {
	return c.take(ctx, line, outbox.ExceptionRequest{Step: outbox.StepComment})
}

type exceptionsRetryCommand struct{ stepFlags }

func (exceptionsRetryCommand) Help() string {
	return `Closes it, and tries again what it holds at that moment, in order: what fails again is held
by another one that names it. Webhooks in quarantine are evaluated again. What is of unknown
outcome, at a platform that neither recognises repeats nor can be asked, is not sent but held
again: raffsync mark-delivered and raffsync send-anyway are for that.

Examples:
  raffsync exceptions retry exc_AAAAAAAAAAE --reason "the customer exists there now"` + stepHelp
}

func (c *exceptionsRetryCommand) Run(ctx context.Context, line *commandLine) error {
	return c.take(ctx, line, outbox.ExceptionRequest{Step: outbox.StepRetry})
}

type exceptionsResolveCommand struct{ stepFlags }

func (exceptionsResolveCommand) Help() string {
	return `Closes one that holds no deliveries, as a conflict of contents that somebody has looked
into. What holds deliveries is retried or dismissed; some classes resolve by themselves.

Examples:
  raffsync exceptions resolve exc_AAAAAAAAAAE --reason "the till sends new ids now"` + stepHelp
}

func (c *exceptionsResolveCommand) Run(ctx context.Context, line *commandLine) error {
	return c.take(ctx, line, outbox.ExceptionRequest{Step: outbox.StepResolve})
}

type exceptionsDismissCommand struct{ stepFlags }

func (exceptionsDismissCommand) Help() string {
	return `Skips every delivery that it holds at that moment: show tells how many. That cannot be
undone; a replay makes new deliveries. What waits behind them goes on.

Examples:
  raffsync exceptions show exc_AAAAAAAAAAE
  raffsync exceptions dismiss exc_AAAAAAAAAAE --reason "test orders"` + stepHelp
}

func (c *exceptionsDismissCommand) Run(ctx context.Context, line *commandLine) error {
	return c.take(ctx, line, outbox.ExceptionRequest{Step: outbox.StepDismiss})
}

type exceptionsReopenCommand struct{ stepFlags }

func (exceptionsReopenCommand) Help() string {
	return `Examples:
  raffsync exceptions reopen exc_AAAAAAAAAAE --reason "it was not the cause"` + stepHelp
}

func (c *exceptionsReopenCommand) Run(ctx context.Context, line *commandLine) error {
	return c.take(ctx, line, outbox.ExceptionRequest{Step: outbox.StepReopen})
}
