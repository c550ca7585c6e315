package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"raffsync/outbox"
)

// Canonical is the same configuration in the one form that it has however it was
// written: sources, teams, outlets and destinations by name, sources, types and edits of a
// route sorted, no list absent, settings compact with their names sorted. Routes and
// policies keep their order, which counts.
func Canonical(c outbox.Configuration) outbox.Configuration {
	c.Sources = slices.Clone(c.Sources)
	slices.SortFunc(c.Sources, func(a, b outbox.SourceConfig) int { return cmp.Compare(a.Name, b.Name) })
	c.Outlets = slices.Clone(c.Outlets)
	slices.SortFunc(c.Outlets, func(a, b outbox.OutletConfig) int { return cmp.Compare(a.Name, b.Name) })
	for i := range c.Sources {
		c.Sources[i].Webhook, c.Sources[i].Event = canonicalJSON(c.Sources[i].Webhook), canonicalJSON(c.Sources[i].Event)
	}
	for i := range c.Outlets {
		c.Outlets[i].Holidays = slices.Sorted(slices.Values(c.Outlets[i].Holidays))
	}
	c.Teams = slices.Clone(c.Teams)
	slices.SortFunc(c.Teams, func(a, b outbox.TeamConfig) int { return cmp.Compare(a.Name, b.Name) })
	for i := range c.Teams {
		c.Teams[i].Notify = slices.Clone(c.Teams[i].Notify)
		for j := range c.Teams[i].Notify {
			c.Teams[i].Notify[j].Settings = canonicalJSON(c.Teams[i].Notify[j].Settings)
		}
	}
	c.Destinations = slices.Clone(c.Destinations)
	slices.SortFunc(c.Destinations, func(a, b outbox.DestinationConfig) int { return cmp.Compare(a.Name, b.Name) })
	for i := range c.Destinations {
		c.Destinations[i].Settings = canonicalJSON(c.Destinations[i].Settings)
		if c.Destinations[i].Rules = canonicalJSON(c.Destinations[i].Rules); string(c.Destinations[i].Rules) == "[]" {
			c.Destinations[i].Rules = nil
		}
	}
	c.Routes = slices.Clone(c.Routes)
	for i := range c.Routes {
		c.Routes[i].From = append([]string{}, slices.Sorted(slices.Values(c.Routes[i].From))...)
		c.Routes[i].Steps = slices.Clone(c.Routes[i].Steps)
		for j := range c.Routes[i].Steps {
			c.Routes[i].Steps[j].Map = canonicalJSON(c.Routes[i].Steps[j].Map)
		}
		e := &c.Routes[i].Edits
		e.Allow, e.SecondPerson = slices.Sorted(slices.Values(e.Allow)), slices.Sorted(slices.Values(e.SecondPerson))
		c.Routes[i].Types = append([]string{}, slices.Sorted(slices.Values(c.Routes[i].Types))...)
	}
	c.Sources = append([]outbox.SourceConfig{}, c.Sources...)
	c.Destinations = append([]outbox.DestinationConfig{}, c.Destinations...)
	c.Routes = append([]outbox.RouteConfig{}, c.Routes...)
	return c
}

// canonicalJSON leaves alone what is no JSON.
func canonicalJSON(raw json.RawMessage) json.RawMessage {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil {
		return raw
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if encoder.Encode(v) != nil {
		return raw
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Digest tells configurations apart: it is the SHA-256 of the canonical form as JSON,
// in hexadecimal. Files that differ in formatting only have the same.
func Digest(c outbox.Configuration) (string, error) {
	document, err := json.Marshal(Canonical(c))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(document)
	return hex.EncodeToString(sum[:]), nil
}
