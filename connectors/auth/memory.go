package auth

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"raffsync/connectors"
)

// Memory is a [Store] for one process, which forgets everything at its end. For tests, and
// for checks that keep nothing.
type Memory struct {
	mu          sync.Mutex
	connection  connectors.Connection
	claim       string
	claimUntil  time.Time
	interrupted time.Time
}

// Load implements [Store].
func (m *Memory) Load(context.Context) (connectors.Connection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.connection, nil
}

// Claim implements [Store].
func (m *Memory) Claim(_ context.Context, version int64, hold time.Duration) (connectors.Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.connection.Version != version || m.claim != "" && now.Before(m.claimUntil) {
		return connectors.Claim{}, nil
	}
	c := connectors.Claim{Granted: true, Version: version, ID: rand.Text(), Interrupted: m.interrupted}
	m.claim, m.claimUntil = c.ID, now.Add(hold)
	if m.interrupted.IsZero() {
		m.interrupted = now
	}
	return c, nil
}

// Save implements [Store].
func (m *Memory) Save(_ context.Context, claim connectors.Claim, c connectors.Connection) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.connection.Version != claim.Version || m.claim != claim.ID {
		return 0, connectors.ErrClaimLost
	}
	c.Version, c.Problem, c.Revoked = claim.Version+1, "", false
	m.connection, m.claim, m.interrupted = c, "", time.Time{}
	return c.Version, nil
}

// Release implements [Store].
func (m *Memory) Release(_ context.Context, claim connectors.Claim, why connectors.Failure) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.connection.Version != claim.Version || m.claim != claim.ID {
		return connectors.ErrClaimLost
	}
	m.connection.Problem, m.connection.Revoked, m.claim = why.Problem, why.Revoked, ""
	if !why.Unknown {
		m.interrupted = claim.Interrupted
	}
	return nil
}
