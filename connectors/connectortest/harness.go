package connectortest

import (
	"log"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"

	"raffsync/connectors"
	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// Harness is what the suite has to know of a connector.
type Harness struct {
	// New builds a destination whose platform is at the URL: http, a loopback
	// address and a port. Its time-out must be 5 s or more.
	New func(t testing.TB, url string) connectors.Destination

	// Secrets are values that the destination was built with and that must not be
	// seen outside of its requests: signing keys, tokens, passwords.
	Secrets []string

	// Key gives the idempotency key of a request as the platform received it: the
	// step's, or the beginning of it where the platform takes fewer digits. It is
	// needed where the destination's traits say that the platform is idempotent.
	Key func(r *http.Request, body []byte) string

	// Check says what is wrong with a request that was made of the step; nil where
	// there is nothing to check. It is called from several goroutines.
	Check func(r *http.Request, body []byte, step connectors.Step) error

	// Answers are what the platform answers and what that has to come to. Each kind
	// that the connector can tell should be there; those that any HTTP platform has
	// must: DELIVERED, TRANSIENT, RATE_LIMITED, VALIDATION and UNCLASSIFIED.
	Answers []Answer

	// Questions are what the platform answers when it is asked what became of a request,
	// where the destination is a [connectors.Reconciler]: some of each finding.
	Questions []Question

	// Repeatable: what the step does comes to the same when it is done twice, so that a
	// [connectors.Reconciler] asks nobody about it, and says that it is not there.
	Repeatable bool

	// Step completes a step before it is prepared: its plan, its outlet, its look-ups; and,
	// where the event is the suite's plain one ([Plain]), whatever data the destination
	// wants, with [Canary] in it. Nil where a destination takes any event as it is.
	Step func(d connectors.Destination, step *connectors.Step)

	// Success is what the platform answers where it did what it was asked to; 200 without a
	// body where nothing is set.
	Success Answer

	// Healthy is what the platform answers to a check when all is well, where the
	// destination is a [connectors.Checker].
	Healthy *Answer

	// QuestionFound is one more of them, made of the question: an answer that names what
	// was asked for. Nil where a constant one does.
	QuestionFound func(r *http.Request) Question

	// CheckQuestion says what is wrong with a question about the step; nil where there is
	// nothing to check.
	CheckQuestion func(r *http.Request, body []byte, step connectors.Step) error
}

// Answer is an answer of the platform and the outcome that it has to make.
type Answer struct {
	Name   string
	Status int
	Header map[string]string
	Body   string
	// Want is compared but for Reason and Excerpt, and Rule where it is empty. Its
	// Status need not be set.
	Want connectors.Outcome
}

// Run runs the suite as subtests of t.
func Run(t *testing.T, h Harness) {
	t.Helper()
	switch {
	case h.New == nil:
		t.Fatal("connectortest: Harness.New is missing")
	case len(h.Secrets) == 0:
		t.Fatal("connectortest: Harness.Secrets is empty; give the destination a secret, so that leaks can be seen")
	}
	s := &suite{Harness: h, logged: captureLogs(t)}

	t.Run("Traits", s.traits)
	t.Run("Prepare", s.prepare)
	t.Run("Limits", s.limits)
	t.Run("Payloads", s.payloads)
	t.Run("Answers", s.answers)
	t.Run("Redirects", s.redirects)
	t.Run("Connection", s.connection)
	t.Run("Context", s.context)
	t.Run("Asking", s.asking)
	t.Run("Resend", s.resend)
	t.Run("Preview", s.preview)
	t.Run("Content", s.content)
	t.Run("Planning", s.planning)
	t.Run("Checking", s.checking)
	t.Run("Concurrent", s.concurrent)
	t.Run("Quotes", s.quotes)
	t.Run("Formats", s.formats)
	t.Run("Logs", s.logs)
}

type suite struct {
	Harness
	logged *lockedBuffer
}

func (s *suite) success(w http.ResponseWriter, _ received) {
	if s.Success.Status != 0 {
		s.Success.write(w)
	}
}

const (
	kindDelivered = raffsyncv1.OutcomeKind_OUTCOME_KIND_DELIVERED
	kindTransient = raffsyncv1.OutcomeKind_OUTCOME_KIND_TRANSIENT
	kindUnknown   = raffsyncv1.OutcomeKind_OUTCOME_KIND_UNKNOWN_OUTCOME
)

func (s *suite) traits(t *testing.T) {
	p := s.newPlatform(t)
	d := s.New(t, p.URL)
	traits := d.Traits()
	if traits.Idempotent && s.Key == nil {
		t.Error("the destination says that its platform is idempotent: Harness.Key is needed, to see that keys arrive")
	}
	if traits.DeduplicationWindow < 0 || traits.DeduplicationWindow > 0 && !traits.Idempotent {
		t.Errorf("DeduplicationWindow is %s; it must not be negative, and is nothing without Idempotent", traits.DeduplicationWindow)
	}
	if again := d.Traits(); again != traits {
		t.Errorf("Traits changed from %+v to %+v", traits, again)
	}
	if n := p.count(); n != 0 {
		t.Errorf("building the destination sent %d requests", n)
	}
}

// captureLogs takes over the default loggers until the test ends.
func captureLogs(t *testing.T) *lockedBuffer {
	var logged lockedBuffer
	logger, output, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.Level(math.MinInt)})))
	t.Cleanup(func() {
		slog.SetDefault(logger)
		// SetDefault takes log over, and does not give it back.
		log.SetOutput(output)
		log.SetFlags(flags)
	})
	return &logged
}

func (s *suite) logs(t *testing.T) {
	logged := s.logged.String()
	s.confidential(t, "a log", logged)
	if strings.Contains(logged, canary) {
		t.Errorf("the payload is in a log:\n%s", logged)
	}
}
