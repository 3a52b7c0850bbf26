// Package issuer plays Auth0 in the sandbox: it signs people in, without a
// password, and issues the access tokens that the marketplace believes.
//
// It speaks OpenID Connect in Auth0's spelling, so that in production only the
// URL differs: discovery, keys, the authorization code with PKCE, refresh
// tokens that are used once, userinfo and /v2/logout. One thing is the
// sandbox's own: POST /oauth/token with grant_type=password and a username
// gives that person's access token to whoever asks.
//
// # Safety
//
// Whoever reaches the issuer may be anybody. New refuses production and any
// host but loopback; requests that were not meant for a name of loopback are
// turned away, and so are those that a page of a site that is no client sends.
//
// # Restarts
//
// The signing keys are kept in a file: access tokens stay good over a restart.
// Codes and refresh tokens are forgotten, and their owners sign in anew.
package issuer

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

// Errors of New.
var (
	// ErrProduction means that the environment is production.
	ErrProduction = errors.New("the sandbox's issuer asks for no password and never runs in production")
	// ErrNotLoopback means that others could reach the issuer.
	ErrNotLoopback = errors.New("the sandbox's issuer asks for no password and runs on loopback only")
)

// Config configures an Issuer.
type Config struct {
	URL         string        // how tokens name the issuer: http://127.0.0.1:8090/
	Audience    string        // the API that access tokens are for
	RolesClaim  string        // the claim that lists the roles
	KeyFile     string        // where the signing keys are kept; empty: nowhere
	Environment string        // must not be production
	Clock       clock.Clock   // nil: the real one
	AccessTTL   time.Duration // how long an access token lives; zero: 10 minutes
	Clients     []Client      // who may ask for people to be signed in
	Log         *slog.Logger  // nil: none
}

// Issuer is an http.Handler.
type Issuer struct {
	config  Config
	keys    *keyring
	grants  *grants
	handler http.Handler
}

// New returns an issuer whose keys are those of the key file, which it creates
// if there is none. The error is ErrProduction, ErrNotLoopback, or says what
// else cannot be used.
func New(c Config) (*Issuer, error) {
	if c.Environment == "production" {
		return nil, ErrProduction
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%q is not the URL of an issuer, such as http://127.0.0.1:8090/", c.URL)
	}
	if !loopback(u.Hostname()) {
		return nil, fmt.Errorf("%w, not on %s", ErrNotLoopback, u.Hostname())
	}
	if c.Audience == "" || c.RolesClaim == "" {
		return nil, errors.New("the sandbox's issuer needs the audience and the roles claim of its tokens")
	}
	if c.Clock == nil {
		c.Clock = clock.Real{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.AccessTTL == 0 {
		c.AccessTTL = 10 * time.Minute
	}
	keys, err := openKeyring(c.KeyFile)
	if err != nil {
		return nil, err
	}
	i := &Issuer{config: c, keys: keys, grants: newGrants(c.Clock)}
	i.handler, err = i.routes(u.Scheme + "://" + u.Host)
	return i, err
}

// Rotate makes the key that is published as the next one sign. What was signed
// before stays good until the rotation after this one.
func (i *Issuer) Rotate() error { return i.keys.rotate() }

// ServeHTTP answers a request.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) { i.handler.ServeHTTP(w, r) }

// routes returns the issuer's pages behind their guards.
func (i *Issuer) routes(own string) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /.well-known/jwks.json", i.jwks)
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /authorize", i.authorize)
	mux.HandleFunc("POST /oauth/token", i.token)
	mux.HandleFunc("GET /userinfo", i.userinfo)
	mux.HandleFunc("GET /v2/logout", i.logout)

	guard := http.NewCrossOriginProtection()
	origins := map[string]bool{own: true}
	for _, c := range i.config.Clients {
		for _, o := range c.origins() {
			origins[o] = true
		}
	}
	for o := range origins {
		if err := guard.AddTrustedOrigin(o); err != nil {
			return nil, fmt.Errorf("the redirect of a client of the sandbox's issuer: %w", err)
		}
	}
	return onLoopback(sharing(origins, guard.Handler(mux))), nil
}

// onLoopback turns away what was meant for another host: a page whose name was
// made to point here after it had been loaded.
func onLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !loopback(strings.Trim(host, "[]")) {
			http.Error(w, "The sandbox's issuer answers on loopback only.", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		next.ServeHTTP(w, r)
	})
}

// sharing lets pages of these origins read the answers.
func sharing(origins map[string]bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Vary", "Origin")
		if o := r.Header.Get("Origin"); origins[o] {
			h.Set("Access-Control-Allow-Origin", o)
			if r.Method == http.MethodOptions {
				h.Set("Access-Control-Allow-Methods", "GET, POST")
				h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// loopback says whether a host is this machine as it calls itself.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// answer writes v as JSON that nobody is to keep.
func (i *Issuer) answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		i.config.Log.DebugContext(r.Context(), "answer not written", slog.Any("error", err))
	}
}

// failure is an error as OAuth tells it.
type failure struct {
	status int
	Code   string `json:"error"`
	Text   string `json:"error_description"`
}

// Error returns what went wrong.
func (f *failure) Error() string { return f.Code + ": " + f.Text }

func invalidGrant(text string) error {
	return &failure{http.StatusBadRequest, "invalid_grant", text}
}

// fail tells err to the client. What is no failure is the issuer's own, and goes to the log.
func (i *Issuer) fail(w http.ResponseWriter, r *http.Request, err error) {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		i.config.Log.ErrorContext(r.Context(), "sandbox issuer", slog.Any("error", err))
		f = &failure{http.StatusInternalServerError, "server_error", "Something went wrong here."}
	}
	i.answer(w, r, f.status, f)
}
