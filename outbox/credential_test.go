package outbox_test

import (
	"errors"
	"strings"
	"testing"

	"raffsync/outbox"
)

func TestStore_Keys(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	key, err := s.CreateKey(t.Context(), clerk, "till")
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Authenticate(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if want := (outbox.Credential{Tenant: "kopi", Source: s.source, SourceName: "till", Prefix: strings.Split(key, "_")[1]}); c != want {
		t.Errorf("it proves %+v, want %+v", c, want)
	}
	other, err := s.CreateKey(t.Context(), clerk, "web shop") // which is not configured yet
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.SplitN(key, "_", 3)[2]
	for what, wrong := range map[string]string{
		"nothing": "", "no key": "secret", "another secret": key[:len(key)-1] + "!", "no secret": strings.TrimSuffix(key, secret),
		"another's secret": strings.TrimSuffix(other, strings.SplitN(other, "_", 3)[2]) + secret, "another tag": "xx" + key[2:],
		"another prefix": "rs_00000000_" + secret, "no prefix": "rs__" + secret, "a NUL": "rs_\x00\x00_" + secret, "no text": "rs_\xff_" + secret,
		"the hash": "rs_" + c.Prefix + "_" + one[string](s, `SELECT encode(hash, 'base64') FROM api_keys WHERE prefix = $1`, c.Prefix),
	} {
		if _, err := s.Authenticate(t.Context(), wrong); !errors.Is(err, outbox.ErrUnauthenticated) {
			t.Errorf("%s: %v, want that it is refused", what, err)
		}
	}
	if n := one[int](s, `SELECT count(*) FROM api_keys WHERE hash::text LIKE '%' || $1 || '%' OR created_by LIKE '%' || $1 || '%'`, secret); n != 0 {
		t.Error("the secret is stored")
	}
	if n := one[int](s, `SELECT count(*) FROM timeline WHERE what = 'key' AND actor = 'ayu' AND reason NOT LIKE '%' || $1 || '%'`, secret); n != 2 {
		t.Errorf("%d entries, want 2 without the secret", n)
	}

	keys, err := s.Keys(t.Context(), "kopi")
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys %v, %v; want 2", keys, err)
	}
	if others, err := s.Keys(t.Context(), "teh"); err != nil || len(others) != 0 {
		t.Errorf("another tenant's keys are %v, %v", others, err)
	}
	if err := s.RevokeKey(t.Context(), outbox.Actor{Tenant: "teh", Name: "budi"}, c.Prefix); !errors.Is(err, outbox.ErrNotFound) {
		t.Errorf("another tenant revokes it: %v", err)
	}
	if err := s.RevokeKey(t.Context(), clerk, c.Prefix); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authenticate(t.Context(), key); !errors.Is(err, outbox.ErrUnauthenticated) {
		t.Errorf("revoked: %v, want that it is refused", err)
	}
	if err := s.RevokeKey(t.Context(), clerk, c.Prefix); !errors.Is(err, outbox.ErrNotFound) {
		t.Errorf("revoked a second time: %v", err)
	}
	if _, err := s.Authenticate(t.Context(), other); err != nil {
		t.Errorf("the other key: %v", err)
	}
}

func TestStore_Operators(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	if err := s.SetOperator(t.Context(), clerk, "budi", "7hq2-kd9x"); err != nil {
		t.Fatal(err)
	}
	if who, err := s.AuthenticateOperator(t.Context(), "budi", "7hq2-kd9x"); err != nil || who != (outbox.Actor{Tenant: "kopi", Name: "budi"}) {
		t.Errorf("it is %+v, %v", who, err)
	}
	for what, login := range map[string][2]string{
		"another secret": {"budi", "7hq2-kd9y"}, "no secret": {"budi", ""}, "nobody": {"siti", "7hq2-kd9x"}, "a NUL": {"bu\x00di", "7hq2-kd9x"}, "no text": {"\xff", "x"},
	} {
		if _, err := s.AuthenticateOperator(t.Context(), login[0], login[1]); !errors.Is(err, outbox.ErrUnauthenticated) {
			t.Errorf("%s: %v, want that it is refused", what, err)
		}
	}
	// The name is taken, whoever's it is; its owner may set another secret.
	if err := s.SetOperator(t.Context(), outbox.Actor{Tenant: "teh", Name: "x"}, "budi", "stolen"); err == nil {
		t.Error("another tenant took the name over")
	}
	if err := s.SetOperator(t.Context(), clerk, "budi", "new-secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AuthenticateOperator(t.Context(), "budi", "7hq2-kd9x"); !errors.Is(err, outbox.ErrUnauthenticated) {
		t.Errorf("the old secret: %v, want that it is refused", err)
	}
	if err := s.SetOperator(t.Context(), clerk, "long", strings.Repeat("x", 73)); err == nil {
		t.Error("a secret was taken of which bcrypt reads the beginning only")
	}
	if err := s.RevokeOperator(t.Context(), outbox.Actor{Tenant: "teh", Name: "x"}, "budi"); !errors.Is(err, outbox.ErrNotFound) {
		t.Errorf("another tenant ends the login: %v", err)
	}
	if err := s.RevokeOperator(t.Context(), clerk, "budi"); err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeOperator(t.Context(), clerk, "budi"); !errors.Is(err, outbox.ErrNotFound) {
		t.Errorf("ended a second time: %v", err)
	}
	if all, err := s.Operators(t.Context(), "kopi"); err != nil || len(all) != 1 || all[0].Name != "budi" || all[0].RevokedAt == nil || all[0].CreatedBy != "ayu" {
		t.Errorf("the list: %+v, %v", all, err)
	}
	if _, err := s.AuthenticateOperator(t.Context(), "budi", "new-secret"); !errors.Is(err, outbox.ErrUnauthenticated) {
		t.Errorf("revoked: %v, want that it is refused", err)
	}
}
