package connectors

import (
	"encoding/json"
	"strings"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Notice is what an event tells a person: its payload, as far as mail and chats need it.
type Notice struct {
	Subject string `json:"subject"` // one line
	Text    string `json:"text"`
}

// ReadNotice reads the payload of an event that tells people something. Its error is a
// [*PrepareError].
func ReadNotice(e *Event) (Notice, error) {
	var n Notice
	if err := json.Unmarshal(e.Data, &n); err != nil || n.Subject == "" || n.Text == "" {
		return n, &PrepareError{
			Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION, Code: "notice", Field: "data",
			Message: "the event is none that tells people something: it has no subject and text",
		}
	}
	n.Subject = strings.Join(strings.Fields(n.Subject), " ") // no second header line
	return n, nil
}
