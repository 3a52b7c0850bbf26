package issuer

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/threefoldtech/cloud-marketplace/gateway/identity"
)

func TestCodeFlow(t *testing.T) {
	w := open(t)
	discovered := w.get(".well-known/openid-configuration").json
	for key, path := range map[string]string{"issuer": "", "authorization_endpoint": "authorize", "token_endpoint": "oauth/token", "jwks_uri": ".well-known/jwks.json", "userinfo_endpoint": "userinfo"} {
		if discovered[key] != w.url+path {
			t.Errorf("discovery says %s is %v", key, discovered[key])
		}
	}
	_, challenge := verifier()
	chooser := w.get("authorize?" + question(challenge).Encode())
	for _, want := range []string{`value="alice"`, `value="bob"`, `value="olga"`, "cloud-user, cloud-provider"} {
		if !strings.Contains(chooser.text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if csp := chooser.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' http://127.0.0.1:8080") {
		t.Errorf("the page's policy is %q: browsers would not go back to the client", csp)
	}

	code, secret := w.signIn("bob")
	given := w.exchange(code, secret)
	if given.StatusCode != http.StatusOK || given.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("exchange: %s %s", given.Status, given.text)
	}
	access, err := w.claims(given.json["access_token"])
	if err != nil {
		t.Fatal(err)
	}
	want := jwt.MapClaims{
		"iss": w.url, "sub": "sandbox|bob", "aud": []any{api, w.url + "userinfo"}, "azp": "dashboard", "scope": "openid profile offline_access",
		roles: []any{"cloud-user", "cloud-provider"}, "iat": float64(start.Unix()), "exp": float64(start.Add(10 * time.Minute).Unix()),
	}
	if !reflect.DeepEqual(access, want) {
		t.Errorf("access token says %v, want %v", access, want)
	}
	id, err := w.claims(given.json["id_token"])
	if err != nil || id["aud"] != "dashboard" || id["nonce"] != "n1" || id["name"] != "Bob" {
		t.Errorf("id token says %v, %v", id, err)
	}
	r := w.request(http.MethodGet, "userinfo", nil)
	r.Header.Set("Authorization", fmt.Sprint("Bearer ", given.json["access_token"]))
	if a := w.send(r); a.json["sub"] != "sandbox|bob" || a.json["email"] != "bob@sandbox.example" {
		t.Errorf("userinfo: %s %s", a.Status, a.text)
	}
	r.Header.Set("Authorization", fmt.Sprint("Bearer ", given.json["id_token"]))
	if a := w.send(r); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("userinfo with an id token: %s %s", a.Status, a.text)
	}
}

func TestCodeIsGoodOnce(t *testing.T) {
	w := open(t)
	code, secret := w.signIn("alice")
	given := w.exchange(code, secret)
	if a := w.exchange(code, secret); a.json["error"] != "invalid_grant" {
		t.Errorf("a replayed code: %s %s", a.Status, a.text)
	}
	if a := w.refresh(given.json["refresh_token"]); a.json["error"] != "invalid_grant" {
		t.Errorf("a refresh after the code was replayed: %s %s", a.Status, a.text)
	}
}

func TestCodeIsBound(t *testing.T) {
	w := open(t)
	for _, c := range []struct {
		name   string
		change []string
		wait   time.Duration
		want   string
	}{
		{"other verifier", []string{"code_verifier", rand.Text() + rand.Text()}, 0, "invalid_grant"},
		{"no verifier", []string{"code_verifier", ""}, 0, "invalid_grant"},
		{"other redirect", []string{"redirect_uri", callback + "/"}, 0, "invalid_grant"},
		{"other client", []string{"client_id", "server", "client_secret", "hush"}, 0, "invalid_grant"},
		{"unknown client", []string{"client_id", "nobody"}, 0, "invalid_client"},
		{"no client", []string{"client_id", ""}, 0, "invalid_client"},
		{"secret of a public client", []string{"client_secret", "x"}, 0, "invalid_client"},
		{"late", nil, codeTTL + time.Second, "invalid_grant"},
		{"unknown code", []string{"code", "x"}, 0, "invalid_grant"},
		{"code as a refresh token", []string{"grant_type", "refresh_token"}, 0, "invalid_grant"},
		{"other grant", []string{"grant_type", "client_credentials"}, 0, "unsupported_grant_type"},
	} {
		code, secret := w.signIn("alice")
		w.clock.Advance(c.wait)
		pairs := append([]string{
			"grant_type", "authorization_code", "client_id", "dashboard", "redirect_uri", callback,
			"code", code, "refresh_token", code, "code_verifier", secret,
		}, c.change...)
		if a := w.token(pairs...); a.json["error"] != c.want || a.json["access_token"] != nil {
			t.Errorf("%s: %s %s", c.name, a.Status, a.text)
		}
	}
}

func TestRefresh(t *testing.T) {
	w := open(t)
	first := w.exchange(w.signIn("alice")).json["refresh_token"]
	w.clock.Advance(time.Hour)
	second := w.refresh(first)
	access, err := w.claims(second.json["access_token"])
	if err != nil || access["sub"] != "sandbox|alice" || second.json["refresh_token"] == first {
		t.Fatalf("refreshed: %s %v %v", second.text, access, err)
	}
	if a := w.refresh(first); a.json["error"] != "invalid_grant" {
		t.Errorf("a refresh token used again: %s %s", a.Status, a.text)
	}
	if a := w.refresh(second.json["refresh_token"]); a.json["error"] != "invalid_grant" {
		t.Errorf("the family of a refresh token that was used again: %s %s", a.Status, a.text)
	}
	third := w.exchange(w.signIn("alice")).json["refresh_token"]
	if a := w.token("grant_type", "refresh_token", "client_id", "server", "client_secret", "hush", "refresh_token", fmt.Sprint(third)); a.json["error"] != "invalid_grant" {
		t.Errorf("another client's refresh token: %s %s", a.Status, a.text)
	}
	w.clock.Advance(refreshTTL + time.Second)
	if a := w.refresh(third); a.json["error"] != "invalid_grant" {
		t.Errorf("an old refresh token: %s %s", a.Status, a.text)
	}
	w.signIn("alice")
	if n := len(w.grants.tickets); n != 1 {
		t.Errorf("%d tickets are remembered, want the last one only", n)
	}
}

// TestMarketplaceBelieves holds the tokens to what verifies them in production.
func TestMarketplaceBelieves(t *testing.T) {
	w := open(t)
	v, err := identity.New(t.Context(), identity.Config{Issuer: w.url, Audience: api, RolesClaim: roles, Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	given := w.exchange(w.signIn("bob")).json
	who, err := v.Verify(fmt.Sprint(given["access_token"]))
	if want := "[ROLE_CLOUD_USER ROLE_CLOUD_PROVIDER]"; err != nil || who.Subject != "sandbox|bob" || fmt.Sprint(who.Roles) != want {
		t.Errorf("got %v, %v", who, err)
	}
	if who, err := v.Verify(fmt.Sprint(given["id_token"])); err == nil {
		t.Errorf("an id token stands for %v", who)
	}
	for range 2 {
		if err := w.Rotate(); err != nil {
			t.Fatal(err)
		}
		olga := w.token("grant_type", "password", "username", "olga").json["access_token"]
		if who, err := v.Verify(fmt.Sprint(olga)); err != nil || fmt.Sprint(who.Roles) != "[ROLE_CLOUD_OPERATOR]" {
			t.Errorf("after a rotation: %v, %v", who, err)
		}
	}
}
