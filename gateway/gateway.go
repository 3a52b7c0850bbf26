// Package gateway lets people in: WebSocket sessions, the same methods over
// HTTP, streams as server-sent events, and a hub that pushes what they watch. It
// knows no nouns: methods, their roles and their actors come from the schema.
//
// # Parts
//
// Guard stands before every door: hosts, sites, headers. conn writes and reads
// bytes. Session is one signed-in connection; the registry knows them by whose
// they are, and the wheel looks after them in turn. The router turns a name and
// parameters into a request for one actor. Hub hears each stream once per process
// and writes each push, encoded once, to all who watch.
//
// # Who comes in
//
// Identify says who a credential stands for; what a person may is in the schema.
// A change of access that others publish is followed: connections that may not go
// on are closed, and whoever is on the way in is looked at again.
//
// # Order
//
// A push of a commit is written before the commit's replies: a reply goes
// through the queue of the streams that its session watches of the same actor.
//
// # Concurrency
//
// A connection has one goroutine, which only reads, on a stack that stays
// small. Decoding, routing and encoding run on a worker that exists while there
// is work. Nothing here blocks on a client: what a socket does not take is
// queued. Of a view only the newest waits; of events every one does, and a client
// that owes too much of them is sent away, to resume.
package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/pool"
	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Subprotocol is the WebSocket subprotocol that is spoken here.
const Subprotocol = "marketplace.jsonrpc.v1"

// Limits bound what one client may ask. Zero values have the defaults that are named.
type Limits struct {
	FrameBytes    int           // a frame or body; 64 KiB
	InFlight      int           // requests without their answer; 64
	Subscriptions int           // streams of one connection; 128
	Rate          int           // requests a second; 100
	Burst         int           // requests at once; 200
	QueueBytes    int           // what a slow reader may owe; 1 MiB
	OpenWithin    time.Duration // session/open after the handshake; 5 s
	PingAfter     time.Duration // silence before a ping; 25 s, less up to a quarter
	PongWithin    time.Duration // the answer to a ping; 10 s
	MessageWithin time.Duration // a whole message once begun; 10 s
	ExpiryNotice  time.Duration // session/expiring before the token's end; 60 s
	ExpiryGrace   time.Duration // the connection lives past the token's end; 25 s
	Renew         time.Duration // how often a watch is renewed; 5 s
	CallTimeout   time.Duration // an actor's answer; 10 s

	Connections    int // of this process; 100,000
	PerAddress     int // connections from one address; 1,000
	PerUser        int // connections of one subject, beyond which the oldest is replaced; 50
	HandshakeRate  int // connections a second from one address; 100
	HandshakeBurst int // connections at once from one address; 1,000
}

func (l Limits) withDefaults() Limits {
	number := func(n *int, to int) {
		if *n == 0 {
			*n = to
		}
	}
	duration := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	number(&l.FrameBytes, 64<<10)
	number(&l.InFlight, 64)
	number(&l.Subscriptions, 128)
	number(&l.Rate, 100)
	number(&l.Burst, 200)
	number(&l.QueueBytes, 1<<20)
	number(&l.Connections, 100_000)
	number(&l.PerAddress, 1000)
	number(&l.PerUser, 50)
	number(&l.HandshakeRate, 100)
	number(&l.HandshakeBurst, 1000)
	duration(&l.OpenWithin, 5*time.Second)
	duration(&l.PingAfter, 25*time.Second)
	duration(&l.PongWithin, 10*time.Second)
	duration(&l.MessageWithin, 10*time.Second)
	duration(&l.ExpiryNotice, time.Minute)
	duration(&l.ExpiryGrace, 25*time.Second)
	duration(&l.Renew, 5*time.Second)
	duration(&l.CallTimeout, 10*time.Second)
	return l
}

// Principal is who asks.
type Principal struct {
	Subject   string
	Roles     []optionsv1.Role
	Expires   time.Time
	IssuedAt  time.Time // when the token was issued, the browser signed in, or the key was made
	SessionID string    // the session or API key that lets the person in; empty: a token does
	Renewable time.Time // until when Identify can prolong it; zero: not at all
	Region    string    // what the person has chosen; empty: none
}

// key says whether an API key lets the person in.
func (p *Principal) key() bool { return p.SessionID != "" && p.Renewable.IsZero() }

// Credential is what somebody shows to be let in: one of the two.
type Credential struct{ Bearer, Cookie string }

// Config configures a Gateway.
type Config struct {
	Limits Limits
	// Identify returns who a credential stands for, or a *messages.Error. It may
	// take a while.
	Identify func(ctx context.Context, c Credential) (Principal, error)
	Cookie   func(r *http.Request) string // the cookie of a browser's session; nil: there are none
	Clock    clock.Clock                  // nil: the real one
	Log      *slog.Logger                 // nil: none
	Origins  []string                     // origins of other hosts that browsers may come from
	Hosts    []string                     // host names that requests may be for; empty: the loopback's
	Proxies  []netip.Prefix               // who may say on whose behalf it asks
	Metrics  *telemetry.Metrics           // nil: nobody looks
	Tracer   *telemetry.Tracer            // nil: nothing is traced
}

