package escalate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"raffsync/outbox"
	"raffsync/outbox/outboxtest"
)

func TestWorker_TenCauses(t *testing.T) {
	t.Parallel()
	t.Run("AtOnce", func(t *testing.T) {
		d := newDesk(t, nil)
		for i := range 10 {
			d.raise("SKU_UNMAPPED", fmt.Sprint("SKU-", i), "2027-11-24 10:00")
		}
		d.look()
		d.want("24 10:00 mailto:catalogue@kopi.example: 10 causes need action")
		if n := d.notices()[0].notice; n.Kind != Digest || len(n.Causes) != 10 || strings.Count(n.Text, "https://sync.kopi.example/acknowledge") != 10 {
			t.Errorf("%+v", n)
		}
	})
	t.Run("WithinAMinute", func(t *testing.T) {
		d := newDesk(t, nil)
		var all []int64
		for i := range 10 {
			all = append(all, d.raise("SKU_UNMAPPED", fmt.Sprint("SKU-", i), "2027-11-24 10:00"))
			d.now = d.now.Add(time.Duration(i) * 5 * time.Second)
			d.look()
		}
		d.until("2027-11-24 10:05")
		d.want("24 10:00 mailto:catalogue@kopi.example: No mapping for sku SKU-0", "24 10:01 mailto:catalogue@kopi.example: 9 causes need action")
		for _, x := range all {
			d.close(x)
		}
		d.look()
		if got, want := d.said[len(d.said)-1], "24 10:05 mailto:catalogue@kopi.example: 10 are over"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	t.Run("OverBeforeTheDigest", func(t *testing.T) {
		d := newDesk(t, nil)
		d.raise("SKU_UNMAPPED", "FIRST", "2027-11-24 10:00")
		d.look()
		second := d.raise("SKU_UNMAPPED", "SECOND", "2027-11-24 10:00")
		d.look()
		d.close(second)
		d.until("2027-11-24 10:20")
		d.want("24 10:00 mailto:catalogue@kopi.example: No mapping for sku FIRST") // nobody was told of it
	})
}

// What becomes urgent waits for no hours.
func TestWorker_BecomesUrgent(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	x := d.raise("SKU_UNMAPPED", "A", "2027-11-24 21:50")
	d.until("2027-11-24 23:00")
	d.exec(`UPDATE exceptions SET held = 101 WHERE id = $1`, x)
	d.until("2027-11-24 23:05")
	if len(d.said) != 3 || !strings.HasPrefix(d.said[1], "24 23:00") && !strings.HasPrefix(d.said[1], "24 23:01") {
		t.Errorf("%v", d.said)
	}
}

func TestWorker_NobodyIsTold(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *outbox.Configuration) { c.Escalation[0].When = `class != "VALIDATION"` })
	d.raise("VALIDATION", "none matches", "2027-11-24 10:00")
	d.raise(outbox.ClassNoticeFailed, "of its own", "2027-11-24 10:00")
	late := d.raise("SKU_UNMAPPED", "at an address", "2027-11-24 10:00")
	d.exec(`UPDATE exceptions SET destination = (SELECT id FROM destinations WHERE name = 'mailto:mall@kopi.example') WHERE id = $1`, late)
	d.until("2027-11-25 10:00")
	d.want()
	if n := value[int](d, `SELECT count(*) FROM escalations WHERE next_at IS NOT NULL`); n != 0 {
		t.Errorf("%d are looked at again", n)
	}
}

// A policy that was changed is that of later exceptions; addresses are today's.
func TestWorker_PolicyIsCopied(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	d.raise("SKU_UNMAPPED", "A", "2027-11-24 10:00")
	d.look()
	d.apply(func(c *outbox.Configuration) {
		c.Escalation[0].Levels = []outbox.LevelConfig{{Team: "catalogue", After: 5 * time.Hour}}
		c.Teams[1].Notify = []outbox.AddressConfig{mailbox("new@kopi.example")}
	})
	d.until("2027-11-24 10:31")
	d.want("24 10:00 mailto:catalogue@kopi.example: No mapping for sku A",
		"24 10:30 mailto:new@kopi.example: Belum ada yang menangani: sku A belum dipetakan")
	d.apply(func(c *outbox.Configuration) {
		c.Teams, c.Escalation[0].Levels = c.Teams[:1], []outbox.LevelConfig{{Team: "catalogue"}}
	})
	d.until("2027-11-24 12:31")
	if reason := value[string](d, `SELECT reason FROM timeline WHERE what = 'escalate' ORDER BY at DESC, entry DESC LIMIT 1`); !strings.Contains(reason, "has no address") {
		t.Errorf("a team that is gone: %s", reason)
	}
}

// What cannot be looked at stops nothing else, and is not lost.
func TestWorker_BadRow(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	bad := d.raise("SKU_UNMAPPED", "BAD", "2027-11-24 10:00")
	d.exec(`UPDATE escalations SET policy = '{"levels": "none"}' WHERE exception = $1`, bad)
	d.raise("SKU_UNMAPPED", "GOOD", "2027-11-24 10:00")
	d.look()
	d.want("24 10:00 mailto:catalogue@kopi.example: No mapping for sku GOOD")
	if !strings.Contains(d.logged.String(), "policy cannot be read") {
		t.Errorf("the log says\n%s", d.logged.String())
	}
	d.exec(`UPDATE escalations SET policy = NULL WHERE exception = $1`, bad)
	d.until("2027-11-24 10:02")
	if len(d.said) != 2 || !strings.HasSuffix(d.said[1], "No mapping for sku BAD") {
		t.Errorf("%v", d.said)
	}
}

