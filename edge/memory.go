package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The collector of garbage is given room by what there is to save. A gateway
// under load would spend a sixth of its time on collecting a heap of a few
// megabytes again and again; a quiet one gives back what a storm of returning
// stations has left.
const (
	tuneEvery = 10 * time.Second
	headroom  = 48 << 20 // bytes that may wait to be collected, where the live ones are few
	leastGOGC = 100
	mostGOGC  = 400
	quietRate = 4 << 20 // bytes allocated within tuneEvery by a gateway that has little to do
	worthIt   = 2 << 20 // bytes to give back

	usualStack = 6 << 10 // bytes of a goroutine that waits
)

// gcPercent returns the percentage of the live memory that may be garbage.
func gcPercent(live uint64) int {
	if live == 0 { // nothing was collected yet
		return mostGOGC
	}
	return int(min(max(headroom*100/live, leastGOGC), mostGOGC))
}

// tune looks after the memory until ctx ends.
func tune(ctx context.Context) {
	defer debug.SetGCPercent(debug.SetGCPercent(mostGOGC))
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},               // at the end of the last collection
		{Name: "/memory/classes/heap/stacks:bytes"}, // scanned by every collection
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, // held and not used
		{Name: "/sched/goroutines:goroutines"},
	}
	tick := time.NewTicker(tuneEvery)
	defer tick.Stop()
	var before uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(samples)
		live, stacks, allocated := samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()
		garbage := samples[3].Value.Uint64() - min(live, samples[3].Value.Uint64())
		left := stacks - min(usualStack*samples[5].Value.Uint64(), stacks) // of goroutines that are gone
		debug.SetGCPercent(gcPercent(live + stacks))
		if allocated-before < quietRate && garbage+left+samples[4].Value.Uint64() > worthIt {
			debug.FreeOSMemory()
		}
		before = allocated
	}
}