// Gateway serves the marketplace's methods.
type Gateway struct {
	limits   Limits
	identify func(ctx context.Context, c Credential) (Principal, error)
	cookie   func(r *http.Request) string
	clock    clock.Clock
	log      *slog.Logger
	origins  []string
	hosts    map[string]bool
	proxies  []netip.Prefix
	actors   Actors
	hub      *Hub
	byFrames terms // of connections that speak WebSocket
	byEvents terms // of streams by HTTP
	traffic  traffic
	meters   *meters
	tracer   *telemetry.Tracer

	registry   *registry
	wheel      wheel
	handshakes *limiter      // by address
	callers    *limiter      // HTTP requests, by subject
	history    *limiter      // what was missed, in KiB, by subject
	addresses  tally         // connections, by address
	revoked    atomic.Uint64 // how often somebody's access changed
	lookEvery  time.Duration // how long a session is left to itself
	draining   atomic.Bool
	counts     counts
	delivered  delivered // of items with an audience
	quit       context.CancelFunc
	done       sync.WaitGroup
}

type counts struct{ accepted, requests, refused atomic.Uint64 }

// Stats are counts since the start, and how many sessions there are now.
type Stats struct {
	Sessions, Accepted, Requests, Refused uint64
	Hub                                   HubStats
}

// New returns a Gateway; Start sets it going.
func New(c Config) *Gateway {
	g := &Gateway{
		limits: c.Limits.withDefaults(), identify: c.Identify, cookie: c.Cookie, clock: c.Clock, log: c.Log, origins: c.Origins, proxies: c.Proxies, tracer: c.Tracer,
		hosts: map[string]bool{}, registry: newRegistry(), lookEvery: lookAtMost,
	}
	g.handshakes = newLimiter(g.limits.HandshakeRate, g.limits.HandshakeBurst)
	g.callers = newLimiter(g.limits.Rate, g.limits.Burst)
	g.history = newLimiter(historyRate, historyBurst)
	if g.cookie == nil {
		g.cookie = func(*http.Request) string { return "" }
	}
	if g.clock == nil {
		g.clock = clock.Real{}
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	hosts := c.Hosts
	if len(hosts) == 0 {
		hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	for _, h := range hosts {
		g.hosts[strings.ToLower(h)] = true
	}
	g.hub = newHub(g)
	g.meters = newMeters(g, c.Metrics)
	const slow = "reading too slowly; come back and resume"
	onSlow := func() { g.meters.closed(CodeSlow) }
	g.byFrames = terms{g.limits.QueueBytes, closeFrame(CodeSlow, slow), onSlow, &g.traffic, false}
	g.byEvents = terms{g.limits.QueueBytes, closeEvent(CodeSlow, slow), onSlow, &g.traffic, true}
	return g
}

// Hub returns what takes the actors' pushes.
func (g *Gateway) Hub() *Hub { return g.hub }

// Start lets requests be answered by actors.
func (g *Gateway) Start(actors Actors) {
	g.actors = actors
	ctx, quit := context.WithCancel(context.Background())
	g.quit = quit
	g.done.Go(func() { g.wheel.run(ctx, g.clock.Now) })
	g.done.Go(func() { g.hub.run(ctx) })
}

// Stats returns the counts.
func (g *Gateway) Stats() Stats {
	n := g.registry.count.Load()
	return Stats{Sessions: uint64(max(0, n)), Accepted: g.counts.accepted.Load(), Requests: g.counts.requests.Load(), Refused: g.counts.refused.Load(), Hub: g.hub.stats()}
}

// Draining says whether the gateway sends people away.
func (g *Gateway) Draining() bool { return g.draining.Load() }

func isSubprotocol(offered string) bool { return strings.TrimSpace(offered) == Subprotocol }

// WebSocket returns the handler of /ws. Guard is to stand before it.
func (g *Gateway) WebSocket() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := Credential{Bearer: bearer(r)}
		if shown.Bearer == "" && r.Header.Get("Origin") != "" { // a browser, and originAllowed knows its page
			shown.Cookie = g.cookie(r)
		}
		if !g.originAllowed(r) {
			g.refuseHTTP(w, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ORIGIN_REFUSED, "the connection comes from a page of another site"))
			return
		}
		if offered := strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ","); offered != "" && !slices.ContainsFunc(strings.Split(offered, ","), isSubprotocol) {
			g.refuseHTTP(w, malformed("the subprotocol spoken here is %s", Subprotocol))
			return
		}
		address := g.address(r)
		if e := g.door(address); e != nil {
			g.refuseHTTP(w, e)
			return
		}
		s := &Session{gateway: g, address: address}
		h := &hijacker{ResponseWriter: w, terms: &g.byFrames, conn: &s.conn}
		ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
			Subprotocols: []string{Subprotocol}, InsecureSkipVerify: true, // originAllowed is stricter: a scheme counts
			CompressionMode: websocket.CompressionDisabled,
			OnPingReceived:  func(context.Context, []byte) bool { return s.control() },
			OnPongReceived:  func(context.Context, []byte) { s.ponged() },
		})
		if err != nil {
			g.addresses.done(address)
			g.log.InfoContext(r.Context(), "handshake refused", slog.Any("error", err))
			return
		}
		g.counts.accepted.Add(1)
		s.ws = ws
		// The authentication needs a large stack, and the session's reader is to
		// have a small one.
		pool.Go(func() { s.open(shown) }) //nolint:contextcheck // the session outlives the handshake's request
	})
}
