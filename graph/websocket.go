package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/coder/websocket"
)

// subprotocol is the one that is spoken; graphql-ws, its predecessor, is not.
const subprotocol = "graphql-transport-ws"

// writeWithin is how long a reader may take to take one message.
const writeWithin = 10 * time.Second

// closeForbidden is the code of graphql-transport-ws for whoever may not come in.
const closeForbidden = 4403

// webSocket accepts connections whose origin has been checked.
type webSocket struct{}

func (webSocket) Accept(w http.ResponseWriter, r *http.Request, _ transport.WebsocketAcceptOptions) (transport.WebsocketConn, error) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{subprotocol}, InsecureSkipVerify: true, // by the front, exactly
	})
	if err != nil {
		return nil, err
	}
	return &socket{conn: conn}, nil
}

// socket bounds every write: who does not read is closed, and holds up nobody.
type socket struct {
	conn *websocket.Conn

	mu       sync.Mutex
	deadline *time.Timer
	closing  bool
}

func (s *socket) Subprotocol() string      { return s.conn.Subprotocol() }
func (s *socket) SetReadLimit(limit int64) { s.conn.SetReadLimit(limit) }

func (s *socket) NextReader() (int, io.Reader, error) {
	kind, data, err := s.conn.Read(context.Background())
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusNoStatusRcvd, websocket.StatusGoingAway:
		err = transport.ErrWebsocketClosed
	}
	return int(kind), bytes.NewReader(data), err
}

func (s *socket) WriteJSON(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeWithin)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, data)
}

// WriteClose begins the closing handshake and does not wait for its end.
func (s *socket) WriteClose(code int, message string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopDeadline()
	if !s.closing {
		s.closing = true
		go s.conn.Close(websocket.StatusCode(code), message)
	}
	return nil
}

func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopDeadline()
	if s.closing {
		return nil // the handshake closes it, within 5 s
	}
	return s.conn.CloseNow()
}

// SetReadDeadline closes the connection when nothing is read until then.
func (s *socket) SetReadDeadline(at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopDeadline()
	if !at.IsZero() && !s.closing {
		s.deadline = time.AfterFunc(time.Until(at), func() { s.conn.CloseNow() })
	}
	return nil
}

func (s *socket) stopDeadline() {
	if s.deadline != nil {
		s.deadline.Stop()
		s.deadline = nil
	}
}

type doorkeeperKey struct{}

// initialised is called with connection_init: who has not said in a header who they
// are says so there.
func initialised(ctx context.Context, payload transport.InitPayload) (context.Context, *transport.InitPayload, error) {
	if sessionOf(ctx) != nil {
		return ctx, nil, nil
	}
	keeper := ctx.Value(doorkeeperKey{}).(*doorkeeper)
	name, secret, ok := parseBasic(payload.Authorization())
	if ok {
		within, cancel := context.WithTimeout(ctx, initWithin)
		defer cancel()
		if session, err := keeper.admit(within, name, secret); err == nil {
			return withSession(ctx, session), nil, nil
		}
	}
	ctx = transport.WithWebsocketCloseCode(ctx, closeForbidden)
	return transport.AppendCloseReason(ctx, "Forbidden"), nil, errors.New("forbidden")
}

// parseBasic reads the value of an Authorization header.
func parseBasic(authorization string) (name, secret string, ok bool) {
	return (&http.Request{Header: http.Header{"Authorization": {authorization}}}).BasicAuth()
}
