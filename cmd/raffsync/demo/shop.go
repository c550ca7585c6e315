package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"raffsync/connectors/client"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	// The first minute shows much, what follows is bearable for days.
	openingRate  = 12 // events a second
	usualRate    = 4
	openingHours = time.Minute
	// closingTime is how long events in flight have when the shop stops.
	closingTime = 5 * time.Second
	// shopBuffer is how many events may wait for the broker before the tills do.
	shopBuffer = 256
)

// ShopConfig is where the shop sends to, and where it keeps its numbers.
type ShopConfig struct {
	// State is the demo's folder; it is made where it is missing.
	State string
	// Target is the broker's gRPC address, Key the key of the source.
	Target, Key string
	// Rate is in events a second: 12 in the first minute and 4 later where 0.
	Rate float64
	// Logger is slog.Default() where nil.
	Logger *slog.Logger
}

// Shop streams what happens at the tills of three outlets: order.created,
// order.paid, invoice.issued, stock.moved.
type Shop struct {
	config  ShopConfig
	numbers *numbers
	till    *till
	client  *client.Client
}

// NewShop reads the shop's state, making it where there is none.
func NewShop(config ShopConfig) (*Shop, error) {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if err := makeFolder(config.State); err != nil {
		return nil, err
	}
	n, err := openNumbers(filepath.Join(config.State, "shop.json"))
	if err != nil {
		return nil, fmt.Errorf("demo: shop: %w", err)
	}
	s := &Shop{
		config: config, numbers: n,
		till: &till{name: n.Till, random: mathrand.New(mathrand.NewPCG(mathrand.Uint64(), mathrand.Uint64()))},
	}
	s.client, err = client.New(client.Config{
		Target: config.Target, Key: config.Key, Name: "demo shop", BufferEvents: shopBuffer,
		Logger: config.Logger, OnResult: s.result,
	})
	if err != nil {
		return nil, fmt.Errorf("demo: shop: %w", err)
	}
	return s, nil
}

// Run sells until ctx ends, then waits a little for what is in flight, and returns
// nil. While the broker is away it waits for it.
func (s *Shop) Run(ctx context.Context) error {
	tasks, selling := errgroup.WithContext(ctx)
	// The stream outlives ctx, for what is in flight.
	tasks.Go(func() error { return s.client.Run(context.WithoutCancel(ctx)) })
	tasks.Go(func() error {
		err := s.sell(selling)
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingTime)
		defer cancel()
		if left := s.client.Close(limited); left != nil {
			s.config.Logger.Info("the shop closed with events in flight", "error", left)
		}
		return err
	})
	if err := tasks.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("demo: shop: %w", err)
	}
	return nil
}

func (s *Shop) sell(ctx context.Context) error {
	opened := time.Now()
	for next := opened; ; {
		now := time.Now()
		event := s.till.due(now)
		if event == nil {
			number, err := s.numbers.take()
			if err != nil {
				return err
			}
			event = s.till.open(number, now)
		}
		if err := s.client.Send(ctx, event); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		// Time lost to a slow broker is not made up for.
		if next = next.Add(s.pace(now.Sub(opened))); next.Before(now) {
			next = now
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

func (s *Shop) pace(open time.Duration) time.Duration {
	rate := s.config.Rate
	switch {
	case rate > 0:
	case open < openingHours:
		rate = openingRate
	default:
		rate = usualRate
	}
	return time.Duration(float64(time.Second) / rate)
}

// result hears of every event. What is not plainly accepted is a defect of the demo
// or of the broker, except for a duplicate after a resend.
func (s *Shop) result(event *raffsyncv1.Event, result client.Result) {
	switch result.Status {
	case raffsyncv1.Status_STATUS_ACCEPTED:
	case raffsyncv1.Status_STATUS_DUPLICATE:
		if result.Resent {
			return
		}
		fallthrough
	default:
		s.config.Logger.Warn("the broker did not simply accept an event of the demo shop",
			"event", event.Id, "status", result.Status.String(), "fix", result.Fix)
	}
}

// numbers gives out order numbers, each once for ever: the next one is on disk
// before one is given out.
type numbers struct {
	path string
	// Till is random: a shop whose state was lost begins at FirstOrder again, and
	// its events have to be others than those that the broker may still hold.
	Till string `json:"till"`
	Next int64  `json:"next_order"`
}

func openNumbers(path string) (*numbers, error) {
	n := &numbers{path: path}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		random := make([]byte, 4)
		rand.Read(random)
		n.Till, n.Next = "till-"+hex.EncodeToString(random), FirstOrder
		return n, n.save()
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, n); err != nil || n.Till == "" || n.Next < FirstOrder {
		return nil, fmt.Errorf("%s is damaged; remove it to begin a new shop", path)
	}
	return n, nil
}

func (n *numbers) take() (int64, error) {
	n.Next++
	if err := n.save(); err != nil {
		return 0, fmt.Errorf("keep the next order number: %w", err)
	}
	return n.Next - 1, nil
}

func (n *numbers) save() error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return writeFile(n.path, string(text)+"\n")
}
