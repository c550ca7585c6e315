package simulator

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// Fault is a way for a platform to fail one request.
type Fault string

const (
	FaultNone Fault = ""
	// FaultRateSeconds and FaultRateDate answer 429 with a Retry-After of 1 to 3
	// seconds, as a number and as an HTTP date.
	FaultRateSeconds Fault = "429-seconds"
	FaultRateDate    Fault = "429-date"
	FaultUnavailable Fault = "503"
	// FaultHang and FaultHangAfter never answer; the caller's time-out ends it.
	FaultHang      Fault = "hang"
	FaultHangAfter Fault = "hang-after-effect"
	// FaultReset and FaultResetAfter send a TCP reset in place of an answer.
	FaultReset      Fault = "reset"
	FaultResetAfter Fault = "reset-after-effect"
	// FaultSlow answers well, but late.
	FaultSlow Fault = "slow-after-effect"
	// FaultGarbage answers with bytes that are not HTTP, FaultCut with a 200 whose
	// body ends early.
	FaultGarbage Fault = "garbage-after-effect"
	FaultCut     Fault = "cut-after-effect"
)

// afterEffect tells the faults that leave an effect behind.
func (f Fault) afterEffect() bool {
	switch f {
	case FaultHangAfter, FaultResetAfter, FaultSlow, FaultGarbage, FaultCut:
		return true
	}
	return false
}

// Faults say when a failing platform fails. The zero value of a field stands for
// its default.
type Faults struct {
	// Seed makes one schedule out of many.
	Seed uint64
	// Percent of the requests outside outages that get a fault: 20 by default,
	// none where negative.
	Percent int
	// The platform is down for Down out of every Every, the first time First after
	// it started: 15 s of 60 s, from 12 s on. Never where Down is negative.
	First, Every, Down time.Duration
	// Hang is the longest that a request is left without an answer: 30 s.
	Hang time.Duration
	// Slow is the longest that a slow answer takes, half of it the shortest: 4 s.
	Slow time.Duration
}

func (f Faults) withDefaults() Faults {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	if f.Percent == 0 {
		f.Percent = 20
	}
	set(&f.First, 12*time.Second)
	set(&f.Every, time.Minute)
	set(&f.Down, 15*time.Second)
	set(&f.Hang, 30*time.Second)
	set(&f.Slow, 4*time.Second)
	return f
}

type weighted struct {
	fault  Fault
	weight int
}

// usual is what happens to a platform on a bad day; outage is what its customers
// see while it is down. The weights count by their proportion.
var (
	usual = []weighted{
		{FaultRateSeconds, 2},
		{FaultRateDate, 1},
		{FaultUnavailable, 5},
		{FaultHang, 1},
		{FaultHangAfter, 1},
		{FaultReset, 2},
		{FaultResetAfter, 2},
		{FaultSlow, 4},
		{FaultGarbage, 1},
		{FaultCut, 1},
	}
	outage = []weighted{{FaultUnavailable, 8}, {FaultReset, 2}}
)

// down says whether the platform is down, so long after its start.
func (f Faults) down(since time.Duration) bool {
	return f.Down > 0 && since >= f.First && (since-f.First)%f.Every < f.Down
}

// at is the fault of the attempt (from 1) made with the key, so long after the
// start. It is the same whenever it is asked for, and whatever else is going on.
func (f Faults) at(since time.Duration, key string, attempt int) Fault {
	random := f.random(key, attempt)
	if f.down(since) {
		return pick(random, outage)
	}
	if random.IntN(100) >= f.Percent {
		return FaultNone
	}
	return pick(random, usual)
}

// wait is how long the attempt's slow answer takes.
func (f Faults) wait(key string, attempt int) time.Duration {
	return f.Slow/2 + time.Duration(f.random(key, attempt).Int64N(int64(f.Slow/2)+1))
}

func (f Faults) random(key string, attempt int) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(key))
	return rand.New(rand.NewPCG(f.Seed^h.Sum64(), uint64(attempt)))
}

func pick(random *rand.Rand, from []weighted) Fault {
	sum := 0
	for _, w := range from {
		sum += w.weight
	}
	n := random.IntN(sum)
	for _, w := range from {
		if n -= w.weight; n < 0 {
			return w.fault
		}
	}
	return FaultNone
}
