// Package pool runs short functions on goroutines whose stacks have already
// grown: on fresh ones a tenth of the server's CPU goes into growing stacks.
//
// # Concurrency
//
// Go never blocks. Workers are shared by the whole process and live as long as
// it does; at most maxIdle of them wait for work.
package pool

import "sync/atomic"

// maxIdle is how many workers wait; those beyond end when they are done.
const maxIdle = 128

var (
	handoff = make(chan func())
	idle    atomic.Int32
)

// Go runs fn on a waiting worker, or on a new one.
func Go(fn func()) {
	select {
	case handoff <- fn:
	default:
		go work(fn)
	}
}

func work(fn func()) {
	for {
		fn()
		if idle.Add(1) > maxIdle {
			idle.Add(-1)
			return
		}
		fn = <-handoff
		idle.Add(-1)
	}
}
