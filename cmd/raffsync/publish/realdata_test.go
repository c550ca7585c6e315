package publish

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The worked example, against a broker in memory.
func TestCommand_AShopsYear(t *testing.T) {
	folder := os.Getenv("RAFFSYNC_SHARED_DATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	file := filepath.Join(folder, "uk_online_retail_541909.csv.gz")
	if _, err := os.Stat(file); err != nil {
		t.Skipf("the real data is not on this machine (RAFFSYNC_SHARED_DATA names its folder): %v", err)
	}
	b := startBroker(t, nil)
	args := with(mapping, file, "--to", b.address, "--json")
	first := run(t, within(t), nil, args...)
	if got := first.summary(t); first.code != 0 || got.Lines != 541_909 || got.Events != 25_900 || got.Accepted != 25_900 {
		t.Errorf("exit %d: %v %+v", first.code, first.err, got)
	}
	kinds, keys := map[string]int{}, map[string]bool{}
	for id, e := range b.events {
		kinds[e.Type]++
		keys[e.OrderingKey] = true
		if strings.HasPrefix(id, "C") != (e.Type == "invoice.cancelled") {
			t.Errorf("%s is %s", id, e.Type)
		}
	}
	if len(b.events) != 25_900 || kinds["invoice.cancelled"] != 3_836 || kinds["invoice.issued"] != 22_064 || len(keys) != 4_372+3_710 {
		t.Errorf("%d events, %v, %d keys", len(b.events), kinds, len(keys))
	}
	again := run(t, within(t), nil, args...)
	if got := again.summary(t); again.code != 0 || got.Duplicates != 25_900 {
		t.Errorf("exit %d: %v %+v", again.code, again.err, got)
	}
}
