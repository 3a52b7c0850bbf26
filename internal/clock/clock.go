// Package clock is where time comes from.
//
// There are two clocks. Real guards whatever outsiders can feel: connections,
// tokens, signatures, leases, limits. Domain is what kinds see: the hours they
// bill, the deadlines they set. In production both are the same; the sandbox
// may let Domain run faster.
package clock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Clock tells the time.
type Clock interface {
	// Now returns the present.
	Now() time.Time
	// In returns this clock's time when d of real time will have passed.
	In(d time.Duration) time.Time
}

// Real is the machine's clock.
type Real struct{}

// Now returns the machine's time.
func (Real) Now() time.Time { return time.Now() }

// In returns the machine's time after d.
func (Real) In(d time.Duration) time.Time { return time.Now().Add(d) }

// Scaled is a domain clock that runs scale times as fast as the real one.
//
// It goes on while no process runs, as a real clock does, and never back: its
// anchor is kept in a file, and a new scale begins where the old one had come.
type Scaled struct {
	real   Clock
	anchor anchor
}

// anchor is the moment at which both clocks are known.
type anchor struct {
	Real   time.Time `json:"real"`
	Domain time.Time `json:"domain"`
	Scale  int64     `json:"scale"`
}

// at counts seconds and what is below them apart, for their product with the
// scale soon is more nanoseconds than a Duration holds.
func (a anchor) at(now time.Time) time.Time {
	passed := now.Sub(a.Real)
	seconds, rest := int64(passed/time.Second), int64(passed%time.Second)
	return time.Unix(a.Domain.Unix()+seconds*a.Scale, int64(a.Domain.Nanosecond())+rest*a.Scale).UTC()
}

// OpenScaled returns the domain clock whose anchor is kept in file. A scale
// below one is an error.
func OpenScaled(file string, scale int64, now Clock) (*Scaled, error) {
	if scale < 1 {
		return nil, fmt.Errorf("time scale %d: must be at least 1", scale)
	}
	t := now.Now()
	a := anchor{Real: t, Domain: t, Scale: scale}
	text, err := os.ReadFile(filepath.Clean(file))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("read the sandbox clock: %w", err)
	default:
		var old anchor
		if err := json.Unmarshal(text, &old); err != nil || old.Scale < 1 {
			return nil, fmt.Errorf("read the sandbox clock %s: it is not an anchor; delete the file to begin anew", file)
		}
		if old.Scale == scale {
			return &Scaled{real: now, anchor: old}, nil
		}
		a.Domain = old.at(t)
	}
	return &Scaled{real: now, anchor: a}, a.keep(file)
}

// keep writes the anchor so that a crash leaves the old one or the new one.
func (a anchor) keep(file string) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return fmt.Errorf("keep the sandbox clock: %w", err)
	}
	return os.Rename(file+".new", file)
}

// Now returns the domain's time.
func (s *Scaled) Now() time.Time { return s.anchor.at(s.real.Now()) }

// In returns the domain's time after d of real time.
func (s *Scaled) In(d time.Duration) time.Time { return s.anchor.at(s.real.Now().Add(d)) }

// Manual is a clock that moves when it is told to. The zero value stands at the zero time.
type Manual struct {
	mu  sync.Mutex
	now time.Time
}

// NewManual returns a clock that stands at now.
func NewManual(now time.Time) *Manual { return &Manual{now: now} }

// Now returns where the clock stands.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// In returns where the clock will stand after d.
func (m *Manual) In(d time.Duration) time.Time { return m.Now().Add(d) }

// Advance moves the clock.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}
