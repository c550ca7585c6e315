package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"golang.org/x/sync/errgroup"
)

type receiveCommand struct {
	Listen     string `default:"127.0.0.1:7070" help:"Loopback address to listen on. Default: ${default}."`
	SecretFile string `required:"" type:"path" placeholder:"FILE" help:"File with the whsec_ secret of the destination; a new one is made where there is none."`
	Sum        string `placeholder:"COLUMN*COLUMN" help:"Sum up a column, or a product of columns, of the payload's lines: 'Quantity*UnitPrice'."`
}

func (receiveCommand) Help() string {
	return `A webhook receiver to try things with: it verifies each request, takes each message
once, and prints how many came and what they sum up to, exactly. It remembers nothing
when it ends.

Examples:
  raffsync receive --secret-file .raffsync/books.secret
  raffsync receive --secret-file .raffsync/books.secret --sum 'Quantity*UnitPrice'`
}

func (c *receiveCommand) Run(ctx context.Context) error {
	verifier, err := c.verifier()
	if err != nil {
		return err
	}
	listener, err := listen(ctx, c.Listen, "--listen")
	if err != nil {
		return err
	}
	r := &received{taken: make(map[string]bool), total: new(big.Rat)}
	if c.Sum != "" {
		r.factors = strings.Split(strings.ReplaceAll(c.Sum, " ", ""), "*")
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, 1<<20))
		if err == nil {
			err = verifier.Verify(body, q.Header)
		}
		if err != nil {
			http.Error(w, "the signature is wrong", http.StatusUnauthorized)
			return
		}
		r.take(q.Header.Get("Webhook-Id"), body)
		w.WriteHeader(http.StatusNoContent)
	})}
	fmt.Printf("receiving on http://%s; the secret is in %s\n", listener.Addr(), c.SecretFile)
	group, working := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		defer server.Close()
		return r.print(working, os.Stdout)
	})
	return group.Wait()
}

// verifier checks signatures by the secret of the file.
func (c *receiveCommand) verifier() (*standardwebhooks.Webhook, error) {
	text, err := os.ReadFile(c.SecretFile)
	if errors.Is(err, fs.ErrNotExist) {
		secret := make([]byte, 32)
		rand.Read(secret) // never fails
		text = []byte("whsec_" + base64.StdEncoding.EncodeToString(secret))
		err = writeSecret(c.SecretFile, string(text))
	}
	if err != nil {
		return nil, err
	}
	verifier, err := standardwebhooks.NewWebhook(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s holds no whsec_ secret", c.SecretFile)
	}
	return verifier, nil
}

// received is what has come so far.
type received struct {
	factors []string // columns whose product is summed up

	mu       sync.Mutex
	taken    map[string]bool // by webhook-id
	requests int
	total    *big.Rat
	odd      int // lines in which a factor is no number
}

func (r *received) take(id string, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	if r.taken[id] {
		return // the same message again
	}
	r.taken[id] = true
	if r.factors == nil {
		return
	}
	var payload struct{ Lines []map[string]any }
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // a number stays as it is written
	if decoder.Decode(&payload) != nil {
		r.odd++
		return
	}
	for _, line := range payload.Lines {
		product := big.NewRat(1, 1)
		for _, factor := range r.factors {
			n, ok := new(big.Rat).SetString(fmt.Sprint(line[factor]))
			if !ok {
				r.odd++
				product.SetInt64(0)
				break
			}
			product.Mul(product, n)
		}
		r.total.Add(r.total, product)
	}
}

// print says what has come, at most once a second, until the context ends.
func (r *received) print(ctx context.Context, out io.Writer) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for said := ""; ; {
		if text := r.summary(); text != said {
			said = text
			if _, err := fmt.Fprintf(out, "%s  %s\n", time.Now().Format(time.TimeOnly), text); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (r *received) summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf("%d messages in %d requests", len(r.taken), r.requests)
	if r.factors != nil {
		digits, _ := r.total.FloatPrec() // decimals have an end
		text += fmt.Sprintf(", sum of %s %s", strings.Join(r.factors, " × "), r.total.FloatString(digits))
	}
	if r.odd > 0 {
		text += fmt.Sprintf(", %d lines without such numbers", r.odd)
	}
	return text
}
