package escalate

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"raffsync/outbox"
	"raffsync/outbox/explain"
)

// news is what one team is to be told of one exception.
type news struct {
	*row
	state State
	step  *Step // nil: that it is over
}

// group is what one team is to be told at once.
type group struct {
	tenant, team string
	all          []news
}

type groups map[[2]string]*group

func (g *groups) add(r *row, team string, s State, step *Step) {
	if *g == nil {
		*g = make(groups)
	}
	key := [2]string{r.Tenant, team}
	if (*g)[key] == nil {
		(*g)[key] = &group{tenant: r.Tenant, team: team}
	}
	(*g)[key].all = append((*g)[key].all, news{r, s, step})
}

// inOrder is the same order for all workers, so that no two wait in a circle for teams.
func (g groups) inOrder() (all []*group) {
	for _, one := range g {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *group) int { return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.team, b.team)) })
	return all
}

// ownError is about one exception, and stops no other.
type ownError struct{ error }

func (e *ownError) Unwrap() error { return e.error }

// isOwn tells whether an error is about a value: trying the whole again is no use.
func isOwn(err error) bool {
	var own *ownError
	var pg *pgconn.PgError
	return errors.As(err, &own) || errors.As(err, &pg) && len(pg.Code) == 5 && (pg.Code[:2] == "22" || pg.Code[:2] == "23" || pg.Code == "54000")
}

// tell tells a team, or puts that off where it was told less than a minute ago. One that
// cannot be told is found by halving, so that it stops no other.
func (w *Worker) tell(ctx context.Context, tx outbox.NoticeTx, g *group, now time.Time) error {
	var last time.Time
	if err := tx.QueryRow(ctx, teamSQL, g.tenant, g.team, time.Unix(0, 0)).Scan(&last); err != nil {
		return err
	}
	if next := last.Add(gather); next.After(now) {
		ids := make([]int64, len(g.all))
		for i, d := range g.all {
			ids[i] = d.Exception
		}
		_, err := tx.Exec(ctx, waitSQL, ids, next)
		return err
	}
	told, err := w.tellAll(ctx, tx, g, g.all, now)
	if err == nil && told {
		_, err = tx.Exec(ctx, toldSQL, g.tenant, g.team, now)
	}
	return err
}

func (w *Worker) tellAll(ctx context.Context, tx outbox.NoticeTx, g *group, all []news, now time.Time) (told bool, err error) {
	before := make([][]string, len(all))
	for i, d := range all {
		before[i] = d.Told
	}
	err = tx.Try(ctx, func(tx outbox.NoticeTx) error { return w.tellNow(ctx, tx, g, all, now) })
	for i, d := range all {
		if err != nil {
			d.Told = before[i]
		}
	}
	switch {
	case err == nil:
		return true, nil
	case !isOwn(err):
		return false, err
	case len(all) == 1:
		return false, w.postpone(ctx, tx, all[0].row, now, err)
	}
	for _, half := range [][]news{all[:len(all)/2], all[len(all)/2:]} {
		one, err := w.tellAll(ctx, tx, g, half, now)
		if err != nil {
			return false, err
		}
		told = told || one
	}
	return told, nil
}

// tellNow appends the events by which the team is told, and stores what has become of
// each exception by that.
func (w *Worker) tellNow(ctx context.Context, tx outbox.NoticeTx, g *group, all []news, now time.Time) error {
	language, team := explain.English, (*outbox.TeamConfig)(nil)
	f := w.policies[g.tenant]
	if f != nil {
		if team = f.Team(g.team); team != nil {
			language = explain.ParseLanguage(team.Language)
		}
	}
	causes := make([]Cause, len(all))
	for i, d := range all {
		causes[i] = d.described(language)
	}
	detail := audited{Team: g.team}
	var entries []outbox.Entry
	if team != nil {
		n := compose(g.tenant, g.team, language, causes)
		var err error
		if entries, err = w.entries(ctx, f, team, n, now, &detail); err != nil {
			return &ownError{err}
		}
	}
	for i, d := range all {
		if err := d.fired(ctx, tx, causes[i], detail, now); err != nil {
			return err
		}
	}
	return tx.Notify(ctx, entries)
}

// described puts what is due into words.
func (d *news) described(in explain.Language) Cause {
	if d.step == nil {
		return d.cause(Resolved, d.Level, 0, in)
	}
	kind := Raised
	switch {
	case d.step.Repeat > 0:
		kind = Repeated
	case d.step.Level > 0:
		kind = Escalated
	}
	return d.cause(kind, d.step.Level+1, d.step.Repeat, in)
}

// entries are the events for each address of the team. An address that was named twice is
// told once.
func (w *Worker) entries(ctx context.Context, f *force, team *outbox.TeamConfig, n Notice, now time.Time, detail *audited) (all []outbox.Entry, err error) {
	for _, address := range team.Notify {
		name := address.Destination()
		destination, known := f.Names.Destinations[name]
		if !known || slices.Contains(detail.Addresses, name) {
			continue
		}
		mine := n
		mine.Causes = slices.Clone(n.Causes)
		for i := range mine.Causes {
			if c := &mine.Causes[i]; c.Kind != Resolved && w.config.Acknowledge != nil && f.PublicURL != "" {
				c.Acknowledge = w.config.Acknowledge(Link{
					f.PublicURL, n.Tenant, c.Exception, name, now.Add(cmp.Or(c.policy.LinkValid, outbox.DefaultLinkValid)),
					cmp.Or(c.policy.AcknowledgeFor, outbox.DefaultAcknowledgeFor),
				})
			}
		}
		var wrong error
		if mine.Text, wrong = text(&mine, team.Template); wrong != nil {
			w.config.Log.WarnContext(ctx, "a team's template fails; the plain text serves", "tenant", n.Tenant, "team", n.Team, "error", wrong)
		}
		id := rand.Text()
		made, err := entry(id, f.Names.Sources[outbox.NoticeSource], destination, name, &mine)
		if err != nil {
			return nil, err
		}
		all = append(all, made)
		detail.Addresses, detail.Events = append(detail.Addresses, name), append(detail.Events, id)
	}
	return all, nil
}

// fired stores that the team is told, and when to look again.
func (d *news) fired(ctx context.Context, tx outbox.NoticeTx, c Cause, detail audited, now time.Time) error {
	detail.Kind = c.Kind
	s, team, told := d.state, detail.Team, slices.Clone(d.Told)
	next := time.Time{}
	var reason string
	if d.step == nil {
		told = slices.DeleteFunc(told, func(one string) bool { return one == team })
		if len(told) > 0 {
			next = now.Add(gather) // or sooner: these teams may have been told just now
		}
		reason = "team " + team + " is told that it is over"
	} else {
		detail.Level, detail.Repeat = c.Level, c.Repeat
		s = s.Fired(d.policy, *d.step, now)
		if !slices.Contains(told, team) {
			told = append(told, team)
		}
		if after := NextStep(s, d.policy, now); after.Fire {
			next = now
		} else {
			next = d.lookAgain(s, after.At, now)
		}
		reason = fmt.Sprintf("level %d: team %s is told", c.Level, team)
		if c.Repeat > 0 {
			reason = fmt.Sprintf("level %d: team %s is told again (%d)", c.Level, team, c.Repeat)
		}
	}
	if len(detail.Addresses) == 0 {
		reason += ", but has no address by which it can be"
	}
	d.Told = told
	if err := d.save(ctx, tx, s, next); err != nil {
		return err
	}
	return d.audit(ctx, tx, reason, detail)
}
