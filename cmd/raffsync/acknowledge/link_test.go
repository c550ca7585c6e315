package acknowledge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"raffsync/outbox"
)

// stamp signs by a key of the test's.
type stamp string

func (k stamp) Sign(purpose string, message []byte) []byte {
	h := hmac.New(sha256.New, []byte(k))
	h.Write([]byte(purpose))
	h.Write(message)
	return h.Sum(nil)
}

func (k stamp) Signed(purpose string, message, signature []byte) bool {
	return hmac.Equal(k.Sign(purpose, message), signature)
}

// noKey is an installation without one.
type noKey struct{ stamp }

func (noKey) Sign(string, []byte) []byte { return nil }

var now = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

const valid = 72 * time.Hour

func token(t testing.TB, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("t")
}

func TestLink(t *testing.T) {
	claim := Claim{"kopi", 42, "mailto:ops@example.com", now.Add(valid), 2 * time.Hour}
	link := Link(stamp("k"), "https://sync.example/", claim)
	if !strings.HasPrefix(link, "https://sync.example/acknowledge?t=") {
		t.Fatal(link)
	}
	made := token(t, link)
	c, err := read(stamp("k"), made, now.Add(valid-time.Second))
	if err != nil || c.Tenant != "kopi" || c.Exception != 42 || c.Address != "mailto:ops@example.com" || c.For != 2*time.Hour {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := read(stamp("k"), made, now.Add(valid)); err != errExpired {
		t.Errorf("an old link: %v", err)
	}
	if _, err := read(stamp("other"), made, now); err != errForged {
		t.Errorf("another installation's: %v", err)
	}
	// What was sent by a version that put no duration into it is taken still.
	message := []byte(strings.Join([]string{"kopi", "42", "mailto:ops@example.com", "1767225600"}, "\x00"))
	old := base64.RawURLEncoding.EncodeToString(message) + "." + base64.RawURLEncoding.EncodeToString(stamp("k").Sign(purpose, message))
	if c, err := read(stamp("k"), old, time.Unix(1767225599, 0)); err != nil || c.For != outbox.DefaultAcknowledgeFor {
		t.Errorf("a link of the version before: %+v, %v", c, err)
	}
	if Link(noKey{}, "https://sync.example", claim) != "" {
		t.Error("a link that nobody has signed")
	}
	for i := range made { // any one letter
		for _, letter := range "A-._~" {
			if tampered := made[:i] + string(letter) + made[i+1:]; tampered != made {
				if _, err := read(stamp("k"), tampered, now); err == nil {
					t.Errorf("%q in place %d is taken", letter, i)
				}
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(token(f, Link(stamp("k"), "https://x", Claim{"kopi", 1, "mailto:a@b", now.Add(valid), time.Hour})))
	f.Add("")
	f.Add(".")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := read(stamp("k"), text, now)
		if err != nil {
			return
		}
		// What is taken is what was made.
		again := token(t, Link(stamp("k"), "https://x", c))
		if again != text {
			t.Errorf("%q is taken for %+v", text, c)
		}
	})
}
