package gateway

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// traffic is what all connections of a gateway count together.
type traffic struct {
	sent, sentBytes, received, receivedBytes atomic.Uint64
	owed                                     atomic.Int64 // bytes in the queues of slow readers
}

// meters are the gateway's numbers by method, reason and code. Labels come from
// the schema, so there are not more of them than it names.
type meters struct {
	took     map[*messages.Method]func(time.Duration) // from the frame to the answer
	swept    map[*messages.Method]func(time.Duration) // from a push to its last write
	refusals telemetry.Counters
	closes   telemetry.Counters
	resumes  telemetry.Counters
	pongs    func(time.Duration)
}

func newMeters(g *Gateway, m *telemetry.Metrics) *meters {
	if m == nil {
		m = telemetry.NewMetrics()
	}
	t := &g.traffic
	m.Gauge("sessions", "Connections that are signed in.", func() uint64 { return g.Stats().Sessions })
	m.Gauge("connections", "Connections that are open, whether or not they are signed in.", func() uint64 { return uint64(max(0, g.addresses.total())) })
	m.Gauge("users", "People with a connection.", func() uint64 { return uint64(g.registry.users()) }) //nolint:gosec // a count
	m.Gauge("streams", "Streams that this process hears.", func() uint64 { return g.hub.stats().Topics })
	m.Gauge("subscriptions", "Streams that connections hear, each counted.", func() uint64 { return g.hub.stats().Subscriptions })
	m.Gauge("queue_bytes", "Bytes that slow readers have not taken yet.", func() uint64 { return uint64(max(0, t.owed.Load())) })
	m.Counter("connections_total", "Connections that were accepted.", g.counts.accepted.Load)
	m.Counter("requests_total", "Requests of clients.", g.counts.requests.Load)
	m.Counter("refused_total", "Connections and HTTP requests that were refused.", g.counts.refused.Load)
	m.Counter("frames_received_total", "Frames that clients sent.", t.received.Load)
	m.Counter("frames_received_bytes_total", "Their bytes.", t.receivedBytes.Load)
	m.Counter("writes_total", "Writes to connections; one holds all frames that were ready.", t.sent.Load)
	m.Counter("writes_bytes_total", "Their bytes.", t.sentBytes.Load)
	m.Counter("pushes_total", "Pushes that actors said to this process.", g.hub.counts.pushes.Load)
	m.Counter("deliveries_total", "Pushes that were written, once for each connection.", g.hub.counts.frames.Load)
	m.Counter("coalesced_total", "Pushes that joined another that still waited, or took its place.", g.hub.counts.coalesced.Load)
	m.Counter("gaps_total", "Pushes that did not follow and were asked for again.", g.hub.counts.gaps.Load)
	m.Counter("revocations_total", "Changes of access that were followed.", g.revoked.Load)
	took := m.Durations("request_seconds", "From a request to its answer, by method.", "method")
	swept := m.Durations("delivery_seconds", "From a push to its last write, by method.", "method")
	all := &meters{
		took: map[*messages.Method]func(time.Duration){}, swept: map[*messages.Method]func(time.Duration){},
		refusals: m.Counters("refusals_total", "Requests that were refused, by reason.", "reason"),
		closes:   m.Counters("closes_total", "Connections that the server closed, by code.", "code"),
		resumes:  m.Counters("resumes_total", "Streams that were subscribed to: afresh, recovered or lost.", "outcome"),
		pongs:    m.Durations("pong_seconds", "From a ping to its pong.", "kind").Of("pong"),
	}
	for _, method := range messages.Methods {
		switch {
		case method.Internal:
		case method.Stream != optionsv1.Stream_STREAM_UNSPECIFIED:
			all.swept[method] = swept.Of(method.Path)
		default:
			all.took[method] = took.Of(method.Path)
		}
	}
	return all
}

// answered notes how long a request took.
func (m *meters) answered(method *messages.Method, since time.Duration) {
	if o := m.took[method]; o != nil {
		o(since)
	}
}

func (m *meters) refused(e *messages.Error) {
	m.refusals.Add(messages.ReasonName(e.Reason))
}

func (m *meters) closed(code Code) { m.closes.Add(strconv.Itoa(int(code))) }

// resumed notes how a subscription began.
func (m *meters) resumed(after string, recovered bool) {
	switch {
	case after == "":
		m.resumes.Add("afresh")
	case recovered:
		m.resumes.Add("recovered")
	default:
		m.resumes.Add("lost")
	}
}
