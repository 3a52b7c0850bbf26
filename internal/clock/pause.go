package clock

import (
	"context"
	"time"
)

// Pause waits for d; false means that ctx ended first. It waits in real time,
// and in a test's own within synctest.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
