package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// burst is how many records of one message pass in a window.
	burst = 10
	// window is how long they count.
	window = time.Second
	// alarm begins messages that a person must see, each of them.
	alarm = "ALARM"
)

// limiter lets through what is said now and then, and counts the rest: a store
// that is away makes every actor complain, again and again.
type limiter struct {
	slog.Handler
	said *said // shared by the loggers that were made of one
}

// said is how often each message came up.
type said struct {
	mu   sync.Mutex
	last map[string]*spell
}

// spell is the present window of a message.
type spell struct {
	began   time.Time
	count   int
	dropped int // since a record passed
}

// limit returns a handler that drops warnings and errors which repeat a message
// more often than burst in a window. The next that passes says how many.
func limit(h slog.Handler) slog.Handler {
	return &limiter{h, &said{last: map[string]*spell{}}}
}

// Handle passes a record on, or counts it.
func (l *limiter) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn || strings.HasPrefix(r.Message, alarm) {
		return l.Handler.Handle(ctx, r)
	}
	dropped, pass := l.said.pass(r.Message, r.Time)
	if !pass {
		return nil
	}
	if dropped > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("not_told", dropped))
	}
	return l.Handler.Handle(ctx, r)
}

// pass counts a message. It says whether it may pass, and how many have not.
func (s *said) pass(message string, at time.Time) (dropped int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.last[message]
	if m == nil {
		m = &spell{}
		s.last[message] = m
	}
	if at.Sub(m.began) >= window {
		m.began, m.count = at, 0
	}
	if m.count++; m.count > burst {
		m.dropped++
		return 0, false
	}
	dropped, m.dropped = m.dropped, 0
	return dropped, true
}

// WithAttrs keeps the limit.
func (l *limiter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limiter{l.Handler.WithAttrs(attrs), l.said}
}

// WithGroup keeps the limit.
func (l *limiter) WithGroup(name string) slog.Handler {
	return &limiter{l.Handler.WithGroup(name), l.said}
}
