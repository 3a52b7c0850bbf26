package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/threefoldtech/cloud-marketplace/gateway"
	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

// startAdmin serves what is nobody else's business.
func (m *Main) startAdmin(ctx context.Context) (string, error) {
	l, err := listen(ctx, m.Config.Listen.Admin)
	if err != nil {
		return "", fmt.Errorf("listen for operators: %w", err)
	}
	m.serve(l, m.adminRoutes()) //nolint:contextcheck // whoever looks at metrics hands in none
	return l.Addr().String(), nil
}

// adminRoutes changes nothing on behalf of a page that an operator's browser shows.
func (m *Main) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.metrics().Handler())
	mux.HandleFunc("GET /healthz", m.healthy)
	mux.HandleFunc("GET /readyz", m.ready)
	mux.HandleFunc("GET /backup", m.sendBackup)
	mux.HandleFunc("POST /archive", m.archive)
	mux.HandleFunc("GET /halted", m.halted)
	mux.HandleFunc("POST /halted/clear", m.clearHalted)
	mux.HandleFunc("GET /poison", m.poison)
	mux.HandleFunc("POST /poison/replay", m.replayPoison)
	mux.HandleFunc("POST /poison/drop", m.dropPoison)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return m.named(http.NewCrossOriginProtection().Handler(mux))
}

// named holds requests of operators to names that only this machine has: a page
// whose name resolves to it must not read what is here.
func (m *Main) named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := gateway.HostName(r)
		if net.ParseIP(host) == nil && host != "localhost" && !slices.Contains(m.Config.Gateway.Hosts, host) {
			http.Error(w, "this host name is not served here", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// healthy says that the process lives.
func (m *Main) healthy(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") }

// ready says whether the process should get traffic, and if not why.
func (m *Main) ready(w http.ResponseWriter, _ *http.Request) {
	health := m.store.Health()
	switch {
	case m.gateway.Draining():
		http.Error(w, "draining", http.StatusServiceUnavailable)
	case !m.verifier.Ready():
		http.Error(w, "the issuer's keys are not known yet", http.StatusServiceUnavailable)
	case health.Err != nil:
		http.Error(w, "the store: "+health.Err.Error(), http.StatusServiceUnavailable)
	case health.Note != "":
		_, _ = fmt.Fprintln(w, "ready, but "+health.Note)
	default:
		_, _ = fmt.Fprintln(w, "ready")
	}
}

// metrics tells the counts of every part.
func (m *Main) metrics() *telemetry.Metrics {
	t := m.telemetry
	if t == nil { // nothing was started that counts
		t = telemetry.NewMetrics()
	}
	t.Gauge("actors", "Actors in memory.", func() uint64 { return m.system.Stats().Engine.Live })
	t.Counter("bounces_total", "Attempts that nobody decided.", func() uint64 { return m.system.Stats().Engine.Bounces })
	t.Counter("late_total", "Answers that nobody waited for any more.", func() uint64 { return m.system.Stats().Engine.Late })
	t.Counter("commands_total", "Decisions with events.", func() uint64 { return m.system.Stats().Entity.Commands })
	t.Counter("commits_total", "Commits with events.", func() uint64 { return m.system.Stats().Entity.Commits })
	t.Counter("store_transactions_total", "Transactions of the store that were synced; commits share them.", func() uint64 { return m.store.Stats().Transactions })
	t.Counter("repeats_total", "Commands that were answered from memory.", func() uint64 { return m.system.Stats().Entity.Repeats })
	t.Counter("fenced_total", "Incarnations ended by another owner's commit.", func() uint64 { return m.system.Stats().Entity.Fenced })
	t.Counter("lost_total", "Entities halted because the store contradicts what was acknowledged; /halted lists them. Alarm above zero.", func() uint64 { return m.system.Stats().Entity.Lost })
	t.Counter("unknown_total", "Commits handed over again because their outcome was not known.", func() uint64 { return m.system.Stats().Entity.Unknown })
	t.Counter("overloaded_total", "Requests refused because an actor held too many.", func() uint64 { return m.system.Stats().Entity.Overloaded })
	t.Counter("panics_total", "Incarnations ended by a panic.", func() uint64 { return m.system.Stats().Entity.Panics })
	t.Counter("damaged_snapshots_total", "Snapshots passed over because they could not be read. Alarm above zero.", func() uint64 { return m.system.Stats().Entity.Damaged })
	t.Gauge("grid_failures", "Looks at the grid that failed since one succeeded. Alarm when it grows.", func() uint64 { return count(m.watcher.Status().Failures) })
	t.Gauge("grid_seen_timestamp_seconds", "When a look at the grid last succeeded.", func() uint64 { return uint64(max(0, m.watcher.Status().LastSuccess.Unix())) })
	t.Gauge("grid_skipped_nodes", "Nodes that the grid told and that made no sense.", func() uint64 { return count(m.watcher.Status().Skipped) })
	t.Gauge("nodes", "Nodes in the catalogue.", func() uint64 { return count(m.system.Catalogue.Len()) })
	m.topicMetrics(t)
	return t
}

// count is a number of things, which is not negative.
func count(n int) uint64 { return uint64(n) } //nolint:gosec // see above

// describe answers with the schema: a FileDescriptorSet of everything that clients may say and hear.
func describe(w http.ResponseWriter, _ *http.Request) {
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	for _, m := range messages.Methods {
		if !m.Internal {
			add(m.Request().ProtoReflect().Descriptor().ParentFile())
		}
	}
	body, err := proto.Marshal(set)
	if err != nil {
		http.Error(w, "the schema could not be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body)
}
