package outbox

// ExposureConfig says what a delivery of a route is worth while it is held: texts with ${…}
// over event and body, each of which may be left out.
type ExposureConfig struct {
	Amount   string `json:"amount,omitempty"`
	Currency string `json:"currency,omitempty"`
	Units    string `json:"units,omitempty"`
}

// ExposureField is one of its texts, by its name.
type ExposureField struct{ Name, Text string }

// Fields are its texts: amount, currency, units.
func (c ExposureConfig) Fields() [3]ExposureField {
	return [3]ExposureField{{"amount", c.Amount}, {"currency", c.Currency}, {"units", c.Units}}
}
