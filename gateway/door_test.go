package gateway

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// TestOtherPages refuses pages of other sites, and names that this server has not.
func TestOtherPages(t *testing.T) {
	s := serve(t, func(c *Config) { c.Origins = []string{"https://friend.example"} })
	for name, c := range map[string]struct {
		path, host, origin, method string
		want                       int
	}{
		"socket":                    {"/ws", "localhost", "", "GET", 101},
		"socket, own page":          {"/ws", "localhost", "http://localhost", "GET", 101},
		"socket, own page over TLS": {"/ws", "localhost", "https://localhost", "GET", 403},
		"socket, capitals":          {"/ws", "LocalHost", "", "GET", 101},
		"socket, friend":            {"/ws", "localhost", "https://friend.example", "GET", 101},
		"socket, foreign page":      {"/ws", "localhost", "https://evil.example", "GET", 403},
		"socket, foreign host":      {"/ws", "evil.example", "", "GET", 421},
		"socket, rebound host":      {"/ws", "evil.example", "http://evil.example", "GET", 421},
		"request":                   {"/api/cloud-user/get-account", "localhost", "", "POST", 200},
		"request, friend":           {"/api/cloud-user/get-account", "localhost", "https://friend.example", "POST", 200},
		"request, foreign page":     {"/api/cloud-user/get-account", "localhost", "https://evil.example", "POST", 403},
		"request, foreign host":     {"/api/cloud-user/get-account", "evil.example", "", "POST", 421},
		"request, trailing part":    {"/api/cloud-user/get-account", "localhost.evil.example", "", "POST", 421},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.status(c.method, c.path, c.host, c.origin); got != c.want {
				t.Errorf("status %d, not %d", got, c.want)
			}
		})
	}
}

// TestScheme takes a page for ours only if it came the way that we are reached by.
func TestScheme(t *testing.T) {
	g := New(Config{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for name, c := range map[string]struct {
		tls              bool
		from, told, want string
	}{
		"plain":                   {false, "192.0.2.1:1", "", "http"},
		"TLS":                     {true, "192.0.2.1:1", "", "https"},
		"a proxy that is trusted": {false, "10.0.0.1:1", "https", "https"},
		"and says nothing":        {false, "10.0.0.1:1", "", "http"},
		"one that is not":         {false, "192.0.2.1:1", "https", "http"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/ws", nil)
		r.RemoteAddr = c.from
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if c.told != "" {
			r.Header.Set("X-Forwarded-Proto", c.told)
		}
		if got := g.scheme(r); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}

// TestPaced refuses an address that asks too often, and sooner what asks in vain.
func TestPaced(t *testing.T) {
	s := serve(t, func(c *Config) { c.Limits.HandshakeRate, c.Limits.HandshakeBurst = 1, 2*refusedCost })
	paced := s.gateway.Paced(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wrong" {
			http.Error(w, "no", http.StatusBadRequest)
		}
	}))
	ask := func(path, from string) int {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		paced.ServeHTTP(w, r)
		return w.Code
	}
	taken := map[string]int{}
	for range 3 * refusedCost {
		for path, from := range map[string]string{"/right": "192.0.2.1:1", "/wrong": "192.0.2.2:1"} {
			if ask(path, from) != http.StatusTooManyRequests {
				taken[path]++
			}
		}
	}
	if taken["/right"] != 2*refusedCost || taken["/wrong"] != 2 {
		t.Errorf("taken: %v", taken)
	}
}
