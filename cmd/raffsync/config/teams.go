package config

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"raffsync/connectors"
	"raffsync/connectors/egress"
	"raffsync/outbox"
	"raffsync/outbox/escalate"
)

const (
	maxAddresses = 20
	maxTemplate  = 16 << 10
)

// publicURL is where people reach the installation.
func publicURL(into *string) field {
	const takes = "an address as https://sync.example.com, without a path"
	f := checked("public_url", into, 256, takes, "Where people reach this installation by their browsers: notices then have a link by which whoever reads them takes an exception up.", func(text string) string {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return takes
		}
		if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1") {
			return takes + "; http for this machine alone"
		}
		return ""
	})
	f.fallback = "no links"
	return f
}

func mailFields(c *outbox.MailConfig) []field {
	return []field{
		text("server", &c.Server, 256, "a host and a port, as smtp.example.com:587", "no mail", "What mail is handed to: TLS from the start at port 465, STARTTLS at any other, and nothing is sent without it, but to this machine in development."),
		text("from", &c.From, 256, "an address, as sync@example.com", "no mail", "The sender."),
		text("username", &c.Username, 256, "a name", "no login", "For a server that wants a login."),
		optional(secretReference("password", &c.Password, "With the name."), "no login"),
	}
}

// secretReference is a text that must not be the secret itself.
func secretReference(name string, into *string, doc string) field {
	const takes = "a reference, env:NAME or file:PATH"
	return field{
		name: name, takes: takes, doc: doc,
		decode: func(d *decoder, v value) {
			d.conceal(v.node)
			text, ok := d.text(v, takes, 1200)
			if !ok {
				return
			}
			if _, err := ParseSecretRef(text); err != nil {
				d.fail(v.at(), v.path, "%s", err)
				return
			}
			if d.references[v.path] = text; d.options.Secrets {
				d.checkSecret(v.at(), v.path, text)
			}
			*into = text
		},
	}
}

func teamFields(c *outbox.TeamConfig) []field {
	if c.Language == "" {
		c.Language = "en"
	}
	return []field{
		addresses(&c.Notify),
		choice("language", &c.Language, []string{"en", "id"}, "Of what the team is told."),
		template(&c.Template),
	}
}

func template(into *string) field {
	const takes = "a template, as Go's text/template reads it"
	return field{
		name: "template", takes: takes, fallback: "the text of the language",
		doc: "Of the text of a notice, over `.Subject`, `.Team`, `.More` and the list `.Causes`, each with `.Kind`, `.Title`, `.What`, `.Why`, `.NextStep`, `.Turn`, `.Held`, `.Since`, `.Until`, `.Level`, `.Repeat` and `.Acknowledge`. One that fails at a notice is left aside for it.",
		decode: func(d *decoder, v value) {
			text, ok := d.text(v, takes, maxTemplate)
			if !ok {
				return
			}
			if err := escalate.CheckTemplate(text); err != nil {
				d.fail(v.at(), v.path, "does not work: %s", firstLine(strings.TrimPrefix(err.Error(), "template: template:")))
				return
			}
			*into = text
		},
	}
}

const takesAddress = `mailto:ADDRESS, the https address of a chat's webhook or a reference to it (env:, file:), or {webhook: …} with the settings of a signed webhook`

func addresses(into *[]outbox.AddressConfig) field {
	return field{
		name: "notify", takes: "a list, each " + takesAddress, required: true,
		doc: "Where the team is told, at each of these. A chat's webhook takes `{\"text\": …}`, as Slack's does; a signed webhook gets the whole as JSON.",
		decode: func(d *decoder, v value) {
			sequence, ok := v.node.(*ast.SequenceNode)
			if !ok || len(sequence.Values) == 0 || len(sequence.Values) > maxAddresses {
				d.conceal(v.node)
				d.fail(v.at(), v.path, "found %s; expected a list of 1 to %d, each %s", v.kind(), maxAddresses, takesAddress)
				return
			}
			for _, n := range sequence.Values {
				e := value{path: element(v.path, len(*into)), node: n} // the place that it gets, if any
				d.places[e.path] = e.at()
				d.names[e.path] = e.at()
				address, ok := d.address(e)
				if !ok {
					continue
				}
				if slices.ContainsFunc(*into, func(o outbox.AddressConfig) bool { return o.Destination() == address.Destination() }) {
					d.fail(e.at(), v.path, "%s stands there twice", address.Destination())
				}
				*into = append(*into, address)
			}
		},
	}
}

