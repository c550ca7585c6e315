package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Preview is what would become of an event at one destination if it were its turn now.
// Nothing is sent for it, and nothing is written.
type Preview struct {
	Event       EventID
	Destination string
	// Route by which it is prepared; empty where none leads there.
	Route string
	// Open: it is of a delivery that has not ended, which goes on at its step. Of any other
	// every step is shown, as it would be if the event came now.
	Open bool
	// Mappings is the version of the mapping tables that it was prepared with; 0 where there
	// are none.
	Mappings int64
	Steps    []PreviewStep
}

// Prospect says what would become of a step now.
type Prospect string

const (
	WouldSend Prospect = "SEND"
	// WouldUpdate: its effect is there, and a request would change it.
	WouldUpdate Prospect = "UPDATE"
	// WouldSkip: its effect is there, so the step is done without a request.
	WouldSkip Prospect = "SKIP"
	// WouldSupersede: a newer snapshot has been applied, so nothing is sent.
	WouldSupersede Prospect = "SUPERSEDE"
	// WouldAsk: an earlier request may have had its effect, so the platform is asked first.
	// The request is what is sent where it had none.
	WouldAsk Prospect = "ASK"
	// WouldWait: another delivery is about to bring its effect about.
	WouldWait Prospect = "WAIT"
	// WouldHold: it needs a person, as things stand.
	WouldHold Prospect = "HOLD"
	// WasDone: the step is done.
	WasDone Prospect = "DONE"
	// NotKnown: what becomes of it can't be said before the steps before it are done.
	NotKnown Prospect = "NOT_KNOWN"
)

// PreviewStep is one step of a [Preview].
type PreviewStep struct {
	Destination  string
	Index        int
	Name, Effect string
	Prospect     Prospect
	// Reason for people; may be empty.
	Reason string
	// Cause of the exception that it would join, where Prospect is WouldHold.
	Cause Cause
	// Request that would be sent, or that would be if the effect were not there already; nil
	// where none can be made.
	Request *PreviewRequest
	// Provisional: markers as {order.id} stand for what earlier steps will have given.
	Provisional bool
	// LookUps that found something, and those that did not.
	LookUps []LookedUp
	Missing []LookUp
	// Existing is what the ledger knows of the effect; nil: nothing, or none is named.
	Existing *Effect
	// Receipt of a step that is done.
	Receipt *Receipt
	// Content is the SHA-256 of what the request would bring to the platform; nil where the
	// step names no effect.
	Content []byte
	Change  *PreviewChange
}

// PreviewRequest is a request as it would go on the wire, but for what depends on the time
// and on credentials.
type PreviewRequest struct {
	// Method is empty where the destination's kind cannot show its requests.
	Method, URL string
	Header      http.Header // without secrets
	Body        []byte
}

// PreviewChange compares a step with what was sent for its effect before.
type PreviewChange struct {
	// Same tells whether it is the same, by its hash.
	Same bool
	// Diff is unified, of JSON by line; empty where Same, or where Note says why there is none.
	Diff, Note string
}

// previewEventSQL has the event's place too, which names its open delivery.
const (
	previewEventSQL = `
SELECT s.name, e.source, e.id, e.type, e.ordering_key, e.occurred_at, e.outlet, coalesce(e.refs, '{}'::jsonb), e.content_type, e.payload, e.lane, e.key_hash, clock_timestamp()
  FROM events e JOIN sources s ON s.id = e.source
 WHERE e.tenant = $1 AND e.accepted_at = $2 AND e.seq = $3`

	eventNamedSQL = `
SELECT i.accepted_at, i.seq FROM event_ids i JOIN sources s ON s.id = i.source
 WHERE i.tenant = $1 AND s.tenant = $1 AND s.name = $2 AND i.id = $3`

	previewDeliverySQL = `
SELECT coalesce(d.receipts, '{}')::text, ` + deliveryColumns + `
  FROM deliveries d
 WHERE d.tenant = $1 AND d.lane = $2 AND d.destination = $3 AND d.key_hash = $4 AND d.event = $5 AND d.replay = $6`
)

