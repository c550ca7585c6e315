package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/jackc/pgx/v5"

	raffsyncv1 "raffsync/proto/raffsync/v1"
)

// choice is {one|another}: the n-th event has the n-th of them, in turn.
var choice = regexp.MustCompile(`\{[^{}"]+(\|[^{}"]+)+\}`)

// accept streams events, a line each: ordering key, type, payload. With from=1 to=1000
// (and by=2) each line stands for so many, with {n} for their number and {a|b} for what
// they have in turn.
func (w *world) accept(d *datadriven.TestData) string {
	from, to, by := 0, 0, 1
	d.MaybeScanArgs(w.t, "from", &from)
	d.MaybeScanArgs(w.t, "to", &to)
	d.MaybeScanArgs(w.t, "by", &by)
	var events []*raffsyncv1.Event
	for line := range strings.Lines(d.Input) {
		for n := from; n <= to; n += by {
			line := choice.ReplaceAllStringFunc(strings.ReplaceAll(line, "{n}", strconv.Itoa(n)), func(all string) string {
				each := strings.Split(strings.Trim(all, "{}"), "|")
				return each[n%len(each)]
			})
			key, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			kind, payload, _ := strings.Cut(rest, " ")
			number := key[strings.LastIndexByte(key, '/')+1:]
			events = append(events, &raffsyncv1.Event{
				Id: kind + "-" + number, Type: kind, OrderingKey: key, Outlet: "mall", References: map[string]string{"order": number},
				ContentType: "application/json", Data: &raffsyncv1.Event_TextData{TextData: payload},
			})
		}
	}
	send(w.t, w.t.Context(), w.in, w.key, events...)
	w.rest()
	return fmt.Sprintf("%d acknowledged", len(events))
}

// setMail has the mail server go down, or come up.
func (w *world) setMail(d *datadriven.TestData) string {
	w.rest()
	switch d.CmdArgs[0].Key {
	case "down":
		w.mail.Down()
	case "up":
		if err := w.mail.Up(); err != nil {
			w.t.Fatal(err)
		}
	default:
		d.Fatalf(w.t, "the mail server can be up or down")
	}
	return ""
}

// word is one of a command line, perhaps in quotes.
var word = regexp.MustCompile(`"[^"]*"|\S+`)

// command runs commands of the program, a line each, and shows what they print. With
// until=WORD the first is run until it prints that: sweeps come round by the real clock.
func (w *world) command(d *datadriven.TestData) string {
	var until string
	d.MaybeScanArgs(w.t, "until", &until)
	var all strings.Builder
	for line := range strings.Lines(d.Input) {
		words := word.FindAllString(w.names.show(line), -1)
		for i := range words {
			words[i] = strings.Trim(words[i], `"`)
		}
		if until != "" {
			waitUntil(w.t, func() bool { return strings.Contains(w.in.run(words...), until) }, w.program.log.String)
			until = ""
		}
		stdout, stderr, code := w.in.try(words...)
		all.WriteString(w.names.hide(stdout + stderr))
		if code != 0 {
			fmt.Fprintf(&all, "exit status %d\n", code)
		}
		w.rest()
	}
	return all.String()
}

// graphql asks the API, as an operator: graphql ayu.
func (w *world) graphql(d *datadriven.TestData) string {
	name := d.CmdArgs[0].Key
	if w.operators[name] == nil {
		_, secret, found := strings.Cut(strings.TrimSpace(w.in.run("keys", "operator", name)), " / ")
		if !found {
			w.t.Fatal("no secret was printed")
		}
		if w.operators == nil {
			w.operators = make(map[string]*apiClient)
		}
		w.operators[name] = &apiClient{t: w.t, url: "http://" + w.in.http + "/graphql", name: name, secret: secret}
	}
	var answer json.RawMessage
	w.operators[name].query(w.names.show(d.Input), &answer)
	w.rest()
	var text bytes.Buffer
	if err := json.Indent(&text, answer, "", " "); err != nil {
		w.t.Fatal(err)
	}
	return text.String()
}

// showLetters shows what has been mailed since it was last asked for.
func (w *world) showLetters(*datadriven.TestData) string {
	w.rest()
	all := w.mail.Messages()
	var lines []string
	for _, m := range all[w.letters:] {
		lines = append(lines, m.To+": "+m.Subject)
	}
	w.letters = len(all)
	slices.Sort(lines) // two addresses are told at once
	return strings.Join(lines, "\n")
}

const timelineSQL = `
SELECT t.entry, to_char(t.at AT TIME ZONE 'UTC', 'MM-DD HH24:MI') AS at,
       coalesce(e.ordering_key || ' ' || e.type, x.class || ' ' || coalesce(x.looked_up, NULLIF(x.code, ''), d.name, ''), d.name, '') AS about,
       t.what, coalesce(d.name, '') AS destination, coalesce(t.attempt, 0) AS attempt, coalesce(t.kind, 0) AS kind,
       coalesce(t.state, '') AS state, coalesce(t.reason, '') AS reason, coalesce(t.detail->>'paths', '') AS paths, coalesce(t.actor, '') AS actor
  FROM audit t
  LEFT JOIN events e ON e.seq = t.event AND e.accepted_at = t.event_at
  LEFT JOIN exceptions x ON x.id = t.exception AND t.event IS NULL
  LEFT JOIN destinations d ON d.id = t.destination
 WHERE (t.entry > $1 OR t.entry < 0) AND t.what <> 'key'`

