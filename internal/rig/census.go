package rig

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

// Census is what a server holds at a moment.
type Census struct {
	Goroutines, Descriptors, Sessions int
	Heap                              int64 // bytes that live after a collection
}

// String is the census as people read it.
func (c Census) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d sessions, %.1f MiB", c.Goroutines, c.Descriptors, c.Sessions, float64(c.Heap)/(1<<20))
}

// Within says whether there is not much more of anything than there was. The
// margins are for what comes and goes by itself: a timer, an idle worker, a buffer.
func (c Census) Within(start Census) bool {
	return c.Goroutines <= start.Goroutines+goroutineMargin && c.Descriptors <= start.Descriptors+descriptorMargin &&
		c.Sessions <= start.Sessions && c.Heap <= start.Heap+heapMargin
}

const (
	goroutineMargin  = 20
	descriptorMargin = 5
	heapMargin       = 6 << 20
)

// Census collects garbage and counts.
func (s *Server) Census(ctx context.Context) (c Census, err error) {
	for range 2 { // pools give things back at the second collection
		if _, err := s.admin(ctx, "/debug/pprof/heap?gc=1"); err != nil {
			return c, err
		}
	}
	text, err := s.admin(ctx, "/metrics")
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue
		}
		switch name {
		case "go_goroutines":
			c.Goroutines = int(n)
		case "process_open_fds":
			c.Descriptors = int(n)
		case "marketplace_sessions":
			c.Sessions = int(n)
		case "go_memstats_heap_alloc_bytes":
			c.Heap = int64(n)
		}
	}
	return c, nil
}

// Settled counts until there is not much more than there was, or the time for
// that is over, and returns the last count.
func (s *Server) Settled(ctx context.Context, start Census, within time.Duration) (Census, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	last, err := s.Census(ctx)
	for err == nil && !last.Within(start) && clock.Pause(ctx, time.Second) {
		var c Census
		if c, err = s.Census(ctx); ctx.Err() != nil {
			return last, nil
		}
		last = c
	}
	return last, err
}

// Quiet waits until nobody is there and the server holds no less than a moment
// ago, or the time for that is over, and returns the last count.
func (s *Server) Quiet(ctx context.Context, within time.Duration) (last Census, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for last, err = s.Census(ctx); err == nil && clock.Pause(ctx, quietFor); {
		c, err := s.Census(ctx)
		if err != nil || c.Sessions == 0 && c.Goroutines >= last.Goroutines && c.Descriptors >= last.Descriptors && c.Heap >= last.Heap-heapNoise {
			return c, err
		}
		last = c
	}
	return last, err
}

const (
	quietFor  = 5 * time.Second // in which idle actors go, where they go soon
	heapNoise = 256 << 10
)

// Metric returns the value of a metric, spelled with its labels; 0: it is not told.
func (s *Server) Metric(ctx context.Context, name string) (float64, error) {
	text, err := s.admin(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, nil
}
