package client

import (
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestRetryDelay(t *testing.T) {
	const least, most = 100 * time.Millisecond, 10 * time.Second
	asks := func(code codes.Code, d time.Duration) error {
		s, err := status.New(code, "full").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	plain := status.Error(codes.Unavailable, "stopping")
	for name, tc := range map[string]struct {
		err      error
		failures int
		random   float64
		want     time.Duration
	}{
		"FirstLow":           {plain, 0, 0, 50 * time.Millisecond},
		"FirstHigh":          {plain, 0, .99999999, 99999999 * time.Nanosecond},
		"Doubles":            {plain, 3, 0, 400 * time.Millisecond},
		"Ceiling":            {plain, 20, 0, 5 * time.Second},
		"NeverOverflows":     {plain, 1 << 40, 0, 5 * time.Second},
		"NoStatus":           {errSilent, 0, 0, 50 * time.Millisecond},
		"AsksForMore":        {asks(codes.ResourceExhausted, 3*time.Second), 0, 0, 3 * time.Second},
		"SpreadBeyondAsked":  {asks(codes.ResourceExhausted, 3*time.Second), 0, .5, 3150 * time.Millisecond},
		"UnavailableAsksToo": {asks(codes.Unavailable, 3*time.Second), 0, 0, 3 * time.Second},
		"AsksForLess":        {asks(codes.ResourceExhausted, time.Millisecond), 3, 0, 400 * time.Millisecond},
		"AsksForNegative":    {asks(codes.ResourceExhausted, -time.Hour), 0, 0, 50 * time.Millisecond},
		"AsksForDays":        {asks(codes.ResourceExhausted, 72*time.Hour), 0, 0, maxRetryInfo},
	} {
		t.Run(name, func(t *testing.T) {
			if got := retryDelay(tc.err, tc.failures, least, most, tc.random); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
