// Package gateway lets people in: WebSocket sessions, the same methods over
// HTTP, and a hub that pushes what they watch. It knows no nouns: methods,
// their roles and their actors come from the schema.
//
// # Parts
//
// conn writes and reads bytes. Session is one signed-in connection. The router
// turns a name and parameters into a request for one actor. Hub hears each
// stream once per process and writes each push, encoded once, to all who watch.
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
// queued, and a client that owes too much is sent away.
package gateway

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
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

// Config configures a Gateway.
type Config struct {
	Limits Limits
	// Verify returns who a token stands for, or a *messages.Error.
	Verify  func(token string) (Principal, error)
	Clock   clock.Clock  // nil: the real one
	Log     *slog.Logger // nil: none
	Origins []string     // origins of other hosts that browsers may come from
	Hosts   []string     // host names that requests may be for; empty: the loopback's
}

// Gateway serves the marketplace's methods.
type Gateway struct {
	limits  Limits
	verify  func(token string) (Principal, error)
	clock   clock.Clock
	log     *slog.Logger
	origins []string
	hosts   map[string]bool
	actors  Actors
	hub     *Hub
	slow    []byte

	draining atomic.Bool
	counts   counts
	quit     context.CancelFunc
	done     sync.WaitGroup

	mu       sync.Mutex
	sessions map[*Session]struct{}
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
		limits: c.Limits.withDefaults(), verify: c.Verify, clock: c.Clock, log: c.Log, origins: c.Origins,
		hosts: map[string]bool{}, sessions: map[*Session]struct{}{}, slow: closeFrame(CodeSlow, "reading too slowly; come back and resume"),
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
	return g
}

// Hub returns what takes the actors' pushes.
func (g *Gateway) Hub() *Hub { return g.hub }

// Start lets requests be answered by actors.
func (g *Gateway) Start(actors Actors) {
	g.actors = actors
	ctx, quit := context.WithCancel(context.Background())
	g.quit = quit
	g.done.Go(func() { g.beat(ctx) })
	g.done.Go(func() { g.hub.run(ctx) })
}

// Stats returns the counts.
func (g *Gateway) Stats() Stats {
	g.mu.Lock()
	n := len(g.sessions)
	g.mu.Unlock()
	return Stats{Sessions: uint64(n), Accepted: g.counts.accepted.Load(), Requests: g.counts.requests.Load(), Refused: g.counts.refused.Load(), Hub: g.hub.stats()}
}

// Draining says whether the gateway sends people away.
func (g *Gateway) Draining() bool { return g.draining.Load() }

// Drain sends everyone away: no new connections, a notice with a moment to come
// back at, then closes spread over the time that ctx leaves, each when its
// requests are answered.
func (g *Gateway) Drain(ctx context.Context, within time.Duration) {
	g.draining.Store(true)
	var wait sync.WaitGroup
	for _, s := range g.all() {
		after := time.Duration(rand.Int64N(int64(within)/2 + 1)) //nolint:gosec // spreads reconnects, guards nothing
		s.notify("session/draining", `{"reconnectMs":`+itoa(after.Milliseconds())+`}`)
		wait.Go(func() { s.leave(ctx, after, within-after) })
	}
	wait.Wait()
}

// Stop ends what Start began and drops whoever is still there.
func (g *Gateway) Stop() {
	for _, s := range g.all() {
		s.close(CodeDraining, "the server stops")
	}
	g.quit()
	g.done.Wait()
}

func (g *Gateway) all() []*Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*Session, 0, len(g.sessions))
	for s := range g.sessions {
		all = append(all, s)
	}
	return all
}

// beat looks after every session once a second: pings, silence, expiry.
func (g *Gateway) beat(ctx context.Context) {
	t := time.NewTicker(time.Second) //nolint:forbidigo // how often to look; what is due is decided by the clock
	defer t.Stop()
	for {
		select {
		case <-t.C:
			now := g.clock.Now()
			for _, s := range g.all() {
				s.look(now)
			}
		case <-ctx.Done():
			return
		}
	}
}

// WebSocket returns the handler of /ws.
func (g *Gateway) WebSocket() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.draining.Load() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "this server is about to stop", http.StatusServiceUnavailable)
			return
		}
		if !g.hostAllowed(r) {
			http.Error(w, "this host name is not served here", http.StatusForbidden)
			return
		}
		h := &hijacker{ResponseWriter: w, limit: g.limits.QueueBytes, slow: g.slow}
		s := &Session{gateway: g}
		ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
			Subprotocols: []string{Subprotocol}, OriginPatterns: g.origins, CompressionMode: websocket.CompressionDisabled,
			OnPongReceived: func(context.Context, []byte) { s.heard() },
		})
		if err != nil {
			g.log.InfoContext(r.Context(), "handshake refused", slog.Any("error", err))
			return
		}
		g.counts.accepted.Add(1)
		s.conn, s.ws = h.conn, ws
		// The authentication has a goroutine of its own, whose stack may grow
		// and dies with it.
		go s.open(bearer(r)) //nolint:gosec,contextcheck // the session outlives the handshake's request
	})
}
