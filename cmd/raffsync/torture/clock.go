package torture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// clocks are by how much replicas' clocks are wrong: all that is stored goes by the
// database's. A program has a clock that can be wrong only where it was built so (see
// .tools/clock); of another one the report says that it was not.
var clocks = []time.Duration{0, time.Hour, -time.Hour}

const clockVariable = "RAFFSYNC_CLOCK_OFFSET"

// clockIsWrong tells whether the replica has the time that it is meant to have, which is
// another than this process has: by the first line of its log
// that has one.
func (r *replica) clockIsWrong() (bool, error) {
	text, err := os.ReadFile(r.log.Name())
	if err != nil {
		return false, err
	}
	var first struct{ Time time.Time }
	for line := range bytes.Lines(text) {
		if json.Unmarshal(line, &first) == nil && !first.Time.IsZero() {
			break
		}
	}
	if first.Time.IsZero() {
		return false, fmt.Errorf("no line of %s has a time", r.log.Name())
	}
	off := time.Until(first.Time.Add(-r.clock)) // about none, where it is as meant
	return r.clock != 0 && off.Abs() < r.clock.Abs()/2, nil
}
