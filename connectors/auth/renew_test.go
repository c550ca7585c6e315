package auth

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"raffsync/connectors"
)

func send(t testing.TB, r *http.Request) int {
	t.Helper()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// A hundred requests come back with 401 at once: one of them refreshes, in one process
// and over two of them.
func TestRenew_AHundredRejectionsCauseOneRefresh(t *testing.T) {
	t.Parallel()
	for _, processes := range []int{1, 2} {
		p, store := newPlatform(t), &counting{Memory: &Memory{}}
		var all []*authenticator
		for range processes {
			all = append(all, build(t, store, p.code(), nil))
		}
		connected(t, p, all[0], store.Memory)
		for _, a := range all {
			authorized(t, a, p.URL+"/api")
		}
		p.mu.Lock()
		p.token = "another" // as a platform that revokes the access token
		p.mu.Unlock()
		before := p.asked.Load()
		var rejected, done sync.WaitGroup
		rejected.Add(100)
		for i := range 100 {
			done.Go(func() {
				a := all[i%processes]
				r := authorized(t, a, p.URL+"/api")
				status := send(t, r)
				rejected.Done()
				rejected.Wait()
				if status != http.StatusUnauthorized {
					t.Errorf("status %d of the old token", status)
				}
				a.Rejected(t.Context(), r)
				if status := send(t, authorized(t, a, p.URL+"/api")); status != http.StatusOK {
					t.Errorf("status %d after the refresh", status)
				}
			})
		}
		done.Wait()
		if n := p.asked.Load() - before; n != 1 {
			t.Errorf("%d processes: %d refreshes, want 1", processes, n)
		}
		if n := store.claims.Load(); processes == 1 && n != 1 {
			t.Errorf("one process claimed %d times: its requests did not wait for one another", n)
		}
	}
}

type counting struct {
	*Memory
	claims atomic.Int64
}

func (c *counting) Claim(ctx context.Context, version int64, hold time.Duration) (connectors.Claim, error) {
	c.claims.Add(1)
	return c.Memory.Claim(ctx, version, hold)
}

// A rejection that comes late, of a token that was renewed since, renews nothing.
func TestRenew_ALateRejectionIsOfTheOldToken(t *testing.T) {
	t.Parallel()
	p, store := newPlatform(t), &Memory{}
	a := build(t, store, p.code(), nil)
	connected(t, p, a, store)
	old := authorized(t, a, p.URL)
	a.Rejected(t.Context(), old)
	authorized(t, a, p.URL)
	a.Rejected(t.Context(), old)
	authorized(t, a, p.URL)
	if n := p.asked.Load(); n != 2 {
		t.Errorf("%d requests for a token, want the code's and one refresh", n)
	}
}

// What ends is renewed ahead of its end, in the background, with the rotated token.
func TestRenew_AheadOfTheEnd(t *testing.T) {
	t.Parallel()
	p, store, c := newPlatform(t), &Memory{}, newClock()
	a := build(t, store, p.code(), c.now)
	connected(t, p, a, store)
	authorized(t, a, p.URL)
	for n := int64(2); n < 5; n++ {
		c.advance(29*time.Minute + 20*time.Second) // of 30
		if r := authorized(t, a, p.URL); r.Header.Get("Authorization") == "" {
			t.Fatal("the token that is still good was not used meanwhile")
		}
		eventually(t, func() bool { a.renewer.mu.Lock(); defer a.renewer.mu.Unlock(); return a.renewer.flight == nil })
		if got := p.asked.Load(); got != n {
			t.Fatalf("%d requests for a token, want %d", got, n)
		}
	}
	c.advance(40 * time.Minute) // past the end: it waits for a new one
	if status := send(t, authorized(t, a, p.URL+"/api")); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

// The answer to a refresh is lost: the same refresh token is tried again, which a platform
// takes for a while; one that does not has the person told why.
func TestRenew_TheAnswerIsLost(t *testing.T) {
	t.Parallel()
	for _, grace := range []bool{true, false} {
		p, store, c := newPlatform(t), &Memory{}, newClock()
		a := build(t, store, p.code(), c.now)
		connected(t, p, a, store)
		old := p.refresh
		p.says(func(w http.ResponseWriter, r *http.Request) {
			p.rotate(discard{}, r)
			panic(http.ErrAbortHandler) // rotated, and the connection breaks
		})
		c.advance(time.Hour)
		if e := failure(t, a); e.Kind != transient {
			t.Errorf("%v: %s", e.Kind, e.Reason)
		}
		p.answer.Store(nil)
		if grace {
			p.mu.Lock()
			p.refresh = old
			p.mu.Unlock()
			c.advance(time.Minute)
			authorized(t, a, p.URL)
			continue
		}
		c.advance(time.Minute)
		e := failure(t, a)
		if e.Kind != revoked || !strings.Contains(e.Reason, "was lost") || !strings.Contains(e.Reason, "invalid_grant") {
			t.Errorf("%v: %s", e.Kind, e.Reason)
		}
		if kept, _ := store.Load(t.Context()); !kept.Revoked || kept.Problem != e.Reason {
			t.Errorf("kept: revoked %v, %q", kept.Revoked, kept.Problem)
		}
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// A process died after the platform had rotated: its claim ends, and whoever comes next
// knows of it.
func TestRenew_TheProcessDied(t *testing.T) {
	t.Parallel()
	p, store, c := newPlatform(t), &Memory{}, newClock()
	a := build(t, store, p.code(), c.now)
	connected(t, p, a, store)
	if claim, err := store.Claim(t.Context(), 1, time.Millisecond); err != nil || !claim.Granted {
		t.Fatalf("%+v, %v", claim, err)
	}
	p.mu.Lock()
	p.refresh = "rotated"
	p.mu.Unlock()
	c.advance(time.Hour)
	if e := failure(t, a); e.Kind != revoked || !strings.Contains(e.Reason, "was lost") {
		t.Errorf("%v: %s", e.Kind, e.Reason)
	}
}

// A person connects again, and what was revoked goes on by itself.
func TestRenew_ConnectedAgain(t *testing.T) {
	t.Parallel()
	p, store, c := newPlatform(t), &Memory{}, newClock()
	a := build(t, store, p.code(), c.now)
	if e := failure(t, a); e.Kind != revoked || !strings.Contains(e.Reason, "raffsync connect") {
		t.Errorf("%v: %s", e.Kind, e.Reason)
	}
	connected(t, p, a, store)
	authorized(t, a, p.URL) // at once: what was held may go on the moment after
}

// A database in trouble between the platform's answer and its keeping: the refresh token
// is kept once that is over, and no other is asked for.
func TestRenew_TheStoreFails(t *testing.T) {
	t.Parallel()
	p, store, c := newPlatform(t), &failing{Memory: &Memory{}}, newClock()
	a := build(t, store, p.code(), c.now)
	connected(t, p, a, store.Memory)
	store.fail(3)
	c.advance(time.Hour)
	authorized(t, a, p.URL)
	if kept, _ := store.Load(t.Context()); kept.Version != 2 || p.asked.Load() != 2 {
		t.Errorf("version %d after %d requests", kept.Version, p.asked.Load())
	}
}

type failing struct {
	*Memory
	mu    sync.Mutex
	times int
}

func (f *failing) fail(times int) { f.mu.Lock(); f.times = times; f.mu.Unlock() }

func (f *failing) Save(ctx context.Context, claim connectors.Claim, c connectors.Connection) (int64, error) {
	f.mu.Lock()
	f.times--
	down := f.times >= 0
	f.mu.Unlock()
	if down {
		return 0, context.DeadlineExceeded
	}
	return f.Memory.Save(ctx, claim, c)
}

// A token endpoint in trouble is not asked by every request.
func TestRenew_CoolsDown(t *testing.T) {
	t.Parallel()
	p, c := newPlatform(t), newClock()
	a := build(t, &Memory{}, p.credentials(), c.now)
	p.says(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	for range 50 {
		failure(t, a)
	}
	if n := p.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	p.answer.Store(nil)
	c.advance(2 * time.Second)
	authorized(t, a, p.URL)
}

// Whoever gives up waiting does not end the renewal for the others.
func TestRenew_TheTokenEndpointHangs(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	a := build(t, &Memory{}, p.credentials(), nil)
	asked, answer := make(chan struct{}), make(chan struct{})
	p.says(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-answer
		p.rotate(w, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() { gaveUp <- a.Authorize(ctx, get(t, p.URL)) }()
	<-asked
	cancel()
	if err := <-gaveUp; asError(err).Kind != transient {
		t.Errorf("gave up with %v", err)
	}
	waits := make(chan error)
	go func() { waits <- a.Authorize(t.Context(), get(t, p.URL)) }()
	close(answer)
	if err := <-waits; err != nil {
		t.Error(err)
	}
	if n := p.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// An unused connection is renewed before its refresh token ends, and not sooner.
func TestKeep(t *testing.T) {
	t.Parallel()
	p, store, c := newPlatform(t), &Memory{}, newClock()
	a := build(t, store, p.code(), c.now)
	connected(t, p, a, store)
	first, _ := store.Load(t.Context())
	if want := c.now().Add(60 * 24 * time.Hour); !first.RenewBy.Equal(want) || !first.WarnAt.Equal(want.Add(-7*24*time.Hour)) {
		t.Errorf("renew by %s, warn at %s", first.RenewBy, first.WarnAt)
	}
	c.advance(29 * 24 * time.Hour)
	if err := a.Keep(t.Context()); err != nil || p.asked.Load() != 1 {
		t.Fatalf("too soon: %v, asked %d times", err, p.asked.Load())
	}
	c.advance(2 * 24 * time.Hour)
	if err := a.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept, _ := store.Load(t.Context()); kept.Version != 2 || !kept.RenewBy.Equal(c.now().Add(60*24*time.Hour)) {
		t.Errorf("version %d, renew by %s", kept.Version, kept.RenewBy)
	}
}

func eventually(t testing.TB, f func() bool) {
	t.Helper()
	limit, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-limit:
			t.Fatal("it did not come")
		case <-tick.C:
		}
	}
}
