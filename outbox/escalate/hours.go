package escalate

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Hours are when an outlet is open, by the clock on its wall. The zero value is always
// open.
type Hours struct {
	zone     *time.Location
	text     string
	week     [7][]span // by the day on which a span begins
	holidays []string  // 2026-12-25
}

// span is a part of a day, in minutes since midnight; one over midnight ends beyond 1,440.
type span struct{ from, to int }

const minutesOfDay = 24 * 60

// maxHolidays is as many as ten years have.
const maxHolidays = 500

var (
	dayNames  = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	spanForm  = regexp.MustCompile(`^([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$`)
	hoursForm = `days and times such as "Mon-Fri 09:00-18:00, Sat 10:00-14:00 16:00-20:00"; times after midnight belong to the day before, as in "Fri 18:00-02:00"`
)

// ParseHours reads opening hours and holidays (2026-12-25) in a time zone. Its error says
// what was expected.
func ParseHours(zone, open string, holidays []string) (*Hours, error) {
	h := &Hours{text: open, holidays: slices.Sorted(slices.Values(holidays))}
	var err error
	if h.zone, err = loadZone(zone); err != nil {
		return nil, err
	}
	if len(holidays) > maxHolidays {
		return nil, fmt.Errorf("%d holidays; expected at most %d", len(holidays), maxHolidays)
	}
	for _, day := range h.holidays {
		if _, err := time.Parse(time.DateOnly, day); err != nil {
			return nil, fmt.Errorf("holiday %q; expected a day such as 2026-12-25", day)
		}
	}
	for part := range strings.SplitSeq(open, ",") {
		words := strings.Fields(part)
		if len(words) < 2 {
			return nil, fmt.Errorf("opening hours %q; expected %s", strings.TrimSpace(part), hoursForm)
		}
		days, err := parseDays(words[0])
		if err != nil {
			return nil, err
		}
		for _, word := range words[1:] {
			s, err := parseSpan(word)
			if err != nil {
				return nil, err
			}
			for _, day := range days {
				h.week[day] = append(h.week[day], s)
			}
		}
	}
	return h, h.apart()
}

// loadZone refuses what is no IANA name: "Local" is another zone on another machine.
func loadZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("time zone %q; expected a name of the IANA list, such as Asia/Jakarta or Europe/London", name)
	}
	return zone, nil
}

func parseDays(text string) (days []int, err error) {
	from, to, isRange := strings.Cut(strings.ToLower(text), "-")
	first, last := slices.Index(dayNames, from), slices.Index(dayNames, to)
	if !isRange {
		last = first
	}
	if first < 0 || last < 0 {
		return nil, fmt.Errorf("days %q; expected %s", text, hoursForm)
	}
	for day := first; ; day = (day + 1) % 7 {
		days = append(days, day)
		if day == last {
			return days, nil
		}
	}
}

func parseSpan(text string) (span, error) {
	parts := spanForm.FindStringSubmatch(text)
	if parts == nil {
		return span{}, fmt.Errorf("times %q; expected %s", text, hoursForm)
	}
	n := make([]int, 4)
	for i := range n {
		n[i], _ = strconv.Atoi(parts[i+1]) // digits
	}
	s := span{n[0]*60 + n[1], n[2]*60 + n[3]}
	if s.from >= minutesOfDay || s.to > minutesOfDay || s.from == s.to {
		return span{}, fmt.Errorf("times %q; expected an end after the beginning, 24:00 at the latest", text)
	}
	if s.to < s.from {
		s.to += minutesOfDay
	}
	return s, nil
}

// apart refuses spans that overlap, those over midnight and the next day's too.
func (h *Hours) apart() error {
	type piece struct{ from, to int }
	var week []piece
	for day := range h.week {
		slices.SortFunc(h.week[day], func(a, b span) int { return a.from - b.from })
		for _, s := range h.week[day] {
			week = append(week, piece{day*minutesOfDay + s.from, day*minutesOfDay + s.to})
		}
	}
	for i := range week {
		next := week[(i+1)%len(week)]
		if i+1 == len(week) {
			next.from += 7 * minutesOfDay
		}
		if week[i].to > next.from {
			return fmt.Errorf("opening hours %q; expected times that do not overlap", h.text)
		}
	}
	return nil
}

// always tells whether there are no hours to keep to.
func (h *Hours) always() bool { return h == nil || h.zone == nil }

// location is the zone of the hours; nil where there are none.
func (h *Hours) location() *time.Location {
	if h == nil {
		return nil
	}
	return h.zone
}

// day is what is open on one day, as moments. A wall clock that is put forward or back
// meanwhile makes a span shorter or longer, as it does for those who work there.
func (h *Hours) day(year int, month time.Month, day int) (spans [][2]time.Time) {
	at := func(minute int) time.Time {
		return time.Date(year, month, day, 0, minute, 0, 0, h.zone)
	}
	if slices.Contains(h.holidays, time.Date(year, month, day, 12, 0, 0, 0, time.UTC).Format(time.DateOnly)) {
		return nil
	}
	weekday := time.Date(year, month, day, 12, 0, 0, 0, time.UTC).Weekday()
	for _, s := range h.week[weekday] {
		if from, to := at(s.from), at(s.to); from.Before(to) {
			spans = append(spans, [2]time.Time{from, to})
		}
	}
	return spans
}

// horizon is how far ahead an opening is looked for: a shop that is closed for longer
// than that is not coming back by itself.
const horizon = 400

// Add is when so much open time has passed since a moment, closing time included; the
// first open moment, where the time is nothing. ok is false where the outlet does not open for more than a year.
func (h *Hours) Add(from time.Time, d time.Duration) (at time.Time, ok bool) {
	if h.always() {
		return from.Add(d), true
	}
	local := from.In(h.zone)
	// From yesterday on: its span may go over midnight.
	for i := -1; i < horizon; i++ {
		year, month, day := local.Date()
		for _, s := range h.day(year, month, day+i) {
			begin := s[0]
			if begin.Before(from) {
				begin = from
			}
			left := s[1].Sub(begin)
			if left <= 0 {
				continue
			}
			if d <= left {
				return begin.Add(d), true
			}
			d -= left
		}
	}
	return time.Time{}, false
}

// Between is how much open time lies between two moments.
func (h *Hours) Between(from, to time.Time) (open time.Duration) {
	if h.always() {
		return max(to.Sub(from), 0)
	}
	year, month, day := from.In(h.zone).Date()
	for i := -1; ; i++ {
		if time.Date(year, month, day+i, 0, 0, 0, 0, h.zone).After(to) {
			return open
		}
		for _, s := range h.day(year, month, day+i) {
			begin, end := s[0], s[1]
			if begin.Before(from) {
				begin = from
			}
			if end.After(to) {
				end = to
			}
			open += max(end.Sub(begin), 0)
		}
	}
}

type hoursJSON struct {
	Timezone string   `json:"timezone"`
	Open     string   `json:"open"`
	Holidays []string `json:"holidays,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (h *Hours) MarshalJSON() ([]byte, error) {
	if h.always() {
		return []byte("null"), nil
	}
	return json.Marshal(hoursJSON{h.zone.String(), h.text, h.holidays})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (h *Hours) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	var v hoursJSON
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	parsed, err := ParseHours(v.Timezone, v.Open, v.Holidays)
	if err != nil {
		return err
	}
	*h = *parsed
	return nil
}
