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
func (r *rig) compare(ctx context.Context, name string, g goal, mine, peer side, peerName string) (Figure, error) {
	r.work = [2][]work{}
	if r.alone {
		return r.oneSide(ctx, name, mine)
	}
	var ratios, rate, peerRate []float64
	for pair := range r.pairs {
		rates, err := inTurn(ctx, pair, mine, peer)
		if err != nil {
			return Figure{}, err
		}
		rate, peerRate = append(rate, rates[0]), append(peerRate, rates[1])
		ratios = append(ratios, rates[0]/rates[1])
		r.say("%s: pair %d of %d: %s/s, %s %s/s: %s×", name, pair+1, r.pairs, count(rates[0]), peerName, count(rates[1]), number(ratios[pair]))
	}
	detail := fmt.Sprintf("%s/s%s; %s %s/s%s", count(median(rate)), r.workOf(ours), peerName, count(median(peerRate)), r.workOf(theirs))
	return figure(name, ratio, g, ratios, detail), nil
}

// oneSide runs one side alone. Its figure is the CPU time of an event, which is only
// reported: rates mean nothing on a machine that is busy.
func (r *rig) oneSide(ctx context.Context, name string, s side) (Figure, error) {
	var rates, cpu []float64
	for round := range r.pairs {
		rate, err := s(ctx)
		if err != nil {
			return Figure{}, err
		}
		rates = append(rates, rate)
		if len(r.work[ours]) > round {
			cpu = append(cpu, r.work[ours][round].total())
		}
		r.say("%s: round %d of %d: %s/s", name, round+1, r.pairs, count(rate))
	}
	return figure(name, "µs", goal{lower: true}, cpu, count(median(rates))+"/s"+r.workOf(ours)), nil
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
