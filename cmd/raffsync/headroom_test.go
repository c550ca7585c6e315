package main

import (
	"runtime"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 1000, 1 << 20: 1000, gcHeadroom / 4: 400, gcHeadroom: 100, 10 * gcHeadroom: 100} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d live: %d %%, want %d %%", live, got, want)
		}
	}
}

func TestAfterCollection(t *testing.T) {
	collected := make(chan struct{})
	afterCollection(func() { close(collected) })
	runtime.GC()
	select {
	case <-collected:
	case <-time.After(time.Minute):
		t.Error("nothing comes after a collection")
	}
}
