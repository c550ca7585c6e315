package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"raffsync/cmd/raffsync/config"
	"raffsync/connectors"
	"raffsync/connectors/chat"
	"raffsync/connectors/mail"
	"raffsync/connectors/recipe"
	"raffsync/connectors/rules"
	"raffsync/connectors/webhook"
)

// signingSecret is a Standard Webhooks secret, for tests alone.
const signingSecret = "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="

// secrets puts what the files in testdata refer to into the environment and into a
// working directory of its own.
func secrets(t testing.TB) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("BOOKS_SECRET", signingSecret)
	t.Setenv("STOCK_TOKEN", "Bearer hunter2hunter2")
	t.Setenv("EMPTY", "")
	t.Setenv("CHAT_URL", "https://chat.example/hooks/hunter2hunter2")
	t.Setenv("WEAK", "hunter2hunter2")
	write(t, "stock.secret", signingSecret+"\n", 0o644)
}

// write sets the mode apart, since umask takes of it at creation.
func write(t testing.TB, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// options know the webhook connector, and a second kind so that there is a choice.
func options(secrets bool) config.Options {
	return config.Options{
		Registry:      connectors.Registry{"webhook": webhook.Factory, "recipe": recipe.Factory, "bucket": bucket},
		Notices:       connectors.Registry{"mail": mail.Factory, "chat": chat.Factory, "webhook": webhook.Factory},
		Rules:         map[string]func(connectors.Options) (*rules.Set, error){"webhook": webhook.Rules, "recipe": recipe.Rules},
		AllowLoopback: true,
		Secrets:       secrets,
	}
}

// bucket has one setting, and says nothing of the others.
func bucket(o connectors.Options) (connectors.Destination, error) {
	var settings struct{ Path string }
	if err := json.Unmarshal(o.Settings, &settings); err != nil {
		return nil, err
	}
	if settings.Path == "" {
		return nil, errors.New("path: is missing")
	}
	return planning{}, nil
}

// planning knows two calls, and wants texts in maps that are not too long.
type planning struct{ connectors.Destination }

func (planning) Plan(s connectors.StepConfig) (any, error) {
	if s.Call != "" && s.Call != "order.save" && s.Call != "invoice.save" {
		return nil, &connectors.PlanError{Path: "call", Message: fmt.Sprintf("there is no call %q; expected order.save or invoice.save", s.Call)}
	}
	var fields map[string]any
	if s.Map != nil {
		if err := json.Unmarshal(s.Map, &fields); err != nil {
			return nil, err
		}
	}
	if text, ok := fields["number"].(string); ok && strings.Contains(text, "wrong") {
		return nil, &connectors.PlanError{Path: "map.number", Line: 1, Column: strings.Index(text, "wrong") + 1, Message: "that is wrong"}
	}
	return nil, nil
}
