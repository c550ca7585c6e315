package view

import (
	"errors"
	"strings"
	"time"

	"raffsync/outbox"
)

// ErrID: the text is no identifier of the kind that was asked for.
var ErrID = errors.New("this is not an id of ours; take ids as the API gave them")

// Prefixes tell a person, and a support ticket, what an identifier names.
const (
	eventPrefix     = "evt_"
	deliveryPrefix  = "dlv_"
	exceptionPrefix = "exc_"
	entryPrefix     = "ent_"
)

// EntryID names a timeline entry.
type EntryID struct {
	At    time.Time
	Entry int64
}

// FormatEventID gives the opaque text that names an event for callers.
func FormatEventID(id outbox.EventID) string {
	return eventPrefix + encoder(nil).time(id.AcceptedAt).int64(int64(id.Seq)).String()
}

// ParseEventID reads what FormatEventID gave, or fails with [ErrID].
func ParseEventID(text string) (outbox.EventID, error) {
	d, err := decodeID(text, eventPrefix)
	id := outbox.EventID{AcceptedAt: d.time(), Seq: outbox.Seq(d.int64())}
	if err != nil || !d.done() {
		return outbox.EventID{}, ErrID
	}
	return id, nil
}

// FormatDeliveryID gives the opaque text that names a delivery, open or terminal.
func FormatDeliveryID(id outbox.DeliveryID) string {
	return deliveryPrefix + encoder(nil).time(id.Event.AcceptedAt).int64(int64(id.Event.Seq)).
		int32(id.Destination).int32(id.Replay).String()
}

// ParseDeliveryID reads what FormatDeliveryID gave, or fails with [ErrID].
func ParseDeliveryID(text string) (outbox.DeliveryID, error) {
	d, err := decodeID(text, deliveryPrefix)
	id := outbox.DeliveryID{
		Event:       outbox.EventID{AcceptedAt: d.time(), Seq: outbox.Seq(d.int64())},
		Destination: d.int32(), Replay: d.int32(),
	}
	if err != nil || !d.done() {
		return outbox.DeliveryID{}, ErrID
	}
	return id, nil
}

// FormatExceptionID gives the opaque text that names an exception.
func FormatExceptionID(id int64) string {
	return exceptionPrefix + encoder(nil).int64(id).String()
}

// ParseExceptionID reads what FormatExceptionID gave, or fails with [ErrID].
func ParseExceptionID(text string) (int64, error) {
	d, err := decodeID(text, exceptionPrefix)
	id := d.int64()
	if err != nil || !d.done() {
		return 0, ErrID
	}
	return id, nil
}

// FormatEntryID gives the opaque text that names a timeline entry.
func FormatEntryID(id EntryID) string {
	return entryPrefix + encoder(nil).time(id.At).int64(id.Entry).String()
}

// ParseEntryID reads what FormatEntryID gave, or fails with [ErrID].
func ParseEntryID(text string) (EntryID, error) {
	d, err := decodeID(text, entryPrefix)
	id := EntryID{At: d.time(), Entry: d.int64()}
	if err != nil || !d.done() {
		return EntryID{}, ErrID
	}
	return id, nil
}

func decodeID(text, prefix string) (decoder, error) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return decoder{}, ErrID
	}
	return decode(rest), nil
}
