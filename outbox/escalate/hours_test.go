package escalate

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func hours(t testing.TB, zone, open string, holidays ...string) *Hours {
	t.Helper()
	h, err := ParseHours(zone, open, holidays)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// wall is a moment by the clock of a zone.
func wall(t testing.TB, zone, text string) time.Time {
	t.Helper()
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation("2006-01-02 15:04", text, location)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestHours_Add(t *testing.T) {
	t.Parallel()
	const jakarta, london = "Asia/Jakarta", "Europe/London"
	for name, c := range map[string]struct {
		zone, open string
		holidays   []string
		from       string
		d          time.Duration
		want       string
	}{
		"Inside":            {jakarta, "Mon-Sun 09:00-22:00", nil, "2026-11-24 10:00", 30 * time.Minute, "2026-11-24 10:30"},
		"BeforeOpening":     {jakarta, "Mon-Sun 09:00-22:00", nil, "2026-11-24 05:00", 30 * time.Minute, "2026-11-24 09:30"},
		"OverNight":         {jakarta, "Mon-Sun 09:00-22:00", nil, "2026-11-24 21:50", 30 * time.Minute, "2026-11-25 09:20"},
		"AtClosing":         {jakarta, "Mon-Sun 09:00-22:00", nil, "2026-11-24 21:30", 30 * time.Minute, "2026-11-24 22:00"},
		"Nothing":           {jakarta, "Mon-Sun 09:00-22:00", nil, "2026-11-24 23:00", 0, "2026-11-25 09:00"},
		"OverAHoliday":      {jakarta, "Mon-Sun 09:00-22:00", []string{"2026-12-25"}, "2026-12-24 21:50", 30 * time.Minute, "2026-12-26 09:20"},
		"OverAWeekend":      {jakarta, "Mon-Fri 09:00-17:00", nil, "2026-11-27 16:00", 2 * time.Hour, "2026-11-30 10:00"},
		"ALunchBreak":       {jakarta, "Mon-Sun 09:00-12:00 13:00-17:00", nil, "2026-11-24 11:30", time.Hour, "2026-11-24 13:30"},
		"PastMidnight":      {jakarta, "Fri 18:00-02:00", nil, "2026-11-28 01:00", 2 * time.Hour, "2026-12-04 19:00"},
		"SunToMon":          {jakarta, "Sun-Mon 10:00-11:00", nil, "2026-11-24 00:00", 90 * time.Minute, "2026-11-30 10:30"},
		"ForwardAnHour":     {london, "Mon-Sun 00:00-24:00", nil, "2026-03-29 00:30", time.Hour, "2026-03-29 02:30"},
		"BackAnHour":        {london, "Mon-Sun 00:00-24:00", nil, "2026-10-25 00:30", 2 * time.Hour, "2026-10-25 01:30"},
		"OpensAtTheOldHour": {london, "Mon-Sun 09:00-17:00", nil, "2026-10-24 16:30", time.Hour, "2026-10-25 09:30"},
		"AYearAhead":        {jakarta, "Mon 09:00-10:00", nil, "2026-11-24 00:00", 40 * time.Hour, "2027-08-30 10:00"},
	} {
		t.Run(name, func(t *testing.T) {
			h := hours(t, c.zone, c.open, c.holidays...)
			at, ok := h.Add(wall(t, c.zone, c.from), c.d)
			if got := at.In(h.zone).Format("2006-01-02 15:04"); !ok || got != c.want {
				t.Errorf("%s (%t), want %s", got, ok, c.want)
			}
		})
	}
	if at, ok := hours(t, jakarta, "Mon 09:00-10:00").Add(wall(t, jakarta, "2026-11-24 00:00"), 100*time.Hour); ok {
		t.Errorf("%s, want none: it is open for an hour a week", at)
	}
	var always *Hours
	if at, ok := always.Add(time.Unix(0, 0), time.Hour); !ok || !at.Equal(time.Unix(3600, 0)) {
		t.Errorf("always open: %s", at)
	}
}

// What Add adds, Between finds again.
func TestHours_AddBetween(t *testing.T) {
	t.Parallel()
	all := []*Hours{
		hours(t, "Europe/London", "Mon-Fri 09:00-17:30, Sat 10:00-14:00 20:00-01:00", "2026-10-26", "2026-03-30"),
		hours(t, "Asia/Jakarta", "Mon-Sun 22:00-06:00"),
		hours(t, "Australia/Lord_Howe", "Mon-Sun 00:00-24:00"), // its summer time is half an hour
	}
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.SampledFrom(all).Draw(t, "hours")
		from := time.Unix(1772000000+rapid.Int64Range(0, 300*24*3600).Draw(t, "from"), 0)
		d := time.Duration(rapid.Int64Range(0, 200*3600).Draw(t, "seconds")) * time.Second
		at, ok := h.Add(from, d)
		if !ok {
			t.Fatalf("never")
		}
		if got := h.Between(from, at); got != d {
			t.Fatalf("%s between %s and %s, want %s", got, from, at, d)
		}
	})
}

func TestParseHours_Bad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ zone, open, holiday, want string }{
		"NoSuchZone":     {"Asia/Jakata", "Mon 09:00-10:00", "", "IANA"},
		"Local":          {"Local", "Mon 09:00-10:00", "", "IANA"},
		"NoZone":         {"", "Mon 09:00-10:00", "", "IANA"},
		"OddDay":         {"UTC", "Mo 09:00-10:00", "", "days"},
		"NoTimes":        {"UTC", "Mon-Fri", "", "opening hours"},
		"Empty":          {"UTC", "", "", "opening hours"},
		"OddTime":        {"UTC", "Mon 9-10", "", "times"},
		"TwentyFive":     {"UTC", "Mon 09:00-25:00", "", "times"},
		"NothingBetween": {"UTC", "Mon 09:00-09:00", "", "end after"},
		"Overlap":        {"UTC", "Mon 09:00-12:00 11:00-13:00", "", "overlap"},
		"OverlapByNight": {"UTC", "Sun-Mon 18:00-09:00, Mon 08:00-10:00", "", "overlap"},
		"OverlapTheWeek": {"UTC", "Sat 18:00-09:00, Sun 08:00-10:00", "", "overlap"},
		"OddHoliday":     {"UTC", "Mon 09:00-10:00", "25/12/2026", "holiday"},
	} {
		t.Run(name, func(t *testing.T) {
			var holidays []string
			if c.holiday != "" {
				holidays = []string{c.holiday}
			}
			if _, err := ParseHours(c.zone, c.open, holidays); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

func TestHours_JSON(t *testing.T) {
	t.Parallel()
	for _, h := range []*Hours{nil, hours(t, "Asia/Jakarta", "Mon-Sun 09:00-22:00", "2026-12-25")} {
		text, err := json.Marshal(Policy{Hours: h})
		if err != nil {
			t.Fatal(err)
		}
		var p Policy
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(p)
		if err != nil || string(again) != string(text) {
			t.Errorf("%s, %v; want %s", again, err, text)
		}
	}
}