// timeline shows what has been written down since it was last asked for, by the minute and
// what it is about. Orders that went alike are counted; with "alike" their numbers are not
// told, where it is not said which of them comes first.
func (w *world) timeline(d *datadriven.TestData) string {
	w.rest()
	rows, err := w.db.Query(w.t.Context(), timelineSQL+` ORDER BY at, about, entry`, w.told)
	if err != nil {
		w.t.Fatal(err)
	}
	var entry int64
	var at, about, what, destination, state, reason, paths, by string
	var attempt int32
	var kind int16
	all := summed{few: few}
	if d.HasArg("alike") {
		all.few = 0
	}
	if _, err := pgx.ForEachRow(rows, []any{&entry, &at, &about, &what, &destination, &attempt, &kind, &state, &reason, &paths, &by}, func() error {
		if w.accepted[entry] {
			return nil
		}
		if w.told = max(w.told, entry); entry < 0 {
			w.accepted[entry] = true
		}
		line := what
		if attempt > 0 {
			line += fmt.Sprintf(" %d at %s", attempt, destination)
		}
		name := strings.TrimPrefix(raffsyncv1.OutcomeKind(kind).String(), "OUTCOME_KIND_")
		for _, more := range slices.Compact([]string{name, state, paths, reason}) {
			if more != "" && more != "UNSPECIFIED" {
				line += ", " + more
			}
		}
		if by != "" {
			line += " (" + by + ")"
		}
		all.add(at+" "+about, line)
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	return all.String()
}

// summed are lines about orders; those that say the same of many are one.
type summed struct {
	few   int                 // so many are shown one by one all the same
	about []string            // in the order in which they came
	lines map[string][]string // of each
}

func (s *summed) add(about, line string) {
	if s.lines == nil {
		s.lines = make(map[string][]string)
	}
	if _, known := s.lines[about]; !known {
		s.about = append(s.about, about)
	}
	s.lines[about] = append(s.lines[about], line)
}

const few = 4

// number is what alike orders, and what they lack, differ in.
var number = regexp.MustCompile(`(order/|SKU-)\d+`)

func (s *summed) String() string {
	alike := make(map[string]int)
	of := func(about string) string {
		return number.ReplaceAllString(about+"\n"+strings.Join(s.lines[about], "\n"), "${1}…")
	}
	for _, about := range s.about {
		alike[of(about)]++
	}
	var text strings.Builder
	for _, about := range s.about {
		n := alike[of(about)]
		switch {
		case n == 0: // told
			continue
		case n > s.few:
			alike[of(about)] = 0
			fmt.Fprintf(&text, "%s (%d)\n", number.ReplaceAllString(about, "${1}…"), n)
		default:
			fmt.Fprintln(&text, about)
		}
		for _, line := range s.lines[about] {
			fmt.Fprintln(&text, "  "+line)
		}
	}
	return text.String()
}

// names stand for what differs from run to run.
type names struct {
	secrets map[string]string // addresses and the like
	ids     map[string]string // name by id
	counts  map[string]int    // of names, by kind
}

var (
	anyID   = regexp.MustCompile(`\b(exc|dlv|evt|ent)_[A-Za-z0-9_-]+`)
	seconds = regexp.MustCompile(`(\d\d:\d\d):\d\d(\.\d+)?`)
	// gained is a version that rises with whatever is held, a page or one at a time.
	gained = regexp.MustCompile(`\(version \d+\)`)
)

// hide puts names in the place of ids.
func (n *names) hide(text string) string {
	if n.ids == nil {
		n.ids, n.counts = make(map[string]string), make(map[string]int)
	}
	for _, secret := range slices.Sorted(maps.Keys(n.secrets)) {
		text = strings.ReplaceAll(text, secret, n.secrets[secret])
	}
	text = anyID.ReplaceAllStringFunc(text, func(id string) string {
		if n.ids[id] == "" {
			kind := id[:3]
			n.counts[kind]++
			n.ids[id] = fmt.Sprintf("%s-%d", kind, n.counts[kind])
		}
		return n.ids[id]
	})
	return gained.ReplaceAllString(seconds.ReplaceAllString(text, "$1"), "(version …)")
}

// show puts ids in the place of their names.
func (n *names) show(text string) string {
	return regexp.MustCompile(`\b(exc|dlv|evt|ent)-\d+\b`).ReplaceAllStringFunc(text, func(name string) string {
		for id, known := range n.ids {
			if known == name {
				return id
			}
		}
		return name
	})
}

func TestSummed(t *testing.T) {
	s := summed{few: few}
	for i := range 10 {
		s.add(fmt.Sprint("order/", i), "taken as order/"+strconv.Itoa(i))
	}
	s.add("order/3", "once more")
	if want := "order/… (9)\n  taken as order/0\norder/3\n  taken as order/3\n  once more\n"; s.String() != want {
		t.Errorf("%s\nwant\n%s", s.String(), want)
	}
}