func TestWorker_Reopened(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	x := d.raise("SKU_UNMAPPED", "A", "2027-11-24 10:00")
	d.look()
	d.close(x)
	d.now = d.now.Add(2 * time.Minute)
	d.look()
	d.exec(`UPDATE exceptions SET status = 'NEEDS_ACTION', closed_at = NULL WHERE id = $1`, x)
	d.exec(`UPDATE escalations SET from_at = $2, repeated_at = $2, next_at = $2 WHERE exception = $1`, x, d.now)
	d.now = d.now.Add(2 * time.Minute)
	d.look()
	d.want("24 10:00 mailto:catalogue@kopi.example: No mapping for sku A", "24 10:02 mailto:catalogue@kopi.example: Over: No mapping for sku A",
		"24 10:04 mailto:catalogue@kopi.example: No mapping for sku A")
}

func TestWorker_TemplateFails(t *testing.T) {
	t.Parallel()
	// It works on the sample, and not on this.
	const own = `{{range .Causes}}{{if eq .Class "SKU_UNMAPPED"}}{{index .Title 10000}}{{end}}{{end}}`
	if err := CheckTemplate(own); err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, func(c *outbox.Configuration) { c.Teams[0].Template = own })
	d.raise("SKU_UNMAPPED", "A", "2027-11-24 10:00")
	d.look()
	if text := d.notices()[0].notice.Text; !strings.Contains(text, "Next step: Add the entry") {
		t.Errorf("the text is %q", text)
	}
	if !strings.Contains(d.logged.String(), "template fails") {
		t.Errorf("the log says\n%s", d.logged.String())
	}
}

// Two workers at once, one of which dies between its decision and its commit: each level
// is told once.
func TestWorker_OneIsKilled(t *testing.T) {
	t.Parallel()
	d := newDesk(t, nil)
	for i := range 20 {
		d.raise("SKU_UNMAPPED", fmt.Sprint("SKU-", i), "2027-11-24 10:00")
	}
	var once sync.Once
	decided, killed := make(chan struct{}), make(chan struct{})
	doomed := d.newWorker(func() string {
		once.Do(func() { close(decided) })
		<-killed
		return "https://link"
	})
	ended := make(chan error)
	at := d.now
	go func() {
		_, err := doomed.runOnce(context.WithoutCancel(t.Context()), &at)
		ended <- err
	}()
	<-decided
	d.look() // passes over what the other holds
	d.want()
	if n := value[int](d, `SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'raffsync ingest' AND state = 'idle in transaction'`); n != 1 {
		t.Fatalf("%d sessions were ended", n)
	}
	close(killed)
	if err := <-ended; err == nil {
		t.Fatal("the killed worker noticed nothing")
	}
	d.look()
	d.want("24 10:00 mailto:catalogue@kopi.example: 20 causes need action")
	if again, err := doomed.runOnce(t.Context(), &at); err != nil || again {
		t.Errorf("it goes on with a new session: %t, %v", again, err)
	}
	d.gather()
	if len(d.said) != 1 {
		t.Errorf("%v", d.said)
	}
}

func TestWorker_TwoAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *outbox.Configuration) {
		for i := range 20 {
			name := fmt.Sprint("team", i)
			c.Teams = append(c.Teams, outbox.TeamConfig{Name: name, Language: "en", Notify: []outbox.AddressConfig{mailbox(name + "@kopi.example")}})
			c.Escalation = slices.Insert(c.Escalation, 0, outbox.EscalationConfig{
				When: fmt.Sprintf(`class == "C%d"`, i), Clock: outbox.ClockAlways, Levels: []outbox.LevelConfig{{Team: name}, {Team: "catalogue", After: time.Hour}},
			})
		}
	})
	for i := range 20 {
		for j := range 5 {
			d.raise(fmt.Sprint("C", i), fmt.Sprint(j), "2027-11-24 10:00")
		}
	}
	workers := []*Worker{d.worker, d.newWorker(nil), d.newWorker(nil)}
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(func() {
			at := d.now
			for range 200 {
				if _, err := w.runOnce(t.Context(), &at); err != nil {
					t.Error(err)
				}
				if at = at.Add(time.Minute); at.After(d.now.Add(10 * time.Minute)) {
					return
				}
			}
		})
	}
	all.Wait()
	told := map[int64]int{}
	for _, n := range d.notices() {
		for _, c := range n.notice.Causes {
			told[c.Exception]++
		}
	}
	for id, n := range told {
		if n != 1 {
			t.Errorf("exception %d was told %d times", id, n)
		}
	}
	if len(told) != 100 {
		t.Errorf("%d of 100 were told", len(told))
	}
}

func TestSQL(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), outboxtest.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for name, sql := range map[string]string{
		"claim": claimSQL, "read": readSQL, "outlet": outletSQL, "save": saveSQL, "postpone": postponeSQL, "wait": waitSQL,
		"team": teamSQL, "told": toldSQL, "audit": auditSQL,
	} {
		if _, err := conn.Prepare(t.Context(), name, sql); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
