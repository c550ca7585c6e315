package escalate

import (
	"errors"
	"fmt"
	"strings"
	"text/template"
	"time"

	"raffsync/outbox/explain"
)

// phrases are what is said besides the explanation.
type phrases struct {
	subject    map[NoticeKind]string
	open, over [2]string // after one, and after several
	text       *template.Template
}

func phrasesIn(in explain.Language) phrases {
	if in == explain.Indonesian {
		return indonesian
	}
	return english
}

var english = phrases{
	subject: map[NoticeKind]string{Raised: "", Escalated: "Nobody has reacted: ", Repeated: "Still open: ", Resolved: "Over: "},
	open:    [2]string{" cause needs action", " causes need action"}, over: [2]string{" is over", " are over"},
	text: template.Must(template.New("en").Parse(`{{range .Causes}}{{if eq .Kind "RESOLVED" -}}
OVER: {{.Title}}
Raised {{.Since}}, over {{.Until}}. Nothing is left to do.

{{else -}}
{{.Title}}
{{.What}}
{{.Why}}
Next step: {{.NextStep}}
Whose turn: {{.Turn}}. Holds {{.Held}}. Raised {{.Since}}{{if eq .Kind "ESCALATED"}}; nobody has reacted so far{{end}}{{if eq .Kind "REPEATED"}}; told {{.Repeat}} times before{{end}}.
{{with .Acknowledge}}I take it up (one tap): {{.}}
{{end}}
{{end}}{{end}}{{with .More}}And {{.}} more.
{{end}}`)),
}

var indonesian = phrases{
	subject: map[NoticeKind]string{Raised: "", Escalated: "Belum ada yang menangani: ", Repeated: "Masih terbuka: ", Resolved: "Selesai: "},
	open:    [2]string{" masalah perlu ditangani", " masalah perlu ditangani"}, over: [2]string{" selesai", " selesai"},
	text: template.Must(template.New("id").Parse(`{{range .Causes}}{{if eq .Kind "RESOLVED" -}}
SELESAI: {{.Title}}
Muncul {{.Since}}, selesai {{.Until}}. Tidak ada lagi yang perlu dilakukan.

{{else -}}
{{.Title}}
{{.What}}
{{.Why}}
Langkah berikutnya: {{.NextStep}}
Giliran: {{.Turn}}. Tertahan: {{.Held}}. Muncul {{.Since}}{{if eq .Kind "ESCALATED"}}; belum ada yang menangani{{end}}{{if eq .Kind "REPEATED"}}; sudah diberitahukan {{.Repeat}} kali{{end}}.
{{with .Acknowledge}}Saya tangani (sekali ketuk): {{.}}
{{end}}
{{end}}{{end}}{{with .More}}Dan {{.}} lagi.
{{end}}`)),
}

const (
	// maxTemplate and maxNoticeText bound, in bytes, a template and what is made of it.
	maxTemplate   = 16 << 10
	maxNoticeText = 128 << 10
)

// CheckTemplate renders a template of text/template over a [Notice] with one cause of
// each kind, and says what is wrong with it.
func CheckTemplate(text string) error {
	if len(text) > maxTemplate {
		return fmt.Errorf("it has %d bytes; expected at most %d", len(text), maxTemplate)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	sample := Notice{Kind: Digest, Tenant: "tenant", Team: "team", Language: explain.English, Subject: "subject"}
	for _, kind := range []NoticeKind{Raised, Escalated, Repeated, Resolved} {
		sample.Causes = append(sample.Causes, Cause{Kind: kind, Class: "VALIDATION", Title: "title", Held: 1, RaisedAt: at, Since: moment(at, time.UTC)})
	}
	_, err := render(text, &sample)
	return err
}

func render(text string, n *Notice) (string, error) {
	t, err := template.New("template").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var b limited
	if err := t.Execute(&b, n); err != nil {
		return "", err
	}
	return b.String(), nil
}

// limited is a text that does not grow without end.
type limited struct{ strings.Builder }

func (b *limited) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxNoticeText {
		return 0, errors.New("it makes too long a text")
	}
	return b.Builder.Write(p)
}

// text is the notice for people, by the team's own template where it has one that works.
// What is wrong with it comes beside the text, which there is in any case.
func text(n *Notice, own string) (string, error) {
	var wrong error
	if own != "" {
		var made string
		if made, wrong = render(own, n); wrong == nil {
			return made, nil
		}
	}
	var b limited
	if err := phrasesIn(n.Language).text.Execute(&b, n); err != nil {
		return n.Subject, errors.Join(wrong, err)
	}
	return strings.TrimSpace(b.String()) + "\n", wrong
}
