package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	gomail "github.com/wneessen/go-mail"

	"raffsync/connectors"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// longest is for whoever sends without a deadline; the dispatcher's is shorter.
const longest = time.Minute

// Factory builds a destination of kind "mail". It checks the settings and opens nothing.
// It is a [connectors.Factory].
func Factory(o connectors.Options) (connectors.Destination, error) {
	s, err := readSettings(o)
	if err != nil {
		return nil, err
	}
	return &destination{o.Name, s}, nil
}

// destination is immutable.
type destination struct {
	name string
	settings
}

// Format prints no more than name and server.
func (d *destination) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "mail %s by %s", d.name, d.host)
}

// Traits implements [connectors.Destination]: see the package's documentation.
func (d *destination) Traits() connectors.Traits { return connectors.Traits{Idempotent: true} }

// message is a prepared mail. It prints as nothing of it.
type message struct {
	notice func() (connectors.Notice, string)
}

func (message) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "mail message") }

// Prepare implements [connectors.Destination].
func (d *destination) Prepare(step connectors.Step) (connectors.Request, error) {
	n, err := connectors.ReadNotice(step.Event)
	if err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(d.from, "@")
	id := step.Key[:min(len(step.Key), 32)] + "@" + domain
	return message{func() (connectors.Notice, string) { return n, id }}, nil
}

// Send implements [connectors.Destination].
func (d *destination) Send(ctx context.Context, prepared connectors.Request) connectors.Outcome {
	m, ok := prepared.(message)
	if !ok {
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "request not valid", Reason: "the request is none that this destination prepared"}
	}
	mail, err := d.compose(m)
	if err != nil {
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "request not valid", Reason: "no mail can be made of it"}
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	var opened atomic.Pointer[net.Conn]
	client, err := d.client(ctx, &opened)
	if err != nil {
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON, Rule: "server not valid", Reason: "the server cannot be used as configured"}
	}
	stop := context.AfterFunc(ctx, func() {
		if conn := opened.Load(); conn != nil {
			_ = (*conn).Close()
		}
	})
	defer stop()
	err = client.DialWithContext(ctx)
	conn := opened.Load()
	if conn != nil {
		defer (*conn).Close()
	}
	if err != nil {
		return unreached(err, conn != nil)
	}
	o := sent(mail, client.Send(mail))
	_ = client.Close() // QUIT, which changes nothing any more
	return o
}

func (d *destination) compose(m message) (*gomail.Msg, error) {
	n, id := m.notice()
	mail := gomail.NewMsg()
	if err := errors.Join(mail.From(d.from), mail.To(d.to)); err != nil {
		return nil, err
	}
	mail.SetMessageIDWithValue(id)
	mail.SetDate()
	mail.Subject(n.Subject)
	mail.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: nobody's holiday answers it
	mail.SetBodyString(gomail.TypeTextPlain, n.Text)
	return mail, nil
}

// client connects through a function of ours, so that the connection can be closed: the
// library looks at the context while it connects only.
func (d *destination) client(ctx context.Context, opened *atomic.Pointer[net.Conn]) (*gomail.Client, error) {
	deadline, _ := ctx.Deadline()
	// Over a connection that is TLS already there is no STARTTLS, and none is missed.
	policy := gomail.TLSMandatory
	if d.plain || d.port == implicitTLS {
		policy = gomail.TLSOpportunistic
	}
	options := []gomail.Option{
		gomail.WithPort(d.port), gomail.WithTimeout(max(time.Until(deadline), time.Millisecond)), gomail.WithTLSPolicy(policy), gomail.WithoutNoop(),
		gomail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := d.dial(ctx, network, address)
			if err == nil {
				opened.Store(&conn)
			}
			return conn, err
		}),
	}
	if d.username != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(d.username), gomail.WithPassword(d.password()))
	}
	return gomail.NewClient(d.host, options...)
}

func (d *destination) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.port == implicitTLS {
		return (&tls.Dialer{Config: &tls.Config{ServerName: d.host, MinVersion: tls.VersionTLS12}}).DialContext(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
