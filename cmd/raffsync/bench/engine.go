package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"
)

// engineRequest is what the bench asks of an engine.
type engineRequest struct {
	// Do is "arrivals", "memory", "profile", or "recover" for those that are sick.
	Do string `json:"do"`
	// Profile is the file of the CPU profile that begins; empty ends it.
	Profile string `json:"profile,omitempty"`
}

type engineAnswer struct {
	Error string `json:"error,omitempty"`
	// GRPC and HTTP are the addresses that the engine listens on; in the first line only.
	GRPC string `json:"grpc,omitempty"`
	HTTP string `json:"http,omitempty"`
	// Arrivals at no-op destinations since they were last asked for, and their 99th
	// percentile after the events occurred.
	Arrivals int           `json:"arrivals,omitempty"`
	P99      time.Duration `json:"p99,omitempty"`
	// LiveBytes is the heap in use and the stacks, right after a collection.
	LiveBytes uint64 `json:"live_bytes,omitempty"`
}

// ServeEngine says where the engine listens, and answers the bench until its input or
// the engine ends.
func ServeEngine(ctx context.Context, in io.Reader, out io.Writer, grpc, http string, kinds *Kinds, ended <-chan struct{}) error {
	answers := json.NewEncoder(out)
	if err := answers.Encode(engineAnswer{GRPC: grpc, HTTP: http}); err != nil {
		return err
	}
	lines := make(chan []byte)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			lines <- append([]byte(nil), scanner.Bytes()...)
		}
	}()
	e := engineControl{kinds: kinds}
	defer e.endProfile()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			return nil
		case line, ok := <-lines:
			if !ok {
				return nil
			}
			if err := answers.Encode(e.answer(line)); err != nil {
				return err
			}
		}
	}
}

type engineControl struct {
	kinds   *Kinds
	profile *os.File
}

func (e *engineControl) answer(line []byte) engineAnswer {
	var r engineRequest
	if err := json.Unmarshal(line, &r); err != nil {
		return engineAnswer{Error: err.Error()}
	}
	switch r.Do {
	case "arrivals":
		after := e.kinds.arrivals.take()
		return engineAnswer{Arrivals: len(after), P99: percentile(after, 0.99)}
	case "memory":
		debug.FreeOSMemory() // collects, and gives back what is free
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return engineAnswer{LiveBytes: m.HeapInuse + m.StackInuse}
	case "recover":
		e.kinds.well.Store(true)
		return engineAnswer{}
	case "profile":
		e.endProfile()
		if err := e.beginProfile(r.Profile); err != nil {
			return engineAnswer{Error: err.Error()}
		}
		return engineAnswer{}
	default:
		return engineAnswer{Error: fmt.Sprintf("%q is not known", r.Do)}
	}
}

func (e *engineControl) beginProfile(path string) (err error) {
	if path == "" {
		return nil
	}
	if e.profile, err = os.Create(path); err != nil {
		return err
	}
	return pprof.StartCPUProfile(e.profile)
}

func (e *engineControl) endProfile() {
	if e.profile == nil {
		return
	}
	pprof.StopCPUProfile()
	_ = e.profile.Close()
	e.profile = nil
}
