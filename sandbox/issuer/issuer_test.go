package issuer

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRefuses(t *testing.T) {
	good := Config{URL: "http://127.0.0.1:8090/", Audience: api, RolesClaim: roles, Environment: "sandbox"}
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   error // nil: any
	}{
		{"production", func(c *Config) { c.Environment = "production" }, ErrProduction},
		{"a public host", func(c *Config) { c.URL = "https://login.example.com/" }, ErrNotLoopback},
		{"every address", func(c *Config) { c.URL = "http://0.0.0.0:8090/" }, ErrNotLoopback},
		{"a name that looks like loopback", func(c *Config) { c.URL = "http://127.0.0.1.example.com/" }, ErrNotLoopback},
		{"no host", func(c *Config) { c.URL = "http:///" }, ErrNotLoopback},
		{"no slash at the end", func(c *Config) { c.URL = "http://127.0.0.1:8090" }, nil},
		{"no URL", func(c *Config) { c.URL = "" }, nil},
		{"a user", func(c *Config) { c.URL = "http://me@127.0.0.1/" }, nil},
		{"no audience", func(c *Config) { c.Audience = "" }, nil},
		{"no roles claim", func(c *Config) { c.RolesClaim = "" }, nil},
	} {
		config := good
		c.change(&config)
		if i, err := New(config); err == nil || i != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, u := range []string{"http://localhost:1/", "http://[::1]:1/", "https://127.8.8.8/"} {
		good.URL = u
		if _, err := New(good); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
}

func TestPasswordGrant(t *testing.T) {
	w := open(t, func(c *Config) { c.AccessTTL = time.Hour })
	for name, want := range map[string]string{"alice": "[cloud-user]", "bob": "[cloud-user cloud-provider]", "olga": "[cloud-operator]"} {
		a := w.token("grant_type", "password", "username", name, "scope", "offline_access")
		claims, err := w.claims(a.json["access_token"])
		if err != nil || claims["sub"] != "sandbox|"+name || claims["aud"] != api || claims["gty"] != "password" || fmt.Sprint(claims[roles]) != want {
			t.Errorf("%s: %s %v %v", name, a.text, claims, err)
		}
		if a.json["expires_in"] != 3600.0 || a.json["refresh_token"] != nil {
			t.Errorf("%s: %s", name, a.text)
		}
	}
	for _, c := range []struct {
		want  string
		pairs []string
	}{
		{"invalid_grant", []string{"username", "eve"}},
		{"invalid_grant", nil},
		{"access_denied", []string{"username", "alice", "audience", "https://other.example"}},
		{"invalid_client", []string{"username", "alice", "client_id", "server", "client_secret", "guess"}},
	} {
		if a := w.token(append(c.pairs, "grant_type", "password")...); a.json["error"] != c.want {
			t.Errorf("%v: %s, want %s", c.pairs, a.text, c.want)
		}
	}
	r := w.request(http.MethodPost, "oauth/token", form("grant_type", "password", "username", "alice", "scope", "offline_access"))
	r.SetBasicAuth("server", "hush")
	if a := w.send(r); a.json["refresh_token"] == nil {
		t.Errorf("a client that is known: %s", a.text)
	}
	r = w.request(http.MethodPost, "oauth/token", form("grant_type", "password", "username", "alice", "x", strings.Repeat("a", 20<<10)))
	if a := w.send(r); a.StatusCode == http.StatusOK {
		t.Errorf("a body of 20 KiB: %s", a.text)
	}
}

func TestRedirects(t *testing.T) {
	w := open(t)
	_, challenge := verifier()
	for _, c := range []struct {
		name, method, key, value string

		want string // error that the client is told; empty: nobody is sent anywhere
	}{
		{"other site", http.MethodPost, "redirect_uri", "https://evil.example/", ""},
		{"longer path", http.MethodPost, "redirect_uri", callback + "/x", ""},
		{"other port", http.MethodPost, "redirect_uri", "http://127.0.0.1:8081/auth/callback", ""},
		{"another client's", http.MethodPost, "redirect_uri", "http://localhost:8080/auth/callback?from=server", ""},
		{"script", http.MethodPost, "redirect_uri", "javascript:alert(1)", ""},
		{"none", http.MethodPost, "redirect_uri", "", ""},
		{"unknown client", http.MethodPost, "client_id", "nobody", ""},
		{"implicit flow", http.MethodPost, "response_type", "token", "unsupported_response_type"},
		{"plain PKCE", http.MethodPost, "code_challenge_method", "plain", "invalid_request"},
		{"no PKCE", http.MethodPost, "code_challenge", "", "invalid_request"},
		{"unknown audience", http.MethodPost, "audience", "https://other.example", "access_denied"},
		{"nobody signed in", http.MethodGet, "prompt", "none", "login_required"},
	} {
		a := w.send(w.request(c.method, "authorize?"+question(challenge, c.key, c.value).Encode(), form("username", "alice")))
		to, err := a.Location()
		if (err == nil) != (c.want != "") {
			t.Errorf("%s: %s, sent to %v", c.name, a.Status, to)
		}
		if err == nil && (to.Query().Get("error") != c.want || to.Query().Get("state") != "s1" || !strings.HasPrefix(to.String(), callback+"?")) {
			t.Errorf("%s: sent to %s, want %s", c.name, to, c.want)
		}
	}
	a := w.get("authorize?" + question(challenge, "prompt", "none", "login_hint", "olga").Encode())
	if to, err := a.Location(); err != nil || to.Query().Get("code") == "" {
		t.Errorf("without a page: %s to %v", a.Status, to)
	}
	a = w.get("authorize?" + question(challenge, "prompt", "none", "login_hint", "olga", "client_id", "server", "redirect_uri", "http://localhost:8080/auth/callback?from=server").Encode())
	if to, err := a.Location(); err != nil || to.Query().Get("from") != "server" || to.Query().Get("code") == "" {
		t.Errorf("a redirect with a query of its own: %s to %v", a.Status, to)
	}
}

func TestLogout(t *testing.T) {
	w := open(t)
	for to, status := range map[string]int{
		"http://127.0.0.1:8080/": 302, "http://localhost:8080/bye": 302, "": 200,
		"https://evil.example/": 400, "http://127.0.0.1:8080@evil.example/": 400, "//evil.example": 400, "http://me@127.0.0.1:8080/": 400,
	} {
		a := w.get("v2/logout?" + form("returnTo", to).Encode())
		if a.StatusCode != status || status == 302 && a.Header.Get("Location") != to {
			t.Errorf("%s: %s %s", to, a.Status, a.Header.Get("Location"))
		}
	}
	if a := w.get("v2/logout?" + form("returnTo", "http://localhost:8080/", "client_id", "dashboard").Encode()); a.StatusCode != http.StatusBadRequest {
		t.Errorf("to another client's site: %s", a.Status)
	}
}

func TestGuards(t *testing.T) {
	w := open(t)
	for host, status := range map[string]int{"evil.example": 421, "127.0.0.1.evil.example:8090": 421, "10.0.0.1": 421, "localhost:8090": 200, "[::1]:8090": 200, "127.0.0.1": 200} {
		r := w.request(http.MethodGet, ".well-known/jwks.json", nil)
		r.Host = host
		if a := w.send(r); a.StatusCode != status {
			t.Errorf("for host %s: %s", host, a.Status)
		}
	}
	for origin, c := range map[string]struct {
		status int
		shared bool
	}{"http://127.0.0.1:8080": {200, true}, "http://localhost:8080": {200, true}, strings.TrimSuffix(w.url, "/"): {200, true}, "": {200, false}, "https://evil.example": {403, false}, "null": {403, false}} {
		r := w.request(http.MethodPost, "oauth/token", form("grant_type", "password", "username", "olga"))
		r.Header.Set("Origin", origin)
		a := w.send(r)
		if got := a.Header.Get("Access-Control-Allow-Origin"); a.StatusCode != c.status || (got == origin && got != "") != c.shared {
			t.Errorf("from %q: %s, shared with %q", origin, a.Status, got)
		}
		r = w.request(http.MethodOptions, "oauth/token", nil)
		r.Header.Set("Origin", origin)
		if a := w.send(r); (a.StatusCode == http.StatusNoContent) != c.shared {
			t.Errorf("question before it from %q: %s", origin, a.Status)
		}
	}
}

func TestUserinfoKnowsOnlyItsOwn(t *testing.T) {
	w := open(t)
	api := w.token("grant_type", "password", "username", "alice").json["access_token"]
	own := w.token("grant_type", "password", "username", "alice", "scope", "openid").json["access_token"]
	ask := func(token any) int {
		r := w.request(http.MethodGet, "userinfo", nil)
		r.Header.Set("Authorization", fmt.Sprint("Bearer ", token))
		return w.send(r).StatusCode
	}
	if s := ask(api); s != 401 {
		t.Errorf("a token for the API only: %d", s)
	}
	if s := ask(own); s != 200 {
		t.Errorf("a token for both: %d", s)
	}
	if s := ask(""); s != 401 {
		t.Errorf("no token: %d", s)
	}
	w.clock.Advance(11 * time.Minute)
	if s := ask(own); s != 401 {
		t.Errorf("an expired token: %d", s)
	}
}
