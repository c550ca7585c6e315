package bench

import (
	"context"
	"fmt"
)

// side is one of two that are compared: it runs a round and returns its rate, in
// events a second.
type side func(context.Context) (float64, error)

// compare runs both sides in turn, who begins in turn too, and makes a figure of the
// pairs' ratios.
func (r *rig) compare(ctx context.Context, name string, g goal, ours, peer side, peerName string) (Figure, error) {
	var ratios, mine, theirs []float64
	for pair := range r.pairs {
		rates, err := inTurn(ctx, pair, ours, peer)
		if err != nil {
			return Figure{}, err
		}
		mine, theirs = append(mine, rates[0]), append(theirs, rates[1])
		ratios = append(ratios, rates[0]/rates[1])
		r.say("%s: pair %d of %d: %s/s, %s %s/s: %s×", name, pair+1, r.pairs, count(rates[0]), peerName, count(rates[1]), number(ratios[pair]))
	}
	detail := fmt.Sprintf("%s/s; %s %s/s", count(median(mine)), peerName, count(median(theirs)))
	return figure(name, ratio, g, ratios, detail), nil
}

func inTurn(ctx context.Context, pair int, sides ...side) ([2]float64, error) {
	var rates [2]float64
	for i := range sides {
		which := (i + pair) % len(sides)
		rate, err := sides[which](ctx)
		if err != nil {
			return rates, err
		}
		rates[which] = rate
	}
	return rates, nil
}
