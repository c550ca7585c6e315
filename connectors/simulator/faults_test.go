package simulator

import (
	"fmt"
	"testing"
	"time"
)

func TestFaults_At(t *testing.T) {
	f := Faults{Seed: 42}.withDefaults()
	t.Run("SameWhenAskedAgain", func(t *testing.T) {
		for attempt := range 100 {
			if a, b := f.at(0, "k", attempt), f.at(time.Second, "k", attempt); a != b {
				t.Fatalf("attempt %d: %q, then %q", attempt, a, b)
			}
		}
	})
	t.Run("OtherWithAnotherSeed", func(t *testing.T) {
		other, differ := Faults{Seed: 43}.withDefaults(), 0
		for i := range 1000 {
			if f.at(0, fmt.Sprint(i), 1) != other.at(0, fmt.Sprint(i), 1) {
				differ++
			}
		}
		if differ == 0 {
			t.Error("the schedules are the same")
		}
	})
	t.Run("KeepsItsPercentage", func(t *testing.T) {
		failed := 0
		for i := range 10_000 {
			if f.at(0, fmt.Sprint(i), 1) != FaultNone {
				failed++
			}
		}
		if failed < 1800 || failed > 2200 {
			t.Errorf("%d of 10,000 failed, not about 2,000", failed)
		}
	})
	t.Run("NothingWorksInAnOutage", func(t *testing.T) {
		for i := range 1000 {
			if fault := f.at(f.First, fmt.Sprint(i), 1); fault != FaultUnavailable && fault != FaultReset {
				t.Fatalf("request %d met %q", i, fault)
			}
		}
	})
	t.Run("EveryAttemptMeetsItsOwn", func(t *testing.T) {
		seen := map[Fault]bool{}
		for attempt := range 1000 {
			seen[f.at(0, "k", attempt)] = true
		}
		if len(seen) != len(usual)+1 {
			t.Errorf("a key met %d of %d", len(seen), len(usual)+1)
		}
	})
	t.Run("NoneWhereNegative", func(t *testing.T) {
		none := Faults{Percent: -1, Down: -1}.withDefaults()
		for i := range 1000 {
			if fault := none.at(time.Duration(i)*time.Second, fmt.Sprint(i), 1); fault != FaultNone {
				t.Fatalf("request %d met %q", i, fault)
			}
		}
	})
}

func TestFaults_Down(t *testing.T) {
	f := Faults{First: 10 * time.Second, Every: time.Minute, Down: 15 * time.Second}
	for second, want := range map[int]bool{0: false, 9: false, 10: true, 24: true, 25: false, 69: false, 70: true, 85: false} {
		if got := f.down(time.Duration(second) * time.Second); got != want {
			t.Errorf("after %d s: %v", second, got)
		}
	}
}
