package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/threefoldtech/cloud-marketplace/actors/inbox"
)

const (
	// poisonPage is how many messages one answer lists.
	poisonPage = 100
	// poisonWithin is how long the store may take for an answer to an operator.
	poisonWithin = 5 * time.Second
)

// poison lists the messages that nobody could decide and that wait for a person,
// oldest first. The next page begins after the last position of this one.
func (m *Main) poison(w http.ResponseWriter, r *http.Request) {
	after := uint64(0)
	if text := r.FormValue("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			http.Error(w, fmt.Sprintf("after %q is not a position: it must be a number that GET /poison told", text), http.StatusBadRequest)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), poisonWithin)
	defer cancel()
	all, err := inbox.Poison{Store: m.store}.List(ctx, after, poisonPage)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	type row struct {
		Position uint64 `json:"position"`
		Reason   string `json:"reason"`
		Topic    string `json:"topic"`
		Method   string `json:"method,omitempty"`
		Size     int    `json:"size"`
	}
	rows := []row{}
	for _, p := range all {
		rows = append(rows, row(p))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(rows)
}

// replayPoison publishes one of them again to where it came from.
func (m *Main) replayPoison(w http.ResponseWriter, r *http.Request) {
	if p, ok := m.dealWith(w, r, inbox.Poison.Replay); ok {
		m.Log.WarnContext(r.Context(), "poison message replayed", poisonAttrs(p)...)
		_, _ = fmt.Fprintf(w, "message %d was published again to %s\n", p.Position, p.Topic)
	}
}

// dropPoison lets one of them be.
func (m *Main) dropPoison(w http.ResponseWriter, r *http.Request) {
	if p, ok := m.dealWith(w, r, inbox.Poison.Drop); ok {
		m.Log.WarnContext(r.Context(), "poison message dropped", poisonAttrs(p)...)
		_, _ = fmt.Fprintf(w, "message %d was dropped\n", p.Position)
	}
}

// dealWith does what an operator asks for with the message at a position, once.
// What begins goes on when the operator hangs up.
func (m *Main) dealWith(w http.ResponseWriter, r *http.Request, do func(inbox.Poison, context.Context, uint64) (inbox.Poisoned, error)) (inbox.Poisoned, bool) {
	text := r.FormValue("position")
	position, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("position %q is not one: it must be a number that GET /poison told", text), http.StatusBadRequest)
		return inbox.Poisoned{}, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), poisonWithin)
	defer cancel()
	p, err := do(inbox.Poison{Store: m.store}, ctx, position)
	switch {
	case err == nil:
		return p, true
	case errors.Is(err, inbox.ErrNoPoison):
		http.Error(w, fmt.Sprintf("position %d: %v", position, err), http.StatusNotFound)
	case errors.Is(err, inbox.ErrDealtWith):
		http.Error(w, fmt.Sprintf("position %d: %v", position, err), http.StatusConflict)
	default:
		http.Error(w, fmt.Sprintf("position %d: %v; asking again does nothing twice", position, err), http.StatusServiceUnavailable)
	}
	return p, false
}

// poisonAttrs describe a message in a log.
func poisonAttrs(p inbox.Poisoned) []any {
	return []any{slog.Uint64("position", p.Position), slog.String("reason", p.Reason), slog.String("topic", p.Topic), slog.String("method", p.Method), slog.Int("size", p.Size)}
}
