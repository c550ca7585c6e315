package config

import (
	"strings"

	"raffsync/outbox"
)

func exposure(into *outbox.ExposureConfig) field {
	f := section("exposure", "What a delivery is worth while an exception holds it, so that exceptions are ranked by what is at stake. A route without it pays nothing for it.", exposureFields(into))
	f.fallback = "it does not say"
	return f
}

func exposureFields(c *outbox.ExposureConfig) []field {
	const takes = `a text, as "${money(body.total, body.currency)}"`
	return []field{
		text("amount", &c.Amount, 4096, takes, "no money", "An amount of money, a decimal. CEL over `event` and `body`."),
		text("currency", &c.Currency, 4096, `a text, as "${body.currency}" or "IDR"`, "no money", "Its currency: three capital letters."),
		text("units", &c.Units, 4096, takes, "not counted", "How many units, a decimal."),
	}
}

// exposureText is the expression that an error is about.
func exposureText(c outbox.ExposureConfig, field string) (string, bool) {
	name, ok := strings.CutPrefix(field, "exposure.")
	if !ok {
		return "", false
	}
	for _, f := range c.Fields() {
		if f.Name == name {
			return f.Text, true
		}
	}
	return "", false
}

func exposureProperties(all []property, steps []outbox.StepConfig, c outbox.ExposureConfig) []property {
	all = stepProperties(all, steps)
	for _, f := range c.Fields() {
		if f.Text != "" {
			all = append(all, plain("exposure."+f.Name, f.Text))
		}
	}
	return all
}
