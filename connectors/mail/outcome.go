package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"

	gomail "github.com/wneessen/go-mail"

	"raffsync/connectors"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

const (
	transient    = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	unknown      = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	validation   = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
	unclassified = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED
)

// unreached is what it comes to where no message was begun: nothing has had any effect.
// What the server says is not kept, since it may quote what it was sent.
func unreached(err error, connected bool) connectors.Outcome {
	var said *textproto.Error
	var certificate *tls.CertificateVerificationError
	var unknownAuthority x509.UnknownAuthorityError
	var dns *net.DNSError
	switch {
	case errors.As(err, &said) && said.Code/10 == 53:
		// Tried a few times, lest the account be locked.
		return connectors.Outcome{Kind: unclassified, Rule: "login refused", Code: fmt.Sprint(said.Code), Status: said.Code, Reason: "the mail server refuses the login"}
	case errors.Is(err, gomail.ErrNoSupportedAuthDiscovered), errors.Is(err, gomail.ErrPlainAuthNotSupported):
		return connectors.Outcome{Kind: unclassified, Rule: "no login", Reason: "the mail server offers no way to log in"}
	case errors.As(err, &certificate), errors.As(err, &unknownAuthority):
		return connectors.Outcome{Kind: transient, Rule: "no TLS", Reason: "the mail server's certificate is not trusted"}
	case errors.As(err, &said):
		return connectors.Outcome{Kind: transient, Rule: fmt.Sprintf("status %d", said.Code), Status: said.Code, Reason: "the mail server takes nothing now"}
	case errors.As(err, &dns):
		return connectors.Outcome{Kind: transient, Rule: "no address", Reason: "the mail server's name has no address"}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return connectors.Outcome{Kind: transient, Rule: "time-out before sending", Reason: "the mail server did not answer in time"}
	case !connected:
		return connectors.Outcome{Kind: transient, Rule: "no connection", Reason: "the mail server cannot be reached"}
	}
	return connectors.Outcome{Kind: transient, Rule: "no greeting", Reason: "the mail server cannot be used: it offers no STARTTLS, or went away"}
}

// sent is what a message came to that was begun.
func sent(mail *gomail.Msg, err error) connectors.Outcome {
	if mail.IsDelivered() {
		// Whatever came after the server's word that it has it.
		return connectors.Outcome{Kind: raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED, Rule: "status 250", Status: 250, Reason: "the mail server has taken it"}
	}
	var failed *gomail.SendError
	if !errors.As(err, &failed) {
		return connectors.Outcome{Kind: unknown, Rule: "no answer", Reason: "the mail server went away in the middle"}
	}
	o := connectors.Outcome{
		Rule: fmt.Sprintf("status %d", failed.ErrorCode()), Code: failed.EnhancedStatusCode(), Status: failed.ErrorCode(),
	}
	refused := failed.ErrorCode() != 0
	switch {
	case !refused && (failed.Reason == gomail.ErrSMTPDataClose || failed.Reason == gomail.ErrWriteContent):
		o.Kind, o.Rule, o.Reason = unknown, "no answer", "the mail server went away before it said whether it has it"
	case !refused:
		o.Kind, o.Rule, o.Reason = transient, "no connection", "the mail server went away"
	case failed.ErrorCode()/100 == 4:
		o.Kind, o.Reason = transient, "the mail server does not take it now"
	case failed.Reason == gomail.ErrSMTPRcptTo:
		o.Kind, o.Reason = validation, "the mail server refuses the recipient"
	case failed.Reason == gomail.ErrSMTPMailFrom:
		o.Kind, o.Reason = validation, "the mail server refuses the sender"
	default:
		o.Kind, o.Reason = validation, "the mail server refuses the message"
	}
	if o.Status != 0 {
		o.Reason = fmt.Sprintf("%d: %s", o.Status, o.Reason)
	}
	return o
}
