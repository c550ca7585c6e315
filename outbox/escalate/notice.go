package escalate

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"raffsync/outbox/explain"
)

// NoticeKind is what a notice is about.
type NoticeKind string

// Kinds.
const (
	Raised    NoticeKind = "RAISED"
	Escalated NoticeKind = "ESCALATED" // the levels before did nothing
	Repeated  NoticeKind = "REPEATED"
	Resolved  NoticeKind = "RESOLVED" // to those who were told
	Digest    NoticeKind = "DIGEST"   // of several causes
)

// Notice is what one address of a team is told: the payload of an event of type
// raffsync.notice, as JSON.
type Notice struct {
	Kind     NoticeKind       `json:"kind"`
	Tenant   string           `json:"tenant"`
	Team     string           `json:"team"`
	Language explain.Language `json:"language"`
	// Subject is one line, Text the whole for people, plain.
	Subject string  `json:"subject"`
	Text    string  `json:"text"`
	Causes  []Cause `json:"causes"` // at most [maxCauses]
	More    int     `json:"more,omitempty"`
}

// Cause is one exception in a notice.
type Cause struct {
	Kind        NoticeKind `json:"kind"`
	Exception   int64      `json:"exception"`
	Class       string     `json:"class"`
	Destination string     `json:"destination,omitempty"`
	Source      string     `json:"source,omitempty"`
	Title       string     `json:"title"`
	What        string     `json:"what"`
	Why         string     `json:"why"`
	NextStep    string     `json:"nextStep"`
	Turn        string     `json:"turn"`
	Held        int64      `json:"held"`
	Level       int        `json:"level"`            // from 1
	Repeat      int        `json:"repeat,omitempty"` // how often the level was told before
	RaisedAt    time.Time  `json:"raisedAt"`
	ClosedAt    *time.Time `json:"closedAt,omitempty"`
	// Since is RaisedAt and Until is ClosedAt, for people, by the clock of the outlet.
	Since string `json:"since"`
	Until string `json:"until,omitempty"`
	// Acknowledge is a link that does only that; empty where there is none.
	Acknowledge string `json:"acknowledge,omitempty"`

	policy *Policy // for the link; never nil of what is open
}

// maxCauses bounds a digest: who is told of more has a list to look at, not a mail.
const maxCauses = 20

// cause puts an exception into words.
func (r *row) cause(kind NoticeKind, level, repeat int, in explain.Language) Cause {
	words := explain.Explain(explain.Subject{
		Class: r.Class, Destination: r.Destination, Source: r.Source, Rule: r.Rule, Code: r.Code, Field: r.Field, Value: r.LookedUp, Held: r.Held,
	}, in)
	zone := time.UTC
	if p := r.policy; p != nil {
		zone = cmp.Or(p.Hours.location(), p.Quiet.location(), zone)
	}
	c := Cause{
		Kind: kind, Exception: r.Exception, Class: r.Class, Destination: r.Destination, Source: r.Source,
		Title: words.Title, What: words.What, Why: words.Why, NextStep: words.NextStep, Turn: words.TurnName,
		Held: r.Held, Level: level, Repeat: repeat, RaisedAt: r.OpenedAt, ClosedAt: r.ClosedAt, Since: moment(r.OpenedAt, zone), policy: r.policy,
	}
	if r.ClosedAt != nil {
		c.Until = moment(*r.ClosedAt, zone)
	}
	return c
}

func moment(at time.Time, zone *time.Location) string {
	return at.In(zone).Format("2006-01-02 15:04 MST")
}

// compose makes the notice of what one team is told at once. Links are added for each
// address.
func compose(tenant, team string, in explain.Language, causes []Cause) Notice {
	n := Notice{Kind: Digest, Tenant: tenant, Team: team, Language: in, Causes: causes}
	if len(causes) == 1 {
		n.Kind = causes[0].Kind
	}
	if len(causes) > maxCauses {
		n.Causes, n.More = causes[:maxCauses], len(causes)-maxCauses
	}
	n.Subject = subject(&n, in)
	return n
}

func subject(n *Notice, in explain.Language) string {
	words := phrasesIn(in)
	if n.Kind != Digest {
		return words.subject[n.Kind] + n.Causes[0].Title
	}
	open, over := 0, 0
	for _, c := range n.Causes {
		if c.Kind == Resolved {
			over++
		} else {
			open++
		}
	}
	open += n.More // those that are left out stand last, and may be either
	var parts []string
	if open > 0 {
		parts = append(parts, counted(open, words.open))
	}
	if over > 0 {
		parts = append(parts, counted(over, words.over))
	}
	return strings.Join(parts, ", ")
}

// counted is a number before what follows one, and several.
func counted(n int, follows [2]string) string {
	if n == 1 {
		return "1" + follows[0]
	}
	return strconv.Itoa(n) + follows[1]
}
