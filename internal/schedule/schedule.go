// Package schedule says where and when work runs: on goroutines of the process,
// or step by step on one, in an order that a seed decides.
package schedule

import (
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/pool"
)

// Scheduler runs work.
type Scheduler interface {
	// Go runs fn soon, and never blocks.
	Go(fn func())
	// After runs fn once d of real time has passed.
	After(d time.Duration, fn func())
}

// Real runs work on goroutines.
type Real struct{}

// Go runs fn on a pooled goroutine.
func (Real) Go(fn func()) { pool.Go(fn) }

// After runs fn on a goroutine of its own.
func (Real) After(d time.Duration, fn func()) {
	time.AfterFunc(d, fn) //nolint:forbidigo // the one place where something is put off
}
