package metrics

import _ "embed"

// Alerts are rules for Prometheus, as a file of rules.
//
//go:embed alerts.yml
var Alerts string
