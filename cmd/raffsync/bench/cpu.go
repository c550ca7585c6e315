package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// work is processor time, user and system, by who used it: what a machine that is busy with
// other things still tells. Zero where the kernel does not say.
type work struct{ postgres, program, bench time.Duration }

// worked reads what was used so far by Postgres, by the program beside it (our engine or
// the peers'), and by this process.
func (r *rig) worked(program int) work {
	w := work{bench: usedBy(os.Getpid(), false), postgres: usedBy(r.cluster.server.PID(), true)}
	if program != 0 {
		w.program = usedBy(program, false)
	}
	for _, path := range glob("/proc/[0-9]*/stat") {
		if stat := readStat(path); stat != nil && stat[statParent] == int64(r.cluster.server.PID()) {
			w.postgres += ticks(stat[statUser] + stat[statSystem])
		}
	}
	return w
}

// sides of a comparison.
const (
	ours = iota
	theirs
)

// working runs f, which brings n events through, and notes what that used.
func (r *rig) working(side, program, n int, f func() error) error {
	before := r.worked(program)
	err := f()
	r.note(side, before, r.worked(program), n)
	return err
}

// note what n events used between two readings.
func (r *rig) note(side int, before, after work, n int) {
	r.work[side] = append(r.work[side], work{
		(after.postgres - before.postgres) / time.Duration(n),
		(after.program - before.program) / time.Duration(n),
		(after.bench - before.bench) / time.Duration(n),
	})
}

func (w work) total() float64 { return µs(w.postgres + w.program + w.bench) }

func µs(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// workOf says in words what the rounds of a side used, by the medians; nothing where
// that is not known.
func (r *rig) workOf(side int) string {
	var postgres, program, bench []float64
	for _, w := range r.work[side] {
		postgres, program, bench = append(postgres, µs(w.postgres)), append(program, µs(w.program)), append(bench, µs(w.bench))
	}
	if median(postgres) == 0 {
		return ""
	}
	return fmt.Sprintf(" (CPU an event: Postgres %.1f, program %.1f, bench %.1f µs)", median(postgres), median(program), median(bench))
}

// Fields of /proc/PID/stat after the name, as proc(5) counts them from 3.
const (
	statParent         = 4 - 3
	statUser           = 14 - 3
	statSystem         = 15 - 3
	statChildrenUser   = 16 - 3
	statChildrenSystem = 17 - 3
)

// ticksPerSecond is USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

func ticks(n int64) time.Duration { return time.Duration(n) * time.Second / ticksPerSecond }

// usedBy is what a process used, and where asked for, its children that have ended.
func usedBy(pid int, children bool) time.Duration {
	stat := readStat(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if stat == nil {
		return 0
	}
	used := stat[statUser] + stat[statSystem]
	if children {
		used += stat[statChildrenUser] + stat[statChildrenSystem]
	}
	return ticks(used)
}

// readStat returns nil where there is no such process, or no /proc.
func readStat(path string) []int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) <= statChildrenSystem {
		return nil
	}
	numbers := make([]int64, len(fields))
	for i, field := range fields {
		numbers[i], _ = strconv.ParseInt(field, 10, 64) // the state is a letter
	}
	return numbers
}

func glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern) // the pattern is well formed
	return paths
}