func (d *decoder) address(v value) (a outbox.AddressConfig, ok bool) {
	if v.kind() == "a mapping" {
		d.conceal(v.node)
		d.object(v, []field{{name: "webhook", takes: "the settings of a signed webhook", required: true, decode: func(d *decoder, v value) {
			a.Kind = "webhook"
			a.Settings, ok = d.settings(v)
		}}})
		return a, ok
	}
	text, ok := d.text(v, takesAddress, 1200)
	if !ok {
		return a, false
	}
	settings := map[string]string{}
	mailbox, isMail := strings.CutPrefix(text, "mailto:")
	_, err := ParseSecretRef(text)
	switch {
	case isMail:
		a.Kind, settings["to"] = outbox.KindMail, mailbox
	case strings.HasPrefix(text, "https://"), strings.HasPrefix(text, "http://"), err == nil:
		d.conceal(v.node)
		a.Kind, settings["url"] = outbox.KindChat, text
	default:
		d.conceal(v.node)
		d.fail(v.at(), v.path, "found no address; expected %s", takesAddress)
		return a, false
	}
	a.Settings, _ = json.Marshal(settings) // texts always marshal
	return a, true
}

// checkAddresses builds what delivers to each address once. Nothing is sent.
func (d *decoder) checkAddresses(c *outbox.Configuration) {
	if d.options.Notices == nil {
		return
	}
	destinations, _ := c.Notices()
	seen := map[string]bool{}
	for _, team := range c.Teams {
		for i, address := range team.Notify {
			path := element("teams."+team.Name+".notify", i)
			name := address.Destination()
			if seen[name] {
				continue
			}
			seen[name] = true
			if address.Kind == outbox.KindMail && (c.Mail.Server == "" || c.Mail.From == "") {
				d.fail(d.places[path], path, "is a mail address, and there is no server for mail; expected mail: {server: …, from: …} in the file")
				continue
			}
			at := slices.IndexFunc(destinations, func(o outbox.DestinationConfig) bool { return o.Name == name })
			d.checkAddress(path, destinations[at])
		}
	}
}

func (d *decoder) checkAddress(path string, c outbox.DestinationConfig) {
	_, err := d.options.Notices.New(c.Kind, connectors.Options{
		Name: c.Name, Settings: c.Settings, AllowLoopback: d.options.AllowLoopback,
		Secret: func(reference string) (string, error) {
			if _, err := ParseSecretRef(reference); err != nil {
				return "", err
			}
			if !d.options.Secrets {
				return "", errUnresolved
			}
			return ResolveSecret(reference)
		},
	})
	said := false
	for _, cause := range causes(err) {
		if strings.Contains(cause.Error(), errUnresolved.Error()) {
			continue
		}
		said = true
		message := strings.TrimPrefix(cause.Error(), fmt.Sprintf("destination %q: ", c.Name))
		if c.Kind == "webhook" {
			d.settingProblem(join(path, "webhook"), message)
			continue
		}
		field, rest, _ := strings.Cut(message, ": ")
		if field != "to" && field != "url" { // of the server
			d.fail(d.places[join("mail", field)], join("mail", field), "%s", rest)
			continue
		}
		d.fail(d.places[path], path, "%s", rest)
	}
	if !said && c.Kind == "webhook" {
		d.checkInward(join(path, "webhook.url"), c.Settings)
	}
}

// checkInward refuses an address that the client would not reach, as far as it shows.
func (d *decoder) checkInward(path string, settings json.RawMessage) {
	var s struct{ URL string }
	_ = json.Unmarshal(settings, &s)
	u, err := url.Parse(s.URL)
	if err != nil {
		return
	}
	client, err := egress.New(egress.Config{AllowLoopback: d.options.AllowLoopback, AllowHTTP: d.options.AllowLoopback})
	if err == nil {
		err = client.Allows(u)
	}
	if err != nil {
		d.fail(d.places[path], path, "%s", err)
	}
}
