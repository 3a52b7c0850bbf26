package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// halted lists the entities that wait for a person, with the reason of each.
func (m *Main) halted(w http.ResponseWriter, r *http.Request) {
	all, err := m.store.HaltedEntities(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	type row struct {
		Kind string `json:"kind"`
		ID   string `json:"id"`
		Why  string `json:"why"`
	}
	rows := []row{}
	for _, h := range all {
		rows = append(rows, row{h.Entity.Kind, h.Entity.ID, h.Why})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(rows)
}

// clearHalted lets one of them work again from what is stored.
func (m *Main) clearHalted(w http.ResponseWriter, r *http.Request) {
	e := persistence.Entity{Kind: r.FormValue("kind"), ID: r.FormValue("id")}
	all, err := m.store.HaltedEntities(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	for _, h := range all {
		if h.Entity != e {
			continue
		}
		if err := m.store.Clear(context.WithoutCancel(r.Context()), e); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		m.Log.WarnContext(r.Context(), "halted entity cleared", slog.String("entity", e.String()), slog.String("why", h.Why), slog.String("epoch", m.store.Epoch()))
		_, _ = fmt.Fprintf(w, "%s works again from what is stored; streams begin anew in epoch %s\n", e, m.store.Epoch())
		return
	}
	http.Error(w, fmt.Sprintf("%s is not halted", e), http.StatusNotFound)
}
