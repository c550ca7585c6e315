package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// fate is what one stream suffers: how many batches arrive, after which of them what
// came so far is made durable and after which it is acknowledged, and the end.
type fate struct {
	Batches, DurableEvery, AckEvery int
	BatchEvents, Window             uint32
	End                             string
}

func (f fate) script(s *session) error {
	w := welcome()
	w.MaxBatchEvents, w.WindowBatches = f.BatchEvents, f.Window
	w.HeartbeatEvery = durationpb.New(20 * time.Millisecond)
	if f.End == "silence" {
		w.HeartbeatEvery = durationpb.New(2 * time.Millisecond)
	}
	if err := s.say(w); err != nil {
		return err
	}
	s.watchful = true
	var ack *raffsyncv1.Ack
	for i := 1; i <= f.Batches; i++ {
		_, err := s.batch()
		if errors.Is(err, errIdle) {
			break
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if i%f.DurableEvery == 0 {
			committed := s.commit()
			if ack != nil {
				committed.Results = slices.Concat(ack.Results, committed.Results)
			}
			ack = committed
		}
		if ack != nil && i%f.AckEvery == 0 {
			if err := s.say(ack); err != nil {
				return err
			}
			ack = nil
		}
	}
	s.watchful = false
	switch f.End {
	case "unavailable":
		return status.Error(codes.Unavailable, "stopping")
	case "exhausted":
		return exhausted(time.Millisecond)
	case "internal":
		return status.Error(codes.Internal, "a bug")
	case "silence":
		<-s.rpc.Context().Done()
		return nil
	case "draining":
		if err := s.say(&raffsyncv1.Draining{}); err != nil {
			return err
		}
		committed := s.commit()
		if ack != nil {
			committed.Results = slices.Concat(ack.Results, committed.Results)
		}
		if err := s.say(committed); err != nil {
			return err
		}
		return s.serve()
	default: // "end"
		return nil
	}
}

func drawFate(t *rapid.T) fate {
	f := fate{
		Batches:     rapid.IntRange(0, 6).Draw(t, "batches"),
		BatchEvents: uint32(rapid.IntRange(1, 20).Draw(t, "batch events")),
		Window:      uint32(rapid.IntRange(1, 4).Draw(t, "window")),
		End:         rapid.SampledFrom([]string{"unavailable", "exhausted", "internal", "silence", "draining", "end"}).Draw(t, "end"),
	}
	f.DurableEvery = rapid.IntRange(1, int(f.Window)).Draw(t, "durable every")
	f.AckEvery = rapid.IntRange(1, int(f.Window)).Draw(t, "ack every")
	return f
}

func TestClient_PropertyOfAnyDisconnects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fates := rapid.SliceOfN(rapid.Custom(drawFate), 0, 6).Draw(t, "fates")
		events := rapid.IntRange(1, 150).Draw(t, "events")
		buffer := rapid.IntRange(20, 200).Draw(t, "buffer")
		var scripts []script
		for _, f := range fates {
			scripts = append(scripts, f.script)
		}
		b, address, stop, err := startBroker(nil, append(scripts, serve)...)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()

		var got told
		cfg := config(address)
		cfg.OnResult, cfg.BufferEvents = got.add, buffer
		c, err := client.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		ran := make(chan error, 1)
		go func() { ran <- c.Run(ctx) }()
		var want []string
		for i := range events {
			e := event(i)
			want = append(want, e.Id)
			if err := c.Send(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-ran; err != nil {
			t.Fatal(err)
		}

		if diff := cmp.Diff(want, got.ids); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		if len(b.durable) != events {
			t.Errorf("%d of %d events are durable", len(b.durable), events)
		}
		for n, stream := range b.arrived() {
			for i, id := range stream {
				if i > 0 && id != next(stream[i-1]) {
					t.Errorf("stream %d: %s comes after %s", n, id, stream[i-1])
				}
			}
		}
		for i, r := range got.results {
			if r.Status != raffsyncv1.Status_STATUS_ACCEPTED && (r.Status != raffsyncv1.Status_STATUS_DUPLICATE || !r.Resent) {
				t.Errorf("%s: %+v", got.ids[i], r)
			}
		}
	})
}

func next(id string) string {
	var n int
	if _, err := fmt.Sscanf(id, "e%05d", &n); err != nil {
		return err.Error()
	}
	return event(n + 1).Id
}
