package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"raffsync/connectors/mapping"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Limits of what is said about one invalid event: an answer must fit the client's
// own limit on messages (4 MiB unless it is raised), however wrong a batch is.
const (
	maxViolations     = 8   // of an event
	maxViolationField = 120 // bytes
	maxViolationText  = 240 // bytes
)

// maxReferences is the rule of Event.references.
const maxReferences = 16

// Validator holds events against the rules in proto/raffsync/v1/ingest.proto and
// what those cannot say: that data is of its declared type, and its size. It needs
// nothing but the event, so that whoever sends can find out before. It may be used from
// many goroutines.
type Validator struct {
	rules         protovalidate.Validator
	maxEventBytes int
}

// NewValidator compiles the contract's rules. maxEventBytes is the most that the data of
// an event may have; see [Config.MaxEventBytes].
func NewValidator(maxEventBytes int) (*Validator, error) {
	rules, err := protovalidate.New(
		protovalidate.WithMessages(&raffsyncv1.Event{}, &raffsyncv1.Hello{}),
		protovalidate.WithDisableLazy(), // compiles every rule now
	)
	if err != nil {
		return nil, fmt.Errorf("compile the validation rules: %w", err)
	}
	return &Validator{rules: rules, maxEventBytes: maxEventBytes}, nil
}

// Event returns the rules that an event breaks, 8 at most: what a broker lists with
// STATUS_INVALID. That its texts are UTF-8 shows in encoding it, before.
func (v *Validator) Event(e *raffsyncv1.Event) []*raffsyncv1.FieldViolation {
	return v.event(e, payload(e))
}

// event is Event where the payload is there already, as data.
func (v *Validator) event(e *raffsyncv1.Event, data []byte) []*raffsyncv1.FieldViolation {
	var found []*raffsyncv1.FieldViolation
	if !plainlyValid(e) {
		if len(e.GetReferences()) > maxReferences {
			// Not held against the rules one by one: there may be ten thousands.
			found = append(found, violation("references", fmt.Sprintf("must have at most %d entries, has %d", maxReferences, len(e.GetReferences()))))
			references := e.References
			e.References = nil
			defer func() { e.References = references }()
		}
		found = append(found, v.violations(e)...)
		if nanos := e.GetOccurredAt().GetNanos(); nanos < 0 || nanos > 999_999_999 { // which is no rule of protovalidate's
			found = append(found, violation("occurred_at", "must have nanos from 0 to 999999999"))
		}
	}
	if problem := v.dataViolation(e, data); problem != nil {
		found = append(found, problem)
	}
	return found[:min(len(found), maxViolations)]
}

// violations of the contract's rules.
func (v *Validator) violations(m proto.Message) []*raffsyncv1.FieldViolation {
	err := v.rules.Validate(m)
	if err == nil {
		return nil
	}
	var broken *protovalidate.ValidationError
	if !errors.As(err, &broken) {
		return []*raffsyncv1.FieldViolation{violation("", "cannot be held against the rules of the contract")}
	}
	found := make([]*raffsyncv1.FieldViolation, 0, len(broken.Violations))
	for _, b := range broken.Violations {
		found = append(found, violation(protovalidate.FieldPathString(b.Proto.GetField()), b.Proto.GetMessage()))
	}
	return found
}

func violation(field, text string) *raffsyncv1.FieldViolation {
	return &raffsyncv1.FieldViolation{Field: cut(field, maxViolationField), Message: cut(text, maxViolationText)}
}

// cut shortens a text to n bytes at most, and marks that it did.
func cut(s string, n int) string {
	const mark = "…"
	if len(s) <= n {
		return s
	}
	n -= len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}

// plainlyValid tells at a glance that an event breaks no rule of the contract; where
// it returns false the contract's rules decide. They take some 10 µs an event, this
// 0.2, and nearly every event is valid. A test holds it against the rules.
func plainlyValid(e *raffsyncv1.Event) bool {
	if !plainText(e.GetId(), 1, 200) || !plainType(e.GetType()) || !plainText(e.GetOrderingKey(), 1, 200) ||
		!plainText(e.GetOutlet(), 0, 120) || len(e.GetReferences()) > maxReferences {
		return false
	}
	switch e.GetContentType() {
	case "", defaultContentType:
	default:
		return false
	}
	if t := e.GetOccurredAt(); t != nil && !t.IsValid() { // from year 1 to 9999
		return false
	}
	for name, value := range e.GetReferences() {
		if !plainText(name, 1, 60) || !plainText(value, 1, 200) {
			return false
		}
	}
	return true
}

// plainText looks for what is certainly allowed. U+0080 to U+009F are control
// characters too and begin with 0xC2, as do some that are allowed.
func plainText(s string, shortest, longest int) bool {
	if len(s) < shortest || len(s) > longest {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == 0x7f || c == 0xc2 {
			return false
		}
	}
	return true
}

// plainType accepts lower case, digits, and dots that stand between them.
func plainType(s string) bool {
	if len(s) == 0 || len(s) > 120 {
		return false
	}
	start := true
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			start = false
		case c == '.' && !start:
			start = true
		case (c == '_' || c == '-') && !start:
		default:
			return false
		}
	}
	return !start
}

// dataViolation holds the payload against its size and its declared type.
func (v *Validator) dataViolation(e *raffsyncv1.Event, data []byte) *raffsyncv1.FieldViolation {
	field := "binary_data"
	if _, ok := e.GetData().(*raffsyncv1.Event_TextData); ok {
		field = "text_data"
	}
	contentType := e.GetContentType()
	switch {
	case e.GetData() == nil && contentType != "":
		return violation("data", "must be set where content_type is; leave both out for an event without data")
	case len(data) > v.maxEventBytes:
		return violation(field, fmt.Sprintf("must be at most %d bytes, has %d", v.maxEventBytes, len(data)))
	case len(data) == 0 && contentType == "":
		return nil
	case isJSON(contentType):
		if problem := jsonProblem(data); problem != "" {
			return violation(field, problem)
		}
	case isText(contentType) && !utf8.Valid(data):
		return violation(field, "must be UTF-8, since content_type declares text")
	}
	return nil
}

// jsonProblem says why data is no JSON, without quoting it.
func jsonProblem(data []byte) string {
	if mapping.ValidJSON(data) {
		if utf8.Valid(data) {
			return ""
		}
		return "must be UTF-8, as JSON is (RFC 8259)"
	}
	const advice = "must be JSON, or content_type must say what it is"
	if len(data) == 0 {
		return advice + ": it is empty"
	}
	var v any
	var syntax *json.SyntaxError
	if errors.As(json.Unmarshal(data, &v), &syntax) {
		return fmt.Sprintf("%s: it is malformed at byte %d", advice, syntax.Offset)
	}
	return advice
}
