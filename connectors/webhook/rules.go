package webhook

import (
	_ "embed"
	"encoding/json"
	"sync"

	"raffsync/connectors"
	"raffsync/connectors/rules"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Kinds, short enough to keep the code readable.
const (
	delivered = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	transient = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	unknown   = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	poison    = raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON
)

var (
	//go:embed rules.yaml
	rulesYAML []byte
	//go:embed answers.yaml
	answersYAML []byte
)

// Shipped are the rules for every webhook, with recorded answers. Its error is one of
// this package's own data, and a test holds that there is none.
var Shipped = sync.OnceValues(func() (*rules.Shipped, error) { return rules.Ship(rulesYAML, answersYAML) })

// Rules compiles what answers mean to a destination: its own rules, then [Shipped]. It
// needs no secret, and of the settings only "idempotent": others may be wrong.
func Rules(o connectors.Options) (*rules.Set, error) {
	shipped, err := Shipped()
	if err != nil {
		return nil, err
	}
	var settings struct {
		Idempotent *bool `json:"idempotent"`
	}
	_ = json.Unmarshal(o.Settings, &settings) // what is wrong with them, readSettings says
	return rules.Compile(o.Rules, shipped, settings.Idempotent == nil || *settings.Idempotent)
}
