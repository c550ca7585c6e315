package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// refusal is an error that a caller is told, in these words. Every other error stays
// inside; see [statusOf].
type refusal struct {
	code    codes.Code
	reason  string // for programs: ErrorInfo.reason
	message string
	field   string        // BadRequest, where set
	retry   time.Duration // RetryInfo, where set
}

func (r *refusal) Error() string { return r.message }

// errorDomain marks the reasons as ours: ErrorInfo.domain.
const errorDomain = "raffsync"

// How long a caller is asked to stay away.
const (
	retryWindow = 100 * time.Millisecond // acknowledgements are on their way
	retryFull   = time.Second
	retryBroken = time.Second
	retryDisk   = 10 * time.Second
)

var (
	errNoKey = &refusal{
		code: codes.Unauthenticated, reason: "KEY_MISSING",
		message: "a key is needed: send the metadata `authorization: Bearer <key>`; `raffsync keys create` makes one",
	}
	errBadKey = &refusal{
		code: codes.Unauthenticated, reason: "KEY_REFUSED",
		message: "the key is wrong or revoked; `raffsync keys create` makes another",
	}
	errFull = &refusal{
		code: codes.ResourceExhausted, reason: "BROKER_FULL", retry: retryFull,
		message: "the broker holds as much as it may; nothing of this batch was kept, send it again later",
	}
	errStreams = &refusal{
		code: codes.ResourceExhausted, reason: "TOO_MANY_STREAMS", retry: retryFull,
		message: "the tenant has as many streams open as it may; close some, or send more on one",
	}
	errNotDurable = &refusal{
		code: codes.Unavailable, reason: "NOT_DURABLE", retry: retryBroken,
		message: "the broker runs, and could not make the events durable (is its Postgres down, read-only or out of disk? its log tells); send all that is unacknowledged again, with the same ids",
	}
	errStopping = &refusal{
		code: codes.Unavailable, reason: "STOPPING", retry: retryBroken,
		message: "the broker is stopping; send all that is unacknowledged again on another connection, with the same ids",
	}
	errAged = &refusal{
		code: codes.Unavailable, reason: "CONNECTION_AGED", retry: retryWindow,
		message: "the connection has reached its age; send all that is unacknowledged again on another, with the same ids",
	}
	errNoStore = &refusal{
		code: codes.Unavailable, reason: "STORE_UNAVAILABLE", retry: retryBroken,
		message: "the broker runs, and cannot reach its database (its log tells more); try again",
	}
)

var errHeld = &refusal{
	code: codes.Unavailable, reason: "CONFIGURATION", retry: retryBroken,
	message: "the broker cannot use the tenant's routes; its log and `raffsync apply` say why; send again later",
}

func badFrame(field, message string) *refusal {
	return &refusal{code: codes.InvalidArgument, reason: "FRAME_INVALID", field: field, message: field + ": " + message}
}

func badSequence(want, got uint64) *refusal {
	return &refusal{
		code: codes.InvalidArgument, reason: "SEQUENCE", field: "batch.sequence",
		message: fmt.Sprintf("batch.sequence: expected %d, got %d; batches are numbered from 1 in each stream, without gaps or repeats", want, got),
	}
}

func windowExceeded(window int) *refusal {
	return &refusal{
		code: codes.ResourceExhausted, reason: "WINDOW_EXCEEDED", retry: retryWindow,
		message: fmt.Sprintf("%d batches are unacknowledged already (Welcome.window_batches); read acknowledgements before sending more", window),
	}
}

func diskFull(why string) *refusal {
	return &refusal{
		code: codes.ResourceExhausted, reason: "DISK_FULL", retry: retryDisk,
		message: why + "; nothing of this batch was kept, send it again later",
	}
}

func silent(limit time.Duration) *refusal {
	return &refusal{
		code: codes.Unavailable, reason: "SILENT", retry: retryWindow,
		message: fmt.Sprintf("the client said nothing for %s; open another stream, and send a Heartbeat as often as Welcome.heartbeat_every says", limit),
	}
}

// statusOf is the only way that an error takes to a caller: a refusal in its own
// words and with details, what grpc-go says itself as it is, and anything else as
// INTERNAL without a word of what happened, which the log gets.
func statusOf(ctx context.Context, log *slog.Logger, err error) error {
	if err == nil {
		return nil
	}
	var r *refusal
	if errors.As(err, &r) {
		return r.status()
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return status.FromContextError(err).Err()
	}
	log.ErrorContext(ctx, "a call failed", "error", err)
	return status.Error(codes.Internal, "internal error; the broker's log tells more")
}

func (r *refusal) status() error {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: r.reason, Domain: errorDomain}}
	if r.retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(r.retry)})
	}
	if r.field != "" {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: r.field, Description: r.message},
		}})
	}
	s := status.New(r.code, r.message)
	if detailed, err := s.WithDetails(details...); err == nil {
		s = detailed
	}
	return s.Err()
}
