package broker

import "raffsync/outbox"

// RouteTo tells by which route an event goes to one destination, if any wants it. It is
// pure. An event whose conditions cannot be evaluated is not wanted: see [Route].
func RouteTo(e *outbox.Event, rules *Rules, destination int32) (route string, wanted bool) {
	targets, err := Route(e, rules)
	if err != nil {
		return "", false
	}
	for _, t := range targets {
		if t.Destination == destination {
			return t.Route, true
		}
	}
	return "", false
}
