package mapping

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestDate(t *testing.T) {
	for _, test := range []struct{ value, zone, pattern, want string }{
		{`"2026-11-23T20:00:00Z"`, "Asia/Jakarta", "dd/MM/yyyy", "24/11/2026"},
		{`"2026-11-23T20:00:00.123456789+02:00"`, "UTC", "yyyy-MM-dd HH:mm:ss.SSS", "2026-11-23 18:00:00.123"},
		{`"2026-11-23"`, "Asia/Jakarta", "dd/MM/yyyy", "23/11/2026"},
		{`"2026-11-23"`, "America/New_York", "iso", "2026-11-23T00:00:00-05:00"},
		{`"2026-11-23 20:00:00"`, "Asia/Jakarta", "iso", "2026-11-23T20:00:00+07:00"},
		{`"2026-11-23T20:00:00"`, "Asia/Jakarta", "iso", "2026-11-23T20:00:00+07:00"},
		{`"2026-11-23 20:00:00 +0000"`, "Asia/Jakarta", "iso", "2026-11-24T03:00:00+07:00"},
		{`"2026-11-23T20:00:00+0000"`, "UTC", "iso", "2026-11-23T20:00:00Z"},
		{`1795464000`, "Asia/Jakarta", "iso", "2026-11-24T03:00:00+07:00"},
		{`1795464000123`, "UTC", "HH:mm:ss.SSS", "20:00:00.123"},
		{`1795464000.25`, "UTC", "ss.SSS", "00.250"},
		{`"1795464000"`, "UTC", "iso", "2026-11-23T20:00:00Z"},
		{`1.795464e9`, "UTC", "iso", "2026-11-23T20:00:00Z"},
		{`99999999999999`, "UTC", "yyyy", "5138"},
		// Over the change to summer time and back, and in a zone with half an hour.
		{`"2026-03-29T00:59:59Z"`, "Europe/Berlin", "iso", "2026-03-29T01:59:59+01:00"},
		{`"2026-03-29T01:00:00Z"`, "Europe/Berlin", "iso", "2026-03-29T03:00:00+02:00"},
		{`"2026-10-25T01:30:00Z"`, "Europe/Berlin", "iso", "2026-10-25T02:30:00+01:00"},
		{`"2026-03-29 02:30:00"`, "Europe/Berlin", "iso", "2026-03-29T03:30:00+02:00"},
		{`"2026-11-23T20:00:00Z"`, "Asia/Kolkata", "d/M/yy h:mm a XX", "24/11/26 1:30 AM +0530"},
		{`"2026-01-02T03:04:05Z"`, "UTC", "EEEE, d MMMM yyyy 'at' HH'h'", "Friday, 2 January 2026 at 03h"},
		{`"2026-01-02T03:04:05Z"`, "UTC", "EEE dd MMM 'Jan 2006' HH.m.s", "Fri 02 Jan Jan 2006 03.4.5"},
		{`"2026-01-02"`, "UTC", "yyyyMMdd", "20260102"},
		{`"2026-01-02T03:04:05Z"`, "UTC", "yyyy-MM-ddTHH:mm:ssXXX", "2026-01-02T03:04:05Z"},

		{`20261123`, "UTC", "iso", notDate},
		{`"20261123"`, "UTC", "iso", notDate},
		{`0`, "UTC", "iso", notDate},
		{`-1795464000`, "UTC", "iso", notDate},
		{`1e14`, "UTC", "iso", notDate},
		{`""`, "UTC", "iso", notDate},
		{`"23/11/2026"`, "UTC", "iso", notDate},
		{`"2026-02-30"`, "UTC", "iso", notDate},
		{`"0001-01-01T00:00:00Z"`, "UTC", "iso", notDate},
		{`true`, "UTC", "iso", notDate},
		{`1e9999999`, "UTC", "iso", "a number has more than 1000 digits"},
		{`"2026-11-23"`, "", "iso", badZone},
		{`"2026-11-23"`, "Local", "iso", badZone},
		{`"2026-11-23"`, "../etc/passwd", "iso", badZone},
		{`"2026-11-23"`, "UTC", "", badPattern},
		{`"2026-11-23"`, "UTC", "yyyyy", badPattern},
		{`"2026-11-23"`, "UTC", "dd.MM.YYYY", badPattern},
		{`"2026-11-23"`, "UTC", "2006-01-02", badPattern},
		{`"2026-11-23"`, "UTC", "dd 'of", badPattern},
		{`"2026-11-23"`, "UTC", strings.Repeat("d ", 51), badPattern},
	} {
		// As variables, so that nothing is refused at load already.
		text, err := CompileText("${date(body.v, body.z, body.p)}", Events())
		if err != nil {
			t.Fatal(err)
		}
		zone, _ := json.Marshal(test.zone)
		pattern, _ := json.Marshal(test.pattern)
		body := `{"v":` + test.value + `,"z":` + string(zone) + `,"p":` + string(pattern) + `}`
		got, _, err := text.Render(t.Context(), &Scope{Body: NewBody([]byte(body))})
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s in %s as %s: %s, want %s", test.value, test.zone, test.pattern, got, test.want)
		}
	}
}

func TestDate_Outlet(t *testing.T) {
	text, err := CompileText("${date(event.occurred_at, outlet.timezone, 'dd/MM/yyyy HH:mm')}", Events())
	if err != nil {
		t.Fatal(err)
	}
	scope := testScope("{}")
	if got, _, err := text.Render(t.Context(), scope); err != nil || got != "23/11/2026 17:00" {
		t.Error(got, err)
	}
	scope.Outlet = Outlet{}
	if _, _, err := text.Render(t.Context(), scope); err == nil || err.Error() != noZone {
		t.Error(err)
	}
	if has, err := CompileText("${has(outlet.timezone)}", Events()); err != nil {
		t.Error(err)
	} else if got, _, err := has.Render(t.Context(), scope); err != nil || got != "false" {
		t.Error(got, err)
	}
}

// What is computed must not fill the memory with zones and patterns.
func TestDate_KeepsFew(t *testing.T) {
	kept := bounded256[int, time.Duration]{make: func(i int) (time.Duration, bool) { return time.Duration(i), i != 5 }}
	for i := range 1000 {
		if v, ok := kept.get(i); ok != (i != 5) || ok && int(v) != i {
			t.Fatal(i, v, ok)
		}
	}
	if len(kept.made) != 256 {
		t.Error(len(kept.made))
	}
}
