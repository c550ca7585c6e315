package publish

import (
	"errors"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"raffsync/connectors/client"
	"raffsync/connectors/filesource"
)

func TestMoment(t *testing.T) {
	up := func(accepted uint64) client.Stats { return client.Stats{Connected: true, Accepted: accepted} }
	down := client.Stats{Accepted: 3, Trouble: status.Error(codes.Unavailable, "connection\nrefused")}
	for name, tc := range map[string]struct {
		m          moment
		bar, words string
	}{
		"Reading": {
			moment{read: filesource.Progress{Lines: 341_000, Total: -1}, part: .5, sent: up(0), since: time.Second},
			"[████████████░░░░░░░░░░░░]  50%  reading, 341,000 lines", "0 events acknowledged, 341,000 lines read, 0/s",
		},
		"ReadingAPipe": {
			moment{read: filesource.Progress{Lines: 7, Total: -1}, part: -1, sent: up(0)},
			"reading, 7 lines", "0 events acknowledged, 7 lines read, 0/s",
		},
		"SendingAWholeFile": {
			moment{read: filesource.Progress{Lines: 541_909, Events: 20_000, Total: 25_900}, part: 1, sent: up(12_950), since: 2 * time.Second},
			"[████████████░░░░░░░░░░░░]  50%  12,950 of 25,900 acknowledged  6,475/s", "12,950 of 25,900 events acknowledged, 541,909 lines read, 6,475/s",
		},
		"SendingWhileReading": {
			moment{read: filesource.Progress{Lines: 90, Events: 90, Total: -1}, part: .25, sent: up(80), since: time.Second},
			"[██████░░░░░░░░░░░░░░░░░░]  25%  80 acknowledged  80/s", "80 events acknowledged, 90 lines read, 80/s",
		},
		"SendingAPipe": {
			moment{read: filesource.Progress{Lines: 90, Events: 90, Total: -1}, part: -1, sent: up(80), since: time.Second},
			"90 read  80 acknowledged  80/s", "80 events acknowledged, 90 lines read, 80/s",
		},
		"Trouble": {
			moment{read: filesource.Progress{Lines: 9, Events: 9, Total: -1}, part: -1, sent: down, since: time.Second},
			"3 acknowledged  waiting for the broker: connection refused", "3 events acknowledged, 9 lines read, 3/s; waiting for the broker: connection refused",
		},
		"EmptyFile": {
			moment{read: filesource.Progress{Total: 0}, part: 1, sent: up(0), since: time.Second},
			"[████████████████████████] 100%  reading, 0 lines", "0 of 0 events acknowledged, 0 lines read, 0/s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.m.bar(100); got != tc.bar {
				t.Errorf("bar: %q, want %q", got, tc.bar)
			}
			if got := tc.m.words(); got != tc.words {
				t.Errorf("words: %q, want %q", got, tc.words)
			}
		})
	}
}

func TestMoment_PropertyOfTheBarsWidth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.IntRange(2, 200).Draw(t, "columns")
		m := moment{
			read:  filesource.Progress{Lines: rapid.Int64Min(0).Draw(t, "lines"), Total: rapid.Int64Min(-1).Draw(t, "total")},
			part:  rapid.Float64Range(-1, 2).Draw(t, "part"),
			sent:  client.Stats{Accepted: rapid.Uint64Max(1<<40).Draw(t, "accepted"), Trouble: errors.New(rapid.String().Draw(t, "trouble"))},
			since: time.Duration(rapid.Int64Min(0).Draw(t, "since")),
		}
		if got := m.bar(columns); utf8.RuneCountInString(got) >= columns {
			t.Errorf("%d columns of %d: %q", utf8.RuneCountInString(got), columns, got)
		}
	})
}

func TestThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 25_900: "25,900", 541_909_000: "541,909,000", -1234: "-1,234"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
