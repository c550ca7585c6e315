package outbox

import (
	"context"
	"errors"
	"time"
)

// AcknowledgeRequest says that somebody takes an exception up.
type AcknowledgeRequest struct {
	// RequestID and Reason are as in [OperatorRequest].
	RequestID, Reason string
	Exception         int64
	// ExpectedVersion is as in [ExceptionRequest].
	ExpectedVersion *int32
	// Until is when it expires, [MaxAcknowledged] from now at most.
	Until time.Time
	// At is when it begins; zero is the database's now, and tests steer it.
	At time.Time
}

// Acknowledged is an exception after that.
type Acknowledged struct {
	Version int32     `json:"version"`
	Until   time.Time `json:"until"`
}

// Acknowledge is [StepAcknowledge], for whoever can do nothing else. An earlier
// acknowledgement ends where this one begins.
func (s *Store) Acknowledge(ctx context.Context, actor Actor, q AcknowledgeRequest) (Acknowledged, error) {
	done, err := s.StepException(ctx, actor, ExceptionRequest{
		RequestID: q.RequestID, Reason: q.Reason, Exception: q.Exception, Step: StepAcknowledge,
		ExpectedVersion: q.ExpectedVersion, Until: q.Until, At: q.At,
	})
	var conflict *StepConflict
	if errors.As(err, &conflict) && (conflict.Status == Resolved || conflict.Status == Dismissed) {
		err = &Refusal{Message: "this exception is over: it is " + conflict.Status} // whoever taps need not decide anew
	}
	if err != nil {
		return Acknowledged{}, err
	}
	return Acknowledged{Version: done.Version, Until: done.Until.UTC()}, nil
}
