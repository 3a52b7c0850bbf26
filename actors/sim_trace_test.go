package actors_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// say adds a line to the trace.
func (s *simulation) say(format string, args ...any) {
	if !s.traced {
		return
	}
	s.trace = append(s.trace, fmt.Sprintf("%9.3fs  %s", s.time.Now().Sub(simStart).Seconds(), fmt.Sprintf(format, args...)))
}

// withoutTime leaves the machine's time out of a log line.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// traceWriter puts what processes log into the trace.
type traceWriter struct{ sim *simulation }

func (w traceWriter) Write(line []byte) (int, error) {
	w.sim.say("  %s", bytes.TrimSpace(line))
	return len(line), nil
}

// sayCommit puts a commit that reaches the store into the trace.
func (s *simulation) sayCommit(c *persistence.Commit) {
	if !s.traced {
		return
	}
	b := &journalv1.Batch{}
	_ = proto.Unmarshal(c.Events, b)
	var what []string
	for _, r := range b.GetRecords() {
		if a := r.GetAttempt(); a != nil {
			what = append(what, "attempt of "+a.GetTaskId())
		}
		for _, e := range r.GetEvents() {
			what = append(what, s.eventName(c.Entity.Kind, e))
		}
	}
	s.say("  commit %s after %d (%s): %s", c.Entity, c.Expect, c.ID, strings.Join(what, ", "))
}

// eventName is the name of the event that bytes hold.
func (s *simulation) eventName(kind string, event []byte) string {
	m, err := s.kinds[kind].Event(event)
	if err != nil {
		return "?"
	}
	r := m.ProtoReflect()
	if f := r.WhichOneof(r.Descriptor().Oneofs().ByName("event")); f != nil {
		return string(f.Name())
	}
	return "nothing"
}
