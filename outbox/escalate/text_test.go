package escalate

import (
	"strings"
	"testing"
	"time"

	"raffsync/outbox/explain"
)

func TestText(t *testing.T) {
	t.Parallel()
	closed := wall(t, jakarta, "2026-11-24 12:00")
	r := &row{
		Exception: 7, Class: "SKU_UNMAPPED", Destination: "stock", Field: "sku", Code: "LATTE-OAT", LookedUp: "LATTE-OAT", Held: 6,
		OpenedAt: wall(t, jakarta, "2026-11-24 10:00"), policy: &Policy{Hours: hours(t, jakarta, "Mon-Sun 09:00-22:00")},
	}
	over := *r
	over.ClosedAt = &closed
	for name, c := range map[string]struct {
		language explain.Language
		causes   []Cause
		want     string
	}{
		"Escalated": {explain.English, []Cause{r.cause(Escalated, 2, 0, explain.English)}, `Nobody has reacted: No mapping for sku LATTE-OAT

No mapping for sku LATTE-OAT
Waiting for stock: 6 deliveries with LATTE-OAT.
Nobody has said yet what LATTE-OAT is called at stock: the mapping table sku has no entry for it.
Next step: Add the entry to sku. Everything that waits for it then goes out by itself, in order.
Whose turn: the catalogue team. Holds 6. Raised 2026-11-24 10:00 WIB; nobody has reacted so far.
I take it up (one tap): https://link
`},
		"Digest": {explain.English, []Cause{r.cause(Repeated, 1, 3, explain.English), over.cause(Resolved, 1, 0, explain.English)}, `1 cause needs action, 1 is over

No mapping for sku LATTE-OAT
Waiting for stock: 6 deliveries with LATTE-OAT.
Nobody has said yet what LATTE-OAT is called at stock: the mapping table sku has no entry for it.
Next step: Add the entry to sku. Everything that waits for it then goes out by itself, in order.
Whose turn: the catalogue team. Holds 6. Raised 2026-11-24 10:00 WIB; told 3 times before.
I take it up (one tap): https://link

OVER: No mapping for sku LATTE-OAT
Raised 2026-11-24 10:00 WIB, over 2026-11-24 12:00 WIB. Nothing is left to do.
`},
		"Selesai": {explain.Indonesian, []Cause{over.cause(Resolved, 1, 0, explain.Indonesian)}, `Selesai: sku LATTE-OAT belum dipetakan

SELESAI: sku LATTE-OAT belum dipetakan
Muncul 2026-11-24 10:00 WIB, selesai 2026-11-24 12:00 WIB. Tidak ada lagi yang perlu dilakukan.
`},
	} {
		t.Run(name, func(t *testing.T) {
			n := compose("kopi", "team", c.language, c.causes)
			for i := range n.Causes {
				if n.Causes[i].Kind != Resolved {
					n.Causes[i].Acknowledge = "https://link"
				}
			}
			made, err := text(&n, "")
			if got := n.Subject + "\n\n" + made; err != nil || got != c.want {
				t.Errorf("%v\n%s\nwant\n%s", err, got, c.want)
			}
		})
	}
}

// As much as a digest may hold fits into its text, in either language.
func TestText_Longest(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	r := &row{Class: "SKU_UNMAPPED", Destination: strings.Repeat("d", 63), Field: long, Code: long, OpenedAt: time.Now()}
	for _, in := range []explain.Language{explain.English, explain.Indonesian} {
		causes := make([]Cause, 60)
		for i := range causes {
			causes[i] = r.cause(Repeated, 1, 1, in)
			causes[i].Acknowledge = strings.Repeat("l", 300)
		}
		n := compose("kopi", "team", in, causes)
		if made, err := text(&n, ""); err != nil || n.More != 40 || !strings.Contains(made, "40") || strings.Count(made, "llll") == 0 {
			t.Errorf("%s: %d bytes, %d more, %v", in, len(made), n.More, err)
		}
	}
}

func TestCheckTemplate(t *testing.T) {
	t.Parallel()
	if err := CheckTemplate(`{{.Subject}} {{range .Causes}}{{.Title}} {{.Held}} {{.Acknowledge}}{{end}}`); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{
		"NoSuchField": `{{.Subjekt}}`, "NotClosed": `{{range .Causes}}`, "NoSuchFunction": `{{env "HOME"}}`,
		"Endless": `{{define "x"}}{{template "x"}}{{end}}{{template "x"}}`, "TooMuch": `{{printf "%200000d" 1}}`, "TooLong": strings.Repeat("x", maxTemplate+1),
	} {
		if err := CheckTemplate(text); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
