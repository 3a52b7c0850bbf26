package gateway

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Guard holds every request to the names and sites that are allowed, before
// anybody else sees it: the wrong host, and a page of another site that would
// change something, are refused. It answers the questions that browsers ask on behalf of pages of allowed sites, and says what
// browsers are to make of the answers.
func (g *Gateway) Guard(next http.Handler) http.Handler {
	sites := http.NewCrossOriginProtection()
	for _, o := range g.origins {
		if err := sites.AddTrustedOrigin(o); err != nil {
			g.log.Warn("origin not trusted", slog.String("origin", o), slog.Any("error", err))
		}
	}
	sites.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.refuseHTTP(w, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ORIGIN_REFUSED, "the request comes from a page of another site"))
	}))
	guarded := sites.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !g.hostAllowed(r) {
			g.refuseHTTP(w, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_HOST_REFUSED, "this host name is not served here"))
			return
		}
		if g.share(h, r) && r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// share lets a page of an allowed site read the answer; false for every other.
func (g *Gateway) share(h http.Header, r *http.Request) bool {
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(g.origins, origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", "Marketplace-Position, Retry-After")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Traceparent")
		h.Set("Access-Control-Max-Age", "600")
	}
	return true
}

// hostAllowed holds requests to the names this server has: a page of another
// name that resolves to this machine must not get in.
func (g *Gateway) hostAllowed(r *http.Request) bool { return g.hosts[strings.ToLower(HostName(r))] }

// HostName returns the name or address that a request is for, as it spells it,
// without port and brackets.
func HostName(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return strings.Trim(host, "[]")
}

// originAllowed says whether the page that a socket is opened by, if one is, is
// ours or of an allowed site.
func (g *Gateway) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return origin == "" || origin == g.scheme(r)+"://"+r.Host || slices.Contains(g.origins, origin)
}

// scheme returns how the browser reached us: a proxy that is trusted knows.
func (g *Gateway) scheme(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-Proto"), ","), ",")
	if told := strings.ToLower(strings.TrimSpace(hops[len(hops)-1])); told != "" && err == nil && g.trusted(at.Addr().Unmap()) {
		return told
	}
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// address returns who is at the other end: of a proxy that is trusted, whom it
// names last.
func (g *Gateway) address(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	from := at.Addr().Unmap()
	if len(g.proxies) > 0 {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, hop := range slices.Backward(hops) {
			named, err := netip.ParseAddr(strings.TrimSpace(hop))
			if err != nil || !g.trusted(from) {
				break
			}
			from = named.Unmap()
		}
	}
	if from.Is6() { // a site has a whole network of them
		if p, err := from.Prefix(64); err == nil {
			return p.String()
		}
	}
	return from.String()
}

func (g *Gateway) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(g.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Paced holds the addresses that ask a handler to how many handshakes they may
// have. What they ask in vain costs them more.
func (g *Gateway) Paced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address := g.address(r)
		if !g.handshakes.take(address, 1, g.clock.Now().UnixMilli()) {
			g.refuseHTTP(w, later(marketplacev1.ErrorReason_ERROR_REASON_RATE_LIMITED, time.Second, "more than %d requests a second from one address", g.limits.HandshakeRate))
			return
		}
		told := &answered{ResponseWriter: w}
		next.ServeHTTP(told, r)
		if told.code >= http.StatusBadRequest && told.code < http.StatusInternalServerError {
			g.handshakes.charge(address, refusedCost, g.clock.Now().UnixMilli())
		}
	})
}

// answered notes the status of an answer.
type answered struct {
	http.ResponseWriter
	code int
}

// WriteHeader notes the status.
func (a *answered) WriteHeader(code int) {
	a.code = code
	a.ResponseWriter.WriteHeader(code)
}

// door takes a place for a connection, or says why there is none.
func (g *Gateway) door(address string) *messages.Error {
	switch {
	case g.draining.Load():
		return later(marketplacev1.ErrorReason_ERROR_REASON_DRAINING, time.Second, "this server is about to stop")
	case !g.handshakes.take(address, 1, g.clock.Now().UnixMilli()):
		return later(marketplacev1.ErrorReason_ERROR_REASON_RATE_LIMITED, time.Second, "more than %d connections a second from one address", g.limits.HandshakeRate)
	case !g.addresses.add(address, g.limits.PerAddress, g.limits.Connections):
		if g.addresses.total() >= g.limits.Connections {
			return later(marketplacev1.ErrorReason_ERROR_REASON_OVERLOADED, 10*time.Second, "this server has as many connections as it takes")
		}
		return later(marketplacev1.ErrorReason_ERROR_REASON_RATE_LIMITED, 10*time.Second, "more than %d connections from one address", g.limits.PerAddress)
	}
	return nil
}

// later refuses what may be asked again after a while.
func later(reason marketplacev1.ErrorReason, after time.Duration, format string, args ...any) *messages.Error {
	e := messages.Refuse(reason, format, args...)
	e.Retry = after
	return e
}
