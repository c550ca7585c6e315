package outbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"
)

// DecideEdit approves or rejects an edit that waits for a second person, who is never the
// one that asked for it; to reject one's own is to take it back. Whatever has become of the
// delivery meanwhile, it is looked at again as in [Store.AskEdit].
//
// It returns [ErrNotFound] where there is none, and a [*Refusal] where it is decided; a
// repeat of what the same person decided gets the first answer.
func (s *Store) DecideEdit(ctx context.Context, actor Actor, id int64, approve bool, reason string) (done Edit, err error) {
	if err := validateRequest("none", reason); err != nil {
		return done, err
	}
	reason = strings.TrimSpace(reason)
	to := map[bool]string{true: EditApplied, false: EditRejected}[approve]
	var lane int16
	err = s.asTenant(ctx, actor.Tenant, func(tx pgx.Tx) error {
		if done, err = editOf(ctx, tx, id); err != nil {
			return err
		}
		if err := holdLaneOf(ctx, tx, actor, done.Delivery.Event, &lane); err != nil {
			return err
		}
		if done, err = editOf(ctx, tx, id); err != nil { // under the lock
			return err
		}
		switch {
		case done.State == to && *done.DecidedBy == actor.Name:
			return nil
		case done.State != EditPending:
			return &Refusal{Message: fmt.Sprintf("%s was first: this edit is %s since %s", *done.DecidedBy, done.State, clockTime(*done.DecidedAt))}
		case approve && done.Actor == actor.Name:
			return &Refusal{Message: "this edit changes fields that need a second person: nobody approves their own"}
		}
		if approve {
			if err := approved(ctx, tx, actor, lane, done, reason); err != nil {
				return err
			}
		} else {
			if _, err := tx.Exec(ctx, decideEditSQL, id, to, actor.Name, reason); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, tellEditSQL, id, nil, nil, reason, actor.Name); err != nil {
				return err
			}
		}
		done, err = editOf(ctx, tx, id)
		return err
	})
	if err != nil {
		return Edit{}, err
	}
	s.Hint(Hint{Lanes: []int16{lane}})
	return done, nil
}

func approved(ctx context.Context, tx pgx.Tx, actor Actor, lane int16, edit Edit, reason string) error {
	e, err := examineEdit(ctx, tx, lane, edit.Delivery, edit.Changes)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, decideEditSQL, edit.ID, EditApplied, actor.Name, reason); err != nil {
		return err
	}
	return e.apply(ctx, tx, actor, edit.ID, reason)
}

func scanEdit(row pgx.CollectableRow) (e Edit, err error) {
	d := &e.Delivery
	err = row.Scan(&e.ID, &d.Event.Seq, &d.Event.AcceptedAt, &d.Destination, &d.Replay, &e.Changes, &e.State, &e.Second, &e.Actor, &e.Reason, &e.AskedAt,
		&e.DecidedBy, &e.DecidedAt, &e.DecidedWhy)
	d.Event.AcceptedAt = d.Event.AcceptedAt.UTC()
	return e, err
}

func editOf(ctx context.Context, tx pgx.Tx, id int64) (Edit, error) {
	rows, err := tx.Query(ctx, editSQL, id)
	if err != nil {
		return Edit{}, err
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanEdit)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return e, err
}

// Edits lists the edits of a tenant before an id, the newest first; 0: all; state "": any.
func (s *Store) Edits(ctx context.Context, tenant, state string, before int64, first int) (all []Edit, err error) {
	if before == 0 {
		before = math.MaxInt64
	}
	err = s.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, editsSQL, tenant, before, state, first)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scanEdit)
		return err
	})
	return all, err
}
