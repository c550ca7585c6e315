package bench

import (
	"context"
	"errors"
	"fmt"
)

// peersRequest and peersAnswer are lines of the peers' program; its own package says
// what they mean.
type peersRequest struct {
	Do    string     `json:"do"`
	River riverRound `json:"river"`
}

type riverRound struct {
	DSN     string `json:"dsn"`
	Jobs    int    `json:"jobs"`
	Batch   int    `json:"batch"`
	Workers int    `json:"workers"`
	Backlog int    `json:"backlog"`
	Payload int    `json:"payload"`
	Eager   bool   `json:"eager"`
}

type peersAnswer struct {
	Error   string  `json:"error"`
	Version string  `json:"version"`
	Seconds float64 `json:"seconds"`
}

func (r *rig) askPeers(request peersRequest) (peersAnswer, error) {
	var a peersAnswer
	if err := r.peers.call(request, &a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, fmt.Errorf("the peers' program: %s", a.Error)
	}
	return a, nil
}

// riverRate has River insert and work so many jobs in a new database: as it comes, or eager,
// which is fetching without a pause.
func (r *rig) riverRate(ctx context.Context, jobs int, eager bool) (rate float64, err error) {
	d, err := r.cluster.create(ctx, "template1")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.drop(ctx)) }()
	var a peersAnswer
	err = r.working(theirs, r.peers.cmd.Process.Pid, jobs, func() (err error) {
		a, err = r.askPeers(peersRequest{Do: "river", River: riverRound{
			DSN: d.dsn, Jobs: jobs, Batch: batchEvents, Workers: slots, Backlog: backlog, Payload: payloadBytes, Eager: eager,
		}})
		return err
	})
	if err != nil {
		return 0, err
	}
	return float64(jobs) / a.Seconds, nil
}