// Previewed is an event, and its delivery to one destination, as they are now.
type Previewed struct {
	Event *LoadedEvent
	// Delivery that is open; where none is, one as it would be if the event came now, by a
	// route that is still to be chosen. Receipts are of its steps that are done.
	Delivery Delivery
	Open     bool
	Receipts map[string]Receipt
	Now      time.Time // by the database
	// Blank: it is prepared as if nothing had been sent yet, whatever the ledger knows.
	Blank bool
}

// Anew makes of an open delivery one as it would be if the event came now.
func (p *Previewed) Anew() {
	d := &p.Delivery
	*d = Delivery{
		Lane: d.Lane, KeyHash: d.KeyHash, Tenant: d.Tenant, Destination: d.Destination, Replay: d.Replay,
		Event: d.Event, EventAt: d.EventAt, AcceptedAt: d.EventAt, Version: 1,
	}
	p.Open, p.Receipts = false, nil
}

// ReadPreviewed reads what is needed to preview a delivery, open or not. [ErrNotFound]
// where the tenant has no such event.
func (s *Store) ReadPreviewed(ctx context.Context, tenant string, id DeliveryID) (*Previewed, error) {
	p := &Previewed{Event: &LoadedEvent{}}
	e, d := &p.Event.Event, &p.Delivery
	var references []byte
	err := s.engine.QueryRow(ctx, previewEventSQL, tenant, id.Event.AcceptedAt, id.Event.Seq).Scan(&p.Event.SourceName, &e.Source, &e.ID, &e.Type,
		&e.OrderingKey, &e.OccurredAt, &e.Outlet, &references, &e.ContentType, &e.Payload, &d.Lane, &d.KeyHash, &p.Now)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err == nil {
		err = json.Unmarshal(references, &e.References)
	}
	if err != nil {
		return nil, fmt.Errorf("read an event to preview: %w", err)
	}
	e.Tenant, p.Event.AcceptedAt = tenant, id.Event.AcceptedAt
	lane, keyHash := d.Lane, d.KeyHash
	rows, err := s.engine.Query(ctx, previewDeliverySQL, tenant, lane, id.Destination, keyHash, id.Event.Seq, id.Replay)
	if err != nil {
		return nil, fmt.Errorf("read a delivery to preview: %w", err)
	}
	w := deliveryRows(rows, pgtype.TextOID)
	for w.next() {
		if err := json.Unmarshal(w.bytes(), &p.Receipts); err != nil {
			w.err = err
		}
		w.delivery(d)
		p.Open = true
	}
	if w.err != nil {
		return nil, fmt.Errorf("read a delivery to preview: %w", w.err)
	}
	if !p.Open {
		d.Tenant, d.Destination, d.Replay, d.Event, d.EventAt = tenant, id.Destination, id.Replay, id.Event.Seq, id.Event.AcceptedAt
		p.Anew()
	}
	return p, nil
}

// EventNamed finds an event by its source's name and its id; [ErrNotFound] where there is
// none, or none any more.
func (s *Store) EventNamed(ctx context.Context, tenant, source, id string) (e EventID, err error) {
	err = s.engine.QueryRow(ctx, eventNamedSQL, tenant, source, id).Scan(&e.AcceptedAt, &e.Seq)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, ErrNotFound
	}
	if err != nil {
		return e, fmt.Errorf("find an event: %w", err)
	}
	return e, nil
}

// Effects is [Replica.Effects] for whoever only looks.
func (s *Store) Effects(ctx context.Context, names []EffectName) ([]*Effect, error) {
	return readEffects(ctx, s.engine, names)
}

// Applied is [Replica.Applied] for whoever only looks.
func (s *Store) Applied(ctx context.Context, deliveries []*Delivery, orderingKeys []string) ([]*Snapshot, error) {
	return readApplied(ctx, s.engine, deliveries, orderingKeys)
}

// Sends tells whether its request would go now, or does where the platform, once asked, says
// so.
func (p Prospect) Sends() bool { return p == WouldSend || p == WouldUpdate || p == WouldAsk }
