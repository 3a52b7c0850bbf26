// Package fault lets a process die at a chosen line, so that a test can see
// what is left. The points are always compiled in and cost one load; they do
// nothing until one is armed.
package fault

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// The points, in the order in which a command passes them.
const (
	Decided      = "decided"       // decided and applied in memory, nothing handed to the store
	Sealed       = "sealed"        // a commit is made, not handed over
	BeforeWrite  = "before-write"  // the store has the batch and has not written it
	AfterWrite   = "after-write"   // the store has written the batch and told nobody
	BeforeGate   = "before-gate"   // the actor knows, and has said nothing
	AfterGate    = "after-gate"    // pushes and replies have left, tasks have not begun
	BeforeEffect = "before-effect" // a task is about to touch the outside
	AfterEffect  = "after-effect"  // a task has touched the outside and has not said so
	Reported     = "reported"      // the end of a task is decided, and not handed to the store
	Woken        = "woken"         // a wake-up is claimed and not delivered
)

// Points returns every point.
func Points() []string {
	return []string{Decided, Sealed, BeforeWrite, AfterWrite, BeforeGate, AfterGate, BeforeEffect, AfterEffect, Reported, Woken}
}

// trap is a point at which the process dies when it is passed often enough.
type trap struct {
	point string
	left  atomic.Int64
}

var armed atomic.Pointer[trap]

// Arm chooses where to die: "sealed" the first time that point is passed,
// "sealed#3" the third. An unknown point or number is an error.
func Arm(spec string) error {
	point, count, counted := strings.Cut(spec, "#")
	n := int64(1)
	if counted {
		var err error
		if n, err = strconv.ParseInt(count, 10, 64); err != nil || n < 1 {
			return fmt.Errorf("die at %s: %q is not a number from 1", spec, count)
		}
	}
	if !slices.Contains(Points(), point) {
		return fmt.Errorf("die at %s: there is no such point; there are %s", spec, strings.Join(Points(), ", "))
	}
	t := &trap{point: point}
	t.left.Store(n)
	armed.Store(t)
	return nil
}

// Point is where a process may die.
func Point(name string) {
	if t := armed.Load(); t != nil && t.point == name && t.left.Add(-1) == 0 {
		die()
	}
}

// die ends the process as kill -9 does: nothing is flushed, nobody is told.
func die() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {} // until the signal has come
}
