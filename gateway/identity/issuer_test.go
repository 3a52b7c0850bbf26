package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

const (
	issuerURL = "https://login.example/"
	api       = "https://marketplace.example/api"
	rolesName = "https://cloud.example/roles"
)

// rsaKeys are keys that the tests share: making them takes longest.
var rsaKeys = sync.OnceValue(func() (keys [3]*rsa.PrivateKey) {
	for i := range keys {
		keys[i], _ = rsa.GenerateKey(rand.Reader, 2048)
	}
	return keys
})

// issuer publishes keys without a network.
type issuer struct {
	mu     sync.Mutex
	answer func() (status int, body string)
	asked  int
	hold   chan struct{} // until it is closed, nothing is answered
}

// RoundTrip answers a request for the keys.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.asked++
	answer, hold := i.answer, i.hold
	i.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	status, body := answer()
	if status == 0 {
		return nil, errors.New("no route to the issuer")
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// says changes what is answered.
func (i *issuer) says(status int, body string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = func() (int, string) { return status, body }
}

// requests returns how often the keys were asked for.
func (i *issuer) requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

type jwk map[string]any

// published returns a key as it stands in a set.
func published(id string, key *rsa.PrivateKey) jwk {
	text := base64.RawURLEncoding.EncodeToString
	return jwk{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": text(key.N.Bytes()), "e": text(big.NewInt(int64(key.E)).Bytes())}
}

// set returns a set of keys.
func set(t *testing.T, keys ...jwk) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// open returns a verifier that believes an issuer.
func open(t *testing.T, from *issuer, c clock.Clock) *Verifier {
	t.Helper()
	v, err := New(t.Context(), Config{Issuer: issuerURL, Audience: api, RolesClaim: rolesName, HTTPClient: &http.Client{Transport: from}, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// claims returns those of a good token, changed: a value of nil drops one.
func claims(now time.Time, changes ...any) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": issuerURL, "sub": "auth0|abc", "aud": []string{api, issuerURL + "userinfo"}, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
		"azp": "dashboard", "scope": "openid", rolesName: []string{"cloud-user"},
	}
	for i := 0; i < len(changes); i += 2 {
		if name := changes[i].(string); changes[i+1] == nil {
			delete(c, name)
		} else {
			c[name] = changes[i+1]
		}
	}
	return c
}

// sign returns a token with a header of its own.
func sign(t *testing.T, method jwt.SigningMethod, key any, header map[string]any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	maps.Copy(token.Header, header)
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// good returns a token as the issuer signs it under a key id.
func good(t *testing.T, id string, key *rsa.PrivateKey, c jwt.MapClaims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodRS256, key, map[string]any{"kid": id}, c)
}
