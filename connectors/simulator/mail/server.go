package mail

import (
	"crypto/tls"
	"errors"
	"io"
	"log"
	"mime"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Config of a server.
type Config struct {
	// Username and Password that whoever sends must log in with; empty: nobody need.
	Username, Password string
	// NoTLS: it offers no STARTTLS.
	NoTLS bool
}

// Message is one that was taken.
type Message struct {
	From, To, Subject, ID, Text string
	Header                      netmail.Header
}

// Server is a mail server. Its methods may be called from many goroutines at once.
type Server struct {
	config  Config
	address string
	ca      []byte
	tls     *tls.Config

	mu       sync.Mutex
	serving  *smtp.Server // nil while it is down
	ended    chan struct{}
	messages []Message
	refused  map[string]*smtp.SMTPError // by recipient
	vanish   int                        // messages after which it goes away without a word
}

// Start starts a server on a free port of this machine.
func Start(c Config) (*Server, error) {
	cert, ca, err := certificate()
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, address: "127.0.0.1:0", ca: ca, tls: &tls.Config{Certificates: []tls.Certificate{cert}}, refused: map[string]*smtp.SMTPError{}}
	return s, s.Up()
}

// Address is host and port.
func (s *Server) Address() string { return s.address }

// CA is the authority to trust, as PEM.
func (s *Server) CA() []byte { return s.ca }

// Up takes connections again, on the port of before.
func (s *Server) Up() error {
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{server: s, conn: c}, nil }))
	server.Domain, server.ReadTimeout, server.WriteTimeout = "localhost", time.Minute, time.Minute
	server.ErrorLog = log.New(io.Discard, "", 0)
	if !s.config.NoTLS {
		server.TLSConfig = s.tls
	}
	ended := make(chan struct{})
	s.mu.Lock()
	s.address, s.serving, s.ended = listener.Addr().String(), server, ended
	s.mu.Unlock()
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // until it is closed
	}()
	return nil
}

// Down closes port and connections.
func (s *Server) Down() {
	s.mu.Lock()
	server, ended := s.serving, s.ended
	s.serving = nil
	s.mu.Unlock()
	if server != nil {
		_ = server.Close()
		<-ended
	}
}

// Refuse answers a recipient so from now on; 0 takes that back.
func (s *Server) Refuse(recipient string, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refused, recipient)
	if code != 0 {
		s.refused[recipient] = &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "no such box here"}
	}
}

// Vanish has it take so many messages and go away before it says so.
func (s *Server) Vanish(messages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vanish = messages
}

// Messages are those that were taken, in order.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// session is one connection.
type session struct {
	server   *Server
	conn     *smtp.Conn
	loggedIn bool
	from, to string
}

func (s *session) AuthMechanisms() []string {
	if s.server.config.Username == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != s.server.config.Username || password != s.server.config.Password {
			// Some servers quote what they were given.
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "wrong password " + password}
		}
		s.loggedIn = true
		return nil
	}), nil
}

func (s *session) Reset()        { s.from, s.to = "", "" }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.server.config.Username != "" && !s.loggedIn {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if refusal := s.server.refused[to]; refusal != nil {
		return refusal
	}
	s.to = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	read, err := netmail.ReadMessage(r)
	if err != nil {
		return err
	}
	var body io.Reader = read.Body
	if strings.EqualFold(read.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
	if err != nil {
		return err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.messages = append(s.server.messages, Message{
		From: s.from, To: s.to, Subject: subject, ID: read.Header.Get("Message-Id"), Text: strings.ReplaceAll(string(text), "\r\n", "\n"), Header: read.Header,
	})
	if s.server.vanish > 0 {
		s.server.vanish--
		_ = s.conn.Conn().Close()
		return errors.New("gone")
	}
	return nil
}
