package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// byteSize is a number of bytes, as "2GiB".
type byteSize uint64

var byteUnits = []struct {
	name  string
	bytes uint64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// UnmarshalText reads a whole number with a unit.
func (b *byteSize) UnmarshalText(text []byte) error {
	for _, unit := range byteUnits {
		number, ok := strings.CutSuffix(string(text), unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || n == 0 || n > (1<<62)/unit.bytes {
			break
		}
		*b = byteSize(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("found %q; expected a whole number with KiB, MiB, GiB or TiB, as 2GiB", text)
}

func (b byteSize) String() string {
	for _, unit := range byteUnits {
		if uint64(b) >= unit.bytes {
			return fmt.Sprintf("%.1f %s", float64(b)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", uint64(b))
}

// spaceFlags say how much of Postgres' disk is kept free.
type spaceFlags struct {
	MinFree         byteSize `help:"Refuse events while less than this is free for Postgres; a twentieth, at most 2GiB, where it is not given." env:"RAFFSYNC_MIN_FREE" placeholder:"SIZE"`
	MaxDatabaseSize byteSize `help:"How large the database may become, for a Postgres of yours, whose disk cannot be seen from here." env:"RAFFSYNC_MAX_DATABASE_SIZE" placeholder:"SIZE"`
}

// space is what there is for Postgres' data.
type space struct {
	free, size uint64
}

// mostKept is what is kept free of a large disk, where nobody says more.
const mostKept = 2 << 30

func (f spaceFlags) wanted(size uint64) uint64 {
	if f.MinFree > 0 {
		return uint64(f.MinFree)
	}
	return min(size/20, mostKept)
}

// watermark keeps ingest from filling the disk: a Postgres without space stops, and
// takes with it what could have been delivered.
type watermark struct {
	flags spaceFlags
	// measure is nil where nothing can be seen of the disk, and no size is given.
	measure func(context.Context) (space, error)
	log     *slog.Logger
	why     atomic.Pointer[string] // nothing is taken in, and why; nil: it is
}

// watermarkEvery is short enough that the fastest ingest does not write what is kept.
const watermarkEvery = 2 * time.Second

// newWatermark measures the disk of an embedded Postgres, or a database against its
// given size.
func newWatermark(f spaceFlags, d *database, size func(context.Context) (int64, error), log *slog.Logger) *watermark {
	w := &watermark{flags: f, log: log}
	switch {
	case f.MaxDatabaseSize > 0:
		w.measure = func(ctx context.Context) (space, error) {
			used, err := size(ctx)
			most := uint64(f.MaxDatabaseSize)
			return space{free: most - min(uint64(used), most), size: most}, err
		}
	case d.server != nil:
		w.measure = func(context.Context) (space, error) {
			free, size, err := d.server.Space()
			return space{free, size}, err
		}
	}
	return w
}

// full says why nothing may be taken in now; empty where it may.
func (w *watermark) full() string {
	if why := w.why.Load(); why != nil {
		return *why
	}
	return ""
}

// look measures, and decides. Where that fails, it stays as it was.
func (w *watermark) look(ctx context.Context) {
	if w.measure == nil {
		return
	}
	s, err := w.measure(ctx)
	if err != nil {
		if ctx.Err() == nil {
			w.log.WarnContext(ctx, "how full Postgres' disk is cannot be seen", "error", err)
		}
		return
	}
	before := w.full() != ""
	why := w.flags.judge(s, before)
	switch {
	case why != "" && !before:
		w.log.ErrorContext(ctx, "events are refused: make room; what is here is still delivered", "reason", why)
	case why == "" && before:
		w.log.InfoContext(ctx, "events are taken in again", "free", byteSize(s.free).String())
	}
	if why == "" {
		w.why.Store(nil)
	} else {
		w.why.Store(&why)
	}
}

// judge says why nothing may be taken in, empty where it may. What is full stays so
// until a quarter more than is wanted is free, so that it does not flap. It is pure.
func (f spaceFlags) judge(s space, full bool) string {
	wanted := f.wanted(s.size)
	enough := wanted
	if full {
		enough += wanted / 4
	}
	if s.free >= enough {
		return ""
	}
	return fmt.Sprintf("the disk of the database is nearly full: %s of %s are free, and %s are wanted", byteSize(s.free), byteSize(s.size), byteSize(enough))
}

// run looks until the context ends.
func (w *watermark) run(ctx context.Context) error {
	tick := time.NewTicker(watermarkEvery)
	defer tick.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
