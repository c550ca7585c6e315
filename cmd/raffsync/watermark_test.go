package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestWatermark(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	var now space
	var broken error
	w := &watermark{log: slog.New(slog.DiscardHandler), measure: func(context.Context) (space, error) { return now, broken }}
	for _, step := range []struct {
		free, size uint64
		broken     bool
		full       bool
		why        string
	}{
		{free: 50 * gib, size: 100 * gib, full: false, why: "half is free"},
		{free: 2*gib - 1, size: 100 * gib, full: true, why: "less than 2 GiB"},
		{free: 2*gib + 1, size: 100 * gib, full: true, why: "hardly more: it would flap"},
		{free: 99 * gib, size: 100 * gib, broken: true, full: true, why: "nothing can be seen"},
		{free: 2*gib + gib/2, size: 100 * gib, full: false, why: "a quarter more"},
		{free: gib, size: 10 * gib, full: false, why: "a tenth of a small disk"},
		{free: gib / 4, size: 10 * gib, full: true, why: "a fortieth of a small disk"},
	} {
		now, broken = space{step.free, step.size}, nil
		if step.broken {
			broken = errors.New("no such disk")
		}
		if w.look(t.Context()); (w.full() != "") != step.full {
			t.Errorf("%s: full says %q, want %t", step.why, w.full(), step.full)
		}
	}
	if got := (spaceFlags{MinFree: 5 * gib}).judge(space{4 * gib, 100 * gib}, false); got == "" {
		t.Error("what is asked for is not kept")
	}
	if w := newWatermark(spaceFlags{}, &database{}, nil, nil); w.measure != nil {
		t.Error("it measures a disk that it cannot see")
	}
}

func TestByteSize(t *testing.T) {
	t.Parallel()
	var b byteSize
	if err := b.UnmarshalText([]byte("2GiB")); err != nil || b != 2<<30 || b.String() != "2.0 GiB" {
		t.Errorf("%d, %s, %v", b, b, err)
	}
	for _, text := range []string{"", "2", "2GB", "-2GiB", "0GiB", "2.5GiB", "99999999999TiB"} {
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// Below the watermark sources are refused, and /readyz says why; what is here is served.
func TestProgram_RefusesEventsBeforeTheDiskIsFull(t *testing.T) {
	t.Parallel()
	in := newInstallation(t)
	config := in.write("shop.yaml", fmt.Sprintf(bareShop, "file:"+in.write("books.secret", receiverSecret)))
	event := in.write("event.jsonl", `{"id":"1042","type":"order.created","orderingKey":"order/1042","textData":"{}"}`+"\n")
	p := in.start("serve", "--development", "--config", config, "--min-free", "1000TiB")
	p.until(`"msg":"ready"`)
	key := in.write("till.key", strings.TrimSpace(in.run("keys", "create", "till")))
	if _, stderr, code := in.try("publish", event, "--to", in.grpc, "--key-file", key, "--give-up-after", "2s"); code == 0 {
		t.Errorf("it is taken in:\n%s", stderr)
	}
	if status := get(t, "http://"+in.http+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz answers %d", status)
	}
	if !strings.Contains(p.log.String(), "nearly full") {
		t.Errorf("the log does not say why:\n%s", p.log)
	}
	if n := query[int](t, in.database(), `SELECT count(*) FROM events`); n != 0 {
		t.Errorf("%d events are kept", n)
	}
}
