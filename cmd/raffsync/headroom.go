package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// gcHeadroom is how much garbage may gather before it is collected, where that is more
// than what lives: a small heap under load would be collected dozens of times a second,
// which took an eighth of the engine's CPU. A heap that is larger has Go's usual pace, so
// that this never costs more memory than what it says.
const gcHeadroom = 96 << 20

// keepHeadroom sets the pace of the collector anew after each collection, for the life of
// the process; not where GOGC says what it is to be.
func keepHeadroom() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(gcPercent(heapLive()))
	afterCollection(keepHeadroom)
}

// afterCollection calls f once, after the next garbage collection.
func afterCollection(f func()) {
	type object struct{ _ [64]byte }
	runtime.AddCleanup(new(object), func(f func()) { f() }, f)
}

func heapLive() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return gcHeadroom
	}
	return sample[0].Value.Uint64()
}

// gcPercent is the growth at which a heap is collected of which so much lives.
func gcPercent(live uint64) int {
	return int(min(max(100*gcHeadroom/max(live, 1), 100), 1000))
}
