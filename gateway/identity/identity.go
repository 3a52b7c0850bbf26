// Package identity says who an access token stands for.
//
// It believes one issuer, of whose tokens it takes only what is meant for this
// API, signed with RS256 by a key that the issuer publishes. Everything else is
// refused with one sentence that says why and repeats nothing of the token.
//
// # Keys
//
// The issuer's keys are read in the background, every quarter of an hour and,
// until there are any, again and again. An answer without keys changes nothing:
// an issuer that is out of order signs nobody out. A token that names an unknown
// key has the keys read at once, for the issuer may have begun to sign with
// another one; whoever makes up names can cause that three times at once and
// then twice a minute, and beyond that is refused without a wait.
//
// # Concurrency
//
// Verify may be called by any number of goroutines. One goroutine reads keys;
// Close ends it and waits for it.
package identity

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// Principal is who a token stands for.
type Principal struct {
	Subject  string           // a possible id of an actor
	Roles    []optionsv1.Role // each once, in the token's order
	Expires  time.Time
	IssuedAt time.Time // when the token was issued, the browser signed in, or the key was made

	SessionID string    // the session or API key that lets the person in; empty: a token does
	Renewable time.Time // until when the session can be renewed; zero: it cannot
	Region    string    // what the person has chosen in the settings; empty: none
}

// Config configures a Verifier.
type Config struct {
	Issuer     string       // as tokens spell it, with the slash at its end
	Audience   string       // who tokens must be meant for
	RolesClaim string       // the claim that lists the roles
	JWKSURL    string       // where the keys are; empty: .well-known/jwks.json below the issuer
	HTTPClient *http.Client // nil: one that follows no redirects
	Clock      clock.Clock  // nil: the real one
	Log        *slog.Logger // nil: none
}

// Verifier verifies access tokens.
type Verifier struct {
	parser *jwt.Parser
	claim  string
	keys   *keys
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// New returns a Verifier that reads keys until ctx ends or it is closed. It
// does not wait for them, so that it can start while the issuer is down. The
// error says what of the configuration cannot be used.
func New(ctx context.Context, c Config) (*Verifier, error) {
	if c.Issuer == "" || c.Audience == "" || c.RolesClaim == "" {
		return nil, errors.New("verify access tokens: the issuer, the audience and the roles claim must be set")
	}
	if c.JWKSURL == "" {
		c.JWKSURL = c.Issuer + ".well-known/jwks.json"
	}
	if u, err := url.Parse(c.JWKSURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("verify access tokens: the URL of the keys is none")
	}
	if c.HTTPClient == nil {
		c.HTTPClient = plainClient()
	}
	if c.Clock == nil {
		c.Clock = clock.Real{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{
		claim: c.RolesClaim,
		keys:  newKeys(c),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{algorithm}), jwt.WithIssuer(c.Issuer), jwt.WithAudience(c.Audience),
			jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(leeway), jwt.WithStrictDecoding(),
			jwt.WithTimeFunc(c.Clock.Now),
		),
	}
	ctx, v.stop = context.WithCancel(ctx)
	v.done.Go(func() { v.keys.run(ctx) })
	return v, nil
}

// Ready says whether there are keys to verify tokens with.
func (v *Verifier) Ready() bool { return len(v.keys.all()) > 0 }

// Close ends the reading of keys. Tokens are verified with those there are.
func (v *Verifier) Close() {
	v.stop()
	v.done.Wait()
}

// plainClient returns a client that goes nowhere but where it is sent.
func plainClient() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
