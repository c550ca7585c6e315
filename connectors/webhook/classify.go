package webhook

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"raffsync/connectors/egress"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Kinds, short enough to keep the tables readable.
const (
	delivered    = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	transient    = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	unknown      = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
	rateLimited  = raffsyncv1.OutcomeKind_OUTCOME_KIND_RATE_LIMITED
	authRevoked  = raffsyncv1.OutcomeKind_OUTCOME_KIND_AUTH_REVOKED
	permission   = raffsyncv1.OutcomeKind_OUTCOME_KIND_PERMISSION
	accountState = raffsyncv1.OutcomeKind_OUTCOME_KIND_ACCOUNT_STATE
	validation   = raffsyncv1.OutcomeKind_OUTCOME_KIND_VALIDATION
	duplicate    = raffsyncv1.OutcomeKind_OUTCOME_KIND_DUPLICATE
	keyMisuse    = raffsyncv1.OutcomeKind_OUTCOME_KIND_KEY_MISUSE
	poison       = raffsyncv1.OutcomeKind_OUTCOME_KIND_POISON
	unclassified = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNCLASSIFIED
)

// verdict is what a rule makes of an attempt; rule is its name.
type verdict struct {
	kind         raffsyncv1.OutcomeKind
	rule, reason string
}

// answer is as much of a response as the rules look at.
type answer struct {
	status int
	// code is the receiver's, in lower case, "_" for "-" and space.
	code       string
	idempotent bool
}

func (a answer) codeHas(parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(a.code, part) })
}

type answerRule struct {
	matches func(answer) bool
	verdict
}

// answerRules are tried in order; the first that matches decides, and the last
// always does. An empty name stands for "status " and the number.
//
// Sources: Standard Webhooks 1.0 ("Delivery success and failure"), CloudEvents
// HTTP webhooks 1.0.2 (section 2.2), RFC 9110 (section 15),
// draft-ietf-httpapi-idempotency-key-header-07 ("Error Scenarios").
var answerRules = []answerRule{
	{status(200, 299), verdict{delivered, "", "accepted"}},
	{status(300, 399), verdict{validation, "", "redirects are not followed; set the new URL"}},

	// The draft has 422 for a key that comes with another body, and 409 for one
	// whose first request is still under way. Not everyone keeps to it, so what a
	// code says comes first.
	{keyRefused, verdict{keyMisuse, "idempotency key refused", "the receiver does not accept this idempotency key with this body"}},
	{alreadyThere, verdict{duplicate, "", "the receiver has it, or something by its name, already"}},
	{status(409, 409), verdict{transient, "", "the receiver is busy with an earlier request of the same key"}},

	{status(400, 400), verdict{validation, "", "the receiver finds the request invalid"}},
	{status(413, 413), verdict{validation, "", "the data is too large for the receiver"}},
	{status(415, 415), verdict{validation, "", "the receiver does not take this content type"}},
	{status(422, 422), verdict{validation, "", "the receiver finds the data invalid"}},
	{status(401, 401), verdict{authRevoked, "", "the receiver refuses signature or credential; compare secret and headers with what it has"}},
	// Gone ends a subscription, by Standard Webhooks and CloudEvents alike: nothing
	// more is to be sent until a person has agreed with the receiver.
	{status(410, 410), verdict{authRevoked, "", "the receiver has ended the subscription; agree with it on a URL, or remove the destination"}},
	{status(403, 403), verdict{permission, "", "the receiver does not allow this"}},
	{status(402, 402), verdict{accountState, "", "the account at the receiver is unpaid"}},
	{status(423, 423), verdict{accountState, "", "the account at the receiver is locked"}},
	{status(429, 429), verdict{rateLimited, "", "the receiver asks for fewer requests"}},
	{status(408, 408), verdict{transient, "", "the receiver did not get the request in time"}},
	{status(425, 425), verdict{transient, "", "the receiver does not look at it yet"}},

	// A 5xx proves nothing about the effect. Where the receiver recognises repeats,
	// sending it again is right either way; where it does not, only a person can say.
	{func(a answer) bool { return a.status >= 500 && a.idempotent }, verdict{transient, "", "the receiver is in trouble"}},
	{func(a answer) bool { return a.status >= 500 }, verdict{unknown, "", "the receiver failed, perhaps after it took the event, and does not recognise repeats"}},

	// Not permanent at once: a receiver that is being deployed answers so too.
	{status(404, 405), verdict{unclassified, "", "nothing takes webhooks at this URL; if it stays so, correct the URL"}},
	{func(answer) bool { return true }, verdict{unclassified, "", "no rule knows this answer"}},
}

func keyRefused(a answer) bool {
	switch a.status {
	case 400, 422:
		return a.codeHas("idempoten")
	case 409:
		return a.codeHas("idempoten") && a.codeHas("reuse", "mismatch", "differ", "misuse")
	}
	return false
}

// alreadyThere takes a plain 409 of a receiver that does not work with keys for what
// it mostly means there.
func alreadyThere(a answer) bool {
	busy := a.codeHas("progress", "processing", "flight", "outstanding", "in_use", "locked")
	return a.status == 409 && !busy && (!a.idempotent || a.codeHas("duplicate", "exist", "already"))
}

func status(from, to int) func(answer) bool {
	return func(a answer) bool { return a.status >= from && a.status <= to }
}

func classifyAnswer(a answer) verdict {
	a.code = strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(a.code))
	v := answerRules[slices.IndexFunc(answerRules, func(r answerRule) bool { return r.matches(a) })].verdict
	if v.rule == "" {
		v.rule = "status " + strconv.Itoa(a.status)
	}
	return v
}

// failureRules are for attempts without a usable status, in order. Their reason is
// the client's.
var failureRules = []struct {
	matches func(*egress.Error) bool
	kind    raffsyncv1.OutcomeKind
	name    string
}{
	{is(egress.ErrForbiddenAddress), validation, "address not allowed"},
	// Prepare lets through only what can be sent.
	{is(egress.ErrInvalidRequest), poison, "request not valid"},
	{is(egress.ErrNotSent, context.Canceled), transient, "cancelled before sending"},
	{is(egress.ErrNotSent, context.DeadlineExceeded), transient, "time-out before sending"},
	{in(egress.PhaseResolve), transient, "no address"},
	{in(egress.PhaseTLS), transient, "no TLS"},
	{is(egress.ErrNotSent), transient, "no connection"},
	{is(egress.ErrUnknown, context.Canceled), unknown, "cancelled after sending"},
	{is(egress.ErrUnknown, context.DeadlineExceeded), unknown, "time-out after sending"},
	{is(egress.ErrUnknown), unknown, "no answer"},
}

func is(targets ...error) func(*egress.Error) bool {
	return func(err *egress.Error) bool {
		return !slices.ContainsFunc(targets, func(target error) bool { return !errors.Is(err, target) })
	}
}

func in(phase egress.Phase) func(*egress.Error) bool {
	return func(err *egress.Error) bool { return err.Phase == phase && errors.Is(err, egress.ErrNotSent) }
}

// classifyFailure takes what it does not know for an unknown outcome: the one that
// is never wrong.
func classifyFailure(err error) verdict {
	var failure *egress.Error
	if errors.As(err, &failure) {
		for _, rule := range failureRules {
			if rule.matches(failure) {
				return verdict{rule.kind, rule.name, failure.Reason}
			}
		}
	}
	return verdict{unknown, "no answer", "the request failed in a way that is not known"}
}

// statusText is "422 Unprocessable Entity", or the number where it has no name.
func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return strconv.Itoa(status) + " " + text
	}
	return strconv.Itoa(status)
}
