package acknowledge

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/url"
	"strings"
	"testing"
	"time"
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

func token(t testing.TB, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("t")
}

func TestLink(t *testing.T) {
	link := Link(stamp("k"), "https://sync.example/", "kopi", 42, "mailto:ops@example.com", now)
	if !strings.HasPrefix(link, "https://sync.example/acknowledge?t=") {
		t.Fatal(link)
	}
	made := token(t, link)
	c, err := read(stamp("k"), made, now.Add(Valid-time.Second))
	if err != nil || c.Tenant != "kopi" || c.Exception != 42 || c.Address != "mailto:ops@example.com" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := read(stamp("k"), made, now.Add(Valid)); err != errExpired {
		t.Errorf("an old link: %v", err)
	}
	if _, err := read(stamp("other"), made, now); err != errForged {
		t.Errorf("another installation's: %v", err)
	}
	if Link(noKey{}, "https://sync.example", "kopi", 42, "x", now) != "" {
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
	f.Add(token(f, Link(stamp("k"), "https://x", "kopi", 1, "mailto:a@b", now)))
	f.Add("")
	f.Add(".")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := read(stamp("k"), text, now)
		if err != nil {
			return
		}
		// What is taken is what was made.
		again := token(t, Link(stamp("k"), "https://x", c.Tenant, c.Exception, c.Address, c.Expires.Add(-Valid)))
		if again != text {
			t.Errorf("%q is taken for %+v", text, c)
		}
	})
}
