package outbox

import (
	"encoding/json"
	"fmt"
	"time"
)

// appendColumns is a batch turned on its side, for unnest.
type appendColumns struct {
	tenant, id, typ, orderingKey, outlet, contentType []string
	source                                            []int32
	hash, payload                                     [][]byte
	seq                                               []Seq
	keyHash                                           []int64
	lane                                              []int16
	unrouted                                          []bool
	occurredAt                                        []*time.Time
	refs                                              []*string

	refTenant, refValue, refName []string
	refSeq                       []Seq

	toTenant, toRoute []string
	toLane            []int16
	toDestination     []int32
	toSeq             []Seq
	toKeyHash         []int64
}

func (c *appendColumns) add(it *item) error {
	e := &it.entry.Event
	refs, err := referencesJSON(e.References)
	if err != nil {
		return err
	}
	c.tenant = append(c.tenant, e.Tenant)
	c.source = append(c.source, e.Source)
	c.id = append(c.id, e.ID)
	c.hash = append(c.hash, it.hash[:])
	c.seq = append(c.seq, it.seq)
	c.keyHash = append(c.keyHash, it.keyHash)
	c.lane = append(c.lane, it.lane)
	c.unrouted = append(c.unrouted, len(it.entry.Targets) == 0)
	c.occurredAt = append(c.occurredAt, occurredAt(e))
	c.typ = append(c.typ, e.Type)
	c.orderingKey = append(c.orderingKey, e.OrderingKey)
	c.outlet = append(c.outlet, e.Outlet)
	c.contentType = append(c.contentType, e.ContentType)
	c.refs = append(c.refs, refs)
	c.payload = append(c.payload, payloadOf(e))
	for name, value := range e.References {
		c.refTenant = append(c.refTenant, e.Tenant)
		c.refValue = append(c.refValue, value)
		c.refSeq = append(c.refSeq, it.seq)
		c.refName = append(c.refName, name)
	}
	for _, t := range it.entry.Targets {
		c.toTenant = append(c.toTenant, e.Tenant)
		c.toRoute = append(c.toRoute, t.Route)
		c.toLane = append(c.toLane, it.lane)
		c.toDestination = append(c.toDestination, t.Destination)
		c.toSeq = append(c.toSeq, it.seq)
		c.toKeyHash = append(c.toKeyHash, it.keyHash)
	}
	return nil
}

// payloadOf is never NULL, which is for what is unknown: this is known to be empty.
func payloadOf(e *Event) []byte {
	if e.Payload == nil {
		return []byte{}
	}
	return e.Payload
}

func referencesJSON(references map[string]string) (*string, error) {
	if len(references) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(references)
	if err != nil {
		return nil, fmt.Errorf("references: %w", err)
	}
	text := string(b)
	return &text, nil
}

// occurredAt is nil where the source left it out: the time of acceptance stands for
// it. It is not part of the content then, so a resend stays the same event.
func occurredAt(e *Event) *time.Time {
	if e.OccurredAt.IsZero() {
		return nil
	}
	return &e.OccurredAt
}

// conflictColumns are conflicts turned on their side, for unnest.
type conflictColumns struct {
	id, typ, orderingKey, outlet, contentType []string
	hash, payload                             [][]byte
	firstSeq                                  []Seq
	firstAt                                   []time.Time
	occurredAt                                []*time.Time
	refs                                      []*string
}

func (cc *conflictColumns) add(c conflict) error {
	e := &c.entry.Event
	refs, err := referencesJSON(e.References)
	if err != nil {
		return err
	}
	cc.id = append(cc.id, e.ID)
	cc.hash = append(cc.hash, c.hash[:])
	cc.firstSeq = append(cc.firstSeq, c.firstSeq)
	cc.firstAt = append(cc.firstAt, c.firstAt)
	cc.occurredAt = append(cc.occurredAt, occurredAt(e))
	cc.typ = append(cc.typ, e.Type)
	cc.orderingKey = append(cc.orderingKey, e.OrderingKey)
	cc.outlet = append(cc.outlet, e.Outlet)
	cc.contentType = append(cc.contentType, e.ContentType)
	cc.refs = append(cc.refs, refs)
	cc.payload = append(cc.payload, payloadOf(e))
	return nil
}
