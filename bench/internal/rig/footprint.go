package rig

import (
	"runtime"
	"time"
)

// Footprint is what a process holds.
type Footprint struct {
	// Bytes is the memory of live objects and of stacks. What the kernel holds
	// for sockets is not in it.
	Bytes int64 `json:"bytes"`
	// Goroutines is the number of goroutines.
	Goroutines int `json:"goroutines"`
}

// Minus returns what has been added since an earlier footprint.
func (f Footprint) Minus(earlier Footprint) Footprint {
	return Footprint{Bytes: f.Bytes - earlier.Bytes, Goroutines: f.Goroutines - earlier.Goroutines}
}

// takeFootprint collects garbage and looks at what is left.
func takeFootprint() Footprint {
	settle()
	// The first collection moves what pools hold out of use, and the second
	// frees it.
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return Footprint{Bytes: int64(m.HeapAlloc + m.StackInuse), Goroutines: runtime.NumGoroutine()}
}

// settle gives goroutines that are about to end some time to do so: nothing tells
// from outside that one has really gone. It returns when their number has not
// changed for a while.
func settle() {
	const look, still, most = time.Millisecond, 5, 200
	for last, same, looks := 0, 0, 0; same < still && looks < most; looks++ {
		if n := runtime.NumGoroutine(); n != last {
			last, same = n, 0
		}
		same++
		time.Sleep(look)
	}
}
