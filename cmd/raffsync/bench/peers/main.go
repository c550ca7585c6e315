// Command raffsync-peers runs what `raffsync bench` compares itself with and what the
// product must not depend on: River, a queue on Postgres. It is a module of its own,
// built by `make bench`, and speaks JSON, a line a request and a line an answer, on
// standard input and output. It ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// request is what the bench asks for: "describe" or "river".
type request struct {
	Do    string `json:"do"`
	River round  `json:"river"`
}

// answer is what came of it; Error where it is not empty.
type answer struct {
	Error   string  `json:"error,omitempty"`
	Version string  `json:"version,omitempty"` // of River
	Seconds float64 `json:"seconds,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var r request
		a := answer{}
		err := json.Unmarshal(in.Bytes(), &r)
		if err == nil {
			a, err = serve(ctx, r)
		}
		if err != nil {
			a = answer{Error: err.Error()}
		}
		if err := out.Encode(a); err != nil {
			fmt.Fprintln(os.Stderr, "raffsync-peers:", err)
			os.Exit(1)
		}
	}
}

func serve(ctx context.Context, r request) (answer, error) {
	switch r.Do {
	case "describe":
		return answer{Version: riverVersion()}, nil
	case "river":
		took, err := r.River.run(ctx)
		return answer{Seconds: took.Seconds()}, err
	default:
		return answer{}, fmt.Errorf("%q is not known; expected describe or river", r.Do)
	}
}

func riverVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/riverqueue/river" {
				return m.Version
			}
		}
	}
	return "unknown"
}
