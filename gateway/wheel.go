package gateway

import (
	"context"
	"sync"
	"time"
)

// wheel looks after every connection in turn: one timer for all of them. A
// session sits in the slot of the second in which it is to be looked at next.
type wheel struct {
	mu    sync.Mutex
	slots [wheelSlots][]*Session
	at    int
}

// wheelSlots is more than the seconds that a look may be ahead.
const wheelSlots = 64

// spot is where a session sits in the wheel; the wheel's lock guards it.
type spot struct {
	slot, index int
	seated      bool
	gone        bool // it is not to be looked at any more
}

// add seats a session for a look in so many seconds, at least one.
func (w *wheel) add(s *Session, in time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.spot.gone || s.spot.seated {
		return
	}
	seconds := min(max(int((in+time.Second-1)/time.Second), 1), wheelSlots-1)
	slot := (w.at + seconds) % wheelSlots
	s.spot = spot{slot: slot, index: len(w.slots[slot]), seated: true}
	w.slots[slot] = append(w.slots[slot], s)
}

// remove takes a session out for good.
func (w *wheel) remove(s *Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.spot.seated {
		slot := w.slots[s.spot.slot]
		last := len(slot) - 1
		slot[s.spot.index] = slot[last]
		slot[s.spot.index].spot.index = s.spot.index
		slot[last] = nil
		w.slots[s.spot.slot] = slot[:last]
	}
	s.spot = spot{gone: true}
}

// turn moves on by one slot and returns who sat in it.
func (w *wheel) turn() []*Session {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = (w.at + 1) % wheelSlots
	due := w.slots[w.at]
	w.slots[w.at] = nil
	for _, s := range due {
		s.spot.seated = false
	}
	return due
}

// run turns once a second until ctx ends.
func (w *wheel) run(ctx context.Context, now func() time.Time) {
	t := time.NewTicker(time.Second) //nolint:forbidigo // how often to look; what is due is decided by the clock
	defer t.Stop()
	for {
		select {
		case <-t.C:
			at := now()
			for _, s := range w.turn() {
				w.add(s, s.look(at)) //nolint:contextcheck // what a look leads to outlives the turn
			}
		case <-ctx.Done():
			return
		}
	}
}
