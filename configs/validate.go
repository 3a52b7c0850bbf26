package configs

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate returns everything that is wrong, joined, each with the path of its
// setting; or nil.
func (c Config) Validate() error {
	var f faults
	f.oneOf("environment", c.Environment, Sandbox, Production)
	f.when(c.Data == "", "data", "must name a folder")
	c.Listen.validate(&f)
	c.Store.Redis.validate(&f)
	between(&f, "store.archive_every", c.Store.ArchiveEvery, time.Second, 8760*time.Hour)
	c.World.validate(&f)
	c.Auth.validate(&f)
	f.url("grid.proxy_url", c.Grid.ProxyURL)
	between(&f, "grid.refresh", c.Grid.Refresh, time.Second, 24*time.Hour)
	c.Gateway.validate(&f)
	between(&f, "actors.idle_after", c.Actors.IdleAfter, time.Second, 24*time.Hour)
	between(&f, "actors.snapshot_every", c.Actors.SnapshotEvery, 1, 100_000)
	between(&f, "actors.gate_limit", c.Actors.GateLimit, 1, 1_000_000)
	between(&f, "actors.scan_every", c.Actors.ScanEvery, 10*time.Millisecond, time.Minute)
	between(&f, "billing.credit_grace", c.Billing.CreditGrace, 0, 90*24*time.Hour)
	f.url("telemetry.otlp_endpoint", c.Telemetry.OTLPEndpoint)
	between(&f, "telemetry.trace_ratio", c.Telemetry.TraceRatio, 0, 1)
	f.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	f.oneOf("log.format", c.Log.Format, "text", "json")
	if c.Environment == Production {
		c.validateProduction(&f)
	}
	return errors.Join(f...)
}

func (l Listen) validate(f *faults) {
	f.address("listen.api", l.API)
	f.address("listen.admin", l.Admin)
	f.when(l.API == l.Admin && !strings.HasSuffix(l.API, ":0"), "listen.admin", "must not be the address of listen.api")
}

