package issuer

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

const (
	api      = "https://marketplace.example/api"
	roles    = "https://cloud.example/roles"
	callback = "http://127.0.0.1:8080/auth/callback"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is an issuer behind a socket, and a browser that does not follow
// redirects by itself.
type world struct {
	*testing.T
	*Issuer
	url     string
	clock   *clock.Manual
	browser *http.Client
}

func open(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{T: t, clock: clock.NewManual(start)}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.ServeHTTP(rw, r) }))
	t.Cleanup(server.Close)
	w.url = server.URL + "/"
	w.browser = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c := Config{
		URL: w.url, Audience: api, RolesClaim: roles, Clock: w.clock,
		KeyFile: filepath.Join(t.TempDir(), "sandbox", "issuer.pem"),
		Clients: []Client{
			{ID: "dashboard", Redirects: []string{callback}},
			{ID: "server", Secret: "hush", Redirects: []string{"http://localhost:8080/auth/callback?from=server"}},
		},
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	if w.Issuer, err = New(c); err != nil {
		t.Fatal(err)
	}
	return w
}

// request returns a request of a form.
func (w *world) request(method, path string, form url.Values) *http.Request {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// answer is what came back.
type answer struct {
	*http.Response
	text string
	json map[string]any // nil if it is none
}

func (w *world) send(r *http.Request) answer {
	w.Helper()
	response, err := w.browser.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.Fatal(err)
	}
	a := answer{Response: response, text: string(body)}
	_ = json.Unmarshal(body, &a.json)
	return a
}

func (w *world) get(path string) answer {
	w.Helper()
	return w.send(w.request(http.MethodGet, path, nil))
}

func (w *world) token(pairs ...string) answer {
	w.Helper()
	return w.send(w.request(http.MethodPost, "oauth/token", form(pairs...)))
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// verifier returns a new secret for PKCE and its challenge.
func verifier() (secret, challenge string) {
	secret = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(secret))
	return secret, base64.RawURLEncoding.EncodeToString(sum[:])
}

// question returns the query with which the dashboard begins to sign somebody in.
func question(challenge string, pairs ...string) url.Values {
	q := form("client_id", "dashboard", "redirect_uri", callback, "response_type", "code", "state", "s1", "nonce", "n1",
		"audience", api, "scope", "openid profile offline_access", "code_challenge", challenge, "code_challenge_method", "S256")
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

// signIn returns a code for a person and its verifier.
func (w *world) signIn(username string) (code, secret string) {
	w.Helper()
	secret, challenge := verifier()
	a := w.send(w.request(http.MethodPost, "authorize?"+question(challenge).Encode(), form("username", username)))
	to, err := a.Location()
	if err != nil {
		w.Fatalf("no way back: %s %s", a.Status, a.text)
	}
	q := to.Query()
	if !strings.HasPrefix(to.String(), callback+"?") || q.Get("state") != "s1" || q.Get("iss") != w.url || q.Get("code") == "" {
		w.Fatalf("sent back to %s", to)
	}
	return q.Get("code"), secret
}

func (w *world) exchange(code, secret string) answer {
	w.Helper()
	return w.token("grant_type", "authorization_code", "client_id", "dashboard", "redirect_uri", callback, "code", code, "code_verifier", secret)
}

func (w *world) refresh(token any) answer {
	w.Helper()
	return w.token("grant_type", "refresh_token", "client_id", "dashboard", "refresh_token", fmt.Sprint(token))
}

// claims returns what a token says, once it is proven by the published keys.
func (w *world) claims(token any) (jwt.MapClaims, error) {
	w.Helper()
	keys, err := keyfunc.NewJWKSetJSON(json.RawMessage(w.get(".well-known/jwks.json").text))
	if err != nil {
		w.Fatal(err)
	}
	claims := jwt.MapClaims{}
	_, err = jwt.ParseWithClaims(fmt.Sprint(token), claims, keys.Keyfunc, jwt.WithTimeFunc(w.clock.Now), jwt.WithIssuer(w.url))
	return claims, err
}
