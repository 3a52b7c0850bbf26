package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// TestHalted lists what waits for a person, and lets it go, but not for a page
// of somebody else's in an operator's browser.
func TestHalted(t *testing.T) {
	store, err := boltstore.Open(filepath.Join(t.TempDir(), storeFile), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Halt(t.Context(), persistence.Entity{Kind: "user", ID: "auth0|ann"}, "it went back"); err != nil {
		t.Fatal(err)
	}
	m := &Main{store: store, Log: slog.New(slog.DiscardHandler)}
	admin := httptest.NewServer(m.adminRoutes())
	t.Cleanup(admin.Close)
	ask := func(method, path, origin string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, admin.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, strings.TrimSpace(string(body))
	}
	epoch := store.Epoch()
	const ann = "/halted/clear?kind=user&id=auth0%7Cann"
	for _, c := range []struct {
		method, path, origin string
		status               int
		body                 string
	}{
		{"GET", "/halted", "", 200, `[{"kind":"user","id":"auth0|ann","why":"it went back"}]`},
		{"GET", ann, "", 405, "Method Not Allowed"},
		{"POST", ann, "https://elsewhere.example", 403, "cross-origin request detected from Sec-Fetch-Site, or Origin does not match Host"},
		{"POST", "/halted/clear?kind=user&id=bob", "", 404, "user/bob is not halted"},
		{"POST", ann, "", 200, ""},
		{"GET", "/halted", "", 200, "[]"},
		{"POST", ann, "", 404, "user/auth0|ann is not halted"},
	} {
		status, body := ask(c.method, c.path, c.origin)
		if status != c.status || c.body != "" && body != c.body && status != 403 {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, body)
		}
	}
	if store.Epoch() == epoch {
		t.Error("the history was not renamed")
	}
}