func (r Redis) validate(f *faults) {
	u, err := url.Parse(r.URL)
	f.when(r.URL != "" && (err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" || u.User != nil || u.RawQuery != ""),
		"store.redis.url", "is not a URL such as redis://127.0.0.1:6379/0, without a user or query")
	secure := err == nil && u.Scheme == "rediss"
	f.when(r.URL != "" && !secure && r.CAFile+r.CertFile != "", "store.redis.url", "must begin with rediss:// for certificates to be used")
	f.when((r.CertFile == "") != (r.KeyFile == ""), "store.redis.cert_file", "needs store.redis.key_file, and the other way round")
	f.when(r.Tag == "" || strings.ContainsAny(r.Tag, "{}* ?[]"), "store.redis.tag", "%q is not a word without braces, stars or spaces", r.Tag)
}

func (w World) validate(f *faults) {
	f.loopbackAddress("sandbox.issuer", w.Issuer)
	f.loopbackAddress("sandbox.gridproxy", w.GridProxy)
	between(f, "sandbox.time_scale", w.TimeScale, 1, 86_400)
	between(f, "sandbox.token_ttl", w.TokenTTL, 10*time.Second, 24*time.Hour)
	between(f, "sandbox.step_delay", w.StepDelay, 0, time.Minute)
}

func (a Auth) validate(f *faults) {
	f.url("auth.issuer", a.Issuer)
	f.when(a.Issuer != "" && !strings.HasSuffix(a.Issuer, "/"), "auth.issuer", "must end with a slash, as it does in tokens")
	f.when(a.Audience == "", "auth.audience", "must not be empty: tokens for others would be believed")
	f.when(a.RolesClaim == "", "auth.roles_claim", "must not be empty: nobody would have a role")
	f.url("auth.jwks_url", a.JWKSURL)
	f.url("auth.public_url", a.PublicURL)
	f.when(strings.HasSuffix(a.PublicURL, "/"), "auth.public_url", "must not end with a slash")
	f.when(a.ClientSecret != "" && a.ClientID == "", "auth.client_secret", "is nobody's without auth.client_id")
	f.when(a.ClientID != "" && (a.Issuer == "" || a.PublicURL == ""), "auth.client_id", "needs auth.issuer and auth.public_url")
	between(f, "auth.session_lifetime", a.SessionLifetime, time.Minute, 90*24*time.Hour)
	between(f, "auth.session_idle", a.SessionIdle, time.Minute, max(a.SessionLifetime, time.Minute))
}

func (g Gateway) validate(f *faults) {
	between(f, "gateway.max_frame_bytes", g.MaxFrameBytes, KiB, 16*MiB)
	between(f, "gateway.in_flight", g.InFlight, 1, 10_000)
	between(f, "gateway.subscriptions", g.Subscriptions, 1, 10_000)
	between(f, "gateway.rate", g.Rate, 1, 100_000)
	between(f, "gateway.burst", g.Burst, max(g.Rate, 1), 1_000_000)
	between(f, "gateway.ping_after", g.PingAfter, time.Second, 10*time.Minute)
	between(f, "gateway.pong_within", g.PongWithin, 100*time.Millisecond, 10*time.Minute)
	between(f, "gateway.message_within", g.MessageWithin, 100*time.Millisecond, 10*time.Minute)
	between(f, "gateway.open_within", g.OpenWithin, 100*time.Millisecond, time.Minute)
	between(f, "gateway.expiry_notice", g.ExpiryNotice, time.Second, time.Hour)
	between(f, "gateway.expiry_grace", g.ExpiryGrace, 100*time.Millisecond, 5*time.Minute)
	between(f, "gateway.queue_bytes", g.QueueBytes, max(g.MaxFrameBytes, KiB), GiB)
	between(f, "gateway.connections", g.Connections, 1, 1_000_000)
	between(f, "gateway.per_address", g.PerAddress, 1, 1_000_000)
	between(f, "gateway.per_user", g.PerUser, 1, 100_000)
	between(f, "gateway.handshake_rate", g.HandshakeRate, 1, 1_000_000)
	between(f, "gateway.handshake_burst", g.HandshakeBurst, max(g.HandshakeRate, 1), 1_000_000)
	f.when((g.TLSCertFile == "") != (g.TLSKeyFile == ""), "gateway.tls_cert_file", "needs gateway.tls_key_file, and the other way round")
	for _, p := range g.Proxies {
		_, err := netip.ParsePrefix(p)
		f.when(err != nil, "gateway.proxies", "%q is not a network, such as 10.0.0.0/8", p)
	}
	between(f, "gateway.drain", g.Drain, 0, 10*time.Minute)
	for _, o := range g.Origins {
		u, err := url.Parse(o)
		f.when(err != nil || !web(u) || strings.Contains(o, "*") || u.Scheme+"://"+u.Host != o,
			"gateway.origins", "%q is not an origin, such as https://dashboard.example.com, without a path or a star", o)
	}
	for _, h := range g.Hosts {
		f.when(h == "" || strings.ContainsAny(h, "/*[]@ ") || strings.Contains(h, ":") && net.ParseIP(h) == nil,
			"gateway.hosts", "%q is not the name of a host, such as api.example.com, without scheme or port", h)
	}
}

// faults is what is wrong so far.
type faults []error

// when adds a fault if there is one.
func (f *faults) when(wrong bool, path, sentence string, args ...any) {
	if wrong {
		*f = append(*f, fmt.Errorf("%s: "+sentence, append([]any{path}, args...)...))
	}
}

func (f *faults) oneOf(path, value string, allowed ...string) {
	f.when(!slices.Contains(allowed, value), path, "%q is none of %s", value, strings.Join(allowed, ", "))
}

// between adds a fault if a value is not from least to most.
func between[T int | float64 | Bytes | time.Duration](f *faults, path string, value, least, most T) {
	f.when(value < least || value > most, path, "%v is not from %v to %v", value, least, most)
}

// address returns the host of a value that is a host and a port; if it is
// not, it adds a fault and returns nothing.
func (f *faults) address(path, value string) string {
	host, port, err := net.SplitHostPort(value)
	_, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || host == "" {
		f.when(true, path, "%q is not a host and a port, such as 127.0.0.1:8080", value)
		return ""
	}
	return host
}

// loopbackAddress adds a fault if a value is no address that only this machine reaches.
func (f *faults) loopbackAddress(path, value string) {
	host := f.address(path, value)
	f.when(host != "" && !loopback(host), path, "must be on loopback: whoever reaches the sandbox may be anybody in it")
}

// url adds a fault if a value is something else than nothing or a URL.
func (f *faults) url(path, value string) {
	u, err := url.Parse(value)
	f.when(value != "" && (err != nil || !web(u) || u.RawQuery != "" || u.Fragment != ""),
		path, "%q is not a URL, such as https://example.com/, without a user, query or fragment", value)
}

// web says whether a URL is one of http or https that names a host and no user.
func web(u *url.URL) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil
}

// loopback says whether a host is this machine as it calls itself.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
