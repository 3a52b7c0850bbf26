package identity

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	required = marketplacev1.ErrorReason_ERROR_REASON_TOKEN_REQUIRED
	wrong    = marketplacev1.ErrorReason_ERROR_REASON_TOKEN_INVALID
	expired  = marketplacev1.ErrorReason_ERROR_REASON_TOKEN_EXPIRED
)

// start is on a whole second, as the times in tokens are.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// respell changes bits of a token's last letter that stand for nothing.
func respell(token string) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + string(letters[strings.IndexByte(letters, token[last])^1])
}

func TestAttacks(t *testing.T) {
	key, foreign := rsaKeys()[0], rsaKeys()[1]
	from := &issuer{}
	from.says(200, set(t, published("k1", key)))
	v := open(t, from, clock.NewManual(start))

	with := func(changes ...any) string { return good(t, "k1", key, claims(start, changes...)) }
	header := func(pairs ...any) string {
		h := map[string]any{"kid": "k1"}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i].(string)] = pairs[i+1]
		}
		return sign(t, jwt.SigningMethodRS256, key, h, claims(start))
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	k1 := map[string]any{"kid": "k1"}
	part := strings.Split(with(), ".")
	encode := base64.RawURLEncoding.EncodeToString
	late, early := start.Add(31*time.Second).Unix(), start.Add(-31*time.Second).Unix()

	for _, c := range []struct {
		name, token string
		want        marketplacev1.ErrorReason // zero: it is accepted
		says        string
	}{
		{"as issued", with(), 0, ""},
		{"meant for this API only", with("aud", api), 0, ""},
		{"expired within the leeway", with("exp", start.Add(-29*time.Second).Unix()), 0, ""},
		{"issued ahead within the leeway", with("iat", start.Add(29*time.Second).Unix()), 0, ""},
		{"of type at+jwt", header("typ", "at+JWT"), 0, ""},
		{"of no type", header("typ", ""), 0, ""},

		{"none at all", "", required, "needs an access token"},
		{"no token", "hello", wrong, "not a signed token"},
		{"two parts", part[0] + "." + part[1], wrong, "not a signed token"},
		{"a part too many", with() + ".x", wrong, "not a signed token"},
		{"no JSON inside", encode([]byte("{")) + "." + part[1] + "." + part[2], wrong, "not a signed token"},
		{"padding", part[0] + "=." + part[1] + "." + part[2], wrong, ""},
		{"another spelling of its signature", respell(with()), wrong, "not a signed token"},
		{"expired", with("exp", early), expired, "has expired"},
		{"expired and not signed", part[0] + "." + part[1] + "." + encode(make([]byte, 256)), wrong, "not signed as its issuer signs"},
		{"expired and for others", with("exp", early, "aud", "https://other.example"), wrong, "another service"},
		{"never expires", with("exp", nil), wrong, "lacks a claim"},
		{"expires in words", with("exp", "soon"), wrong, "wrong type"},
		{"of another issuer", with("iss", "https://evil.example/"), wrong, "another issuer"},
		{"of an issuer without its slash", with("iss", strings.TrimSuffix(issuerURL, "/")), wrong, "another issuer"},
		{"of no issuer", with("iss", nil), wrong, ""},
		{"for another API", with("aud", "https://other.example"), wrong, "another service"},
		{"for nobody", with("aud", nil), wrong, ""},
		{"an id token", with("aud", "dashboard"), wrong, "another service"},
		{"not valid yet", with("nbf", late), wrong, "not valid yet"},
		{"issued in the future", with("iat", late), wrong, "issued in the future"},
		{"issued nobody knows when", with("iat", nil), wrong, "when it was issued"},
		{"without a subject", with("sub", nil), wrong, "subject names no account"},
		{"with an empty subject", with("sub", ""), wrong, "subject names no account"},
		{"with a subject that is a path", with("sub", "auth0|a/b"), wrong, `without "/" and "$"`},
		{"with a subject that is an address", with("sub", "user$alice"), wrong, `without "/" and "$"`},
		{"with a subject that is long", with("sub", strings.Repeat("a", 129)), wrong, "subject names no account"},
		{"with a subject that is a number", with("sub", 7), wrong, "subject names no account"},
		{"with a subject that nobody sees", with("sub", "auth0|a\u200bb"), wrong, "subject names no account"},
		{"signed with nothing", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, k1, claims(start)), wrong, "not signed as its issuer signs"},
		{"signed with the public key as a secret", sign(t, jwt.SigningMethodHS256, public, k1, claims(start)), wrong, "not signed as its issuer signs"},
		{"signed with RS512", sign(t, jwt.SigningMethodRS512, key, k1, claims(start)), wrong, "not signed as its issuer signs"},
		{"signed with PS256", sign(t, jwt.SigningMethodPS256, key, k1, claims(start)), wrong, "not signed as its issuer signs"},
		{"no key named", sign(t, jwt.SigningMethodRS256, key, nil, claims(start)), wrong, "does not name the key"},
		{"a key named by a number", header("kid", 1), wrong, "does not name the key"},
		{"a key with a long name", header("kid", strings.Repeat("k", 129)), wrong, "does not name the key"},
		{"another key under a known name", good(t, "k1", foreign, claims(start)), wrong, "not signed as its issuer signs"},
		{"brings its own key", sign(t, jwt.SigningMethodRS256, foreign, map[string]any{"kid": "k1", "jwk": published("k1", foreign)}, claims(start)), wrong, "not signed as its issuer signs"},
		{"says where its key is", sign(t, jwt.SigningMethodRS256, foreign, map[string]any{"kid": "k2", "jku": "https://evil.example/keys"}, claims(start)), wrong, "does not publish"},
		{"another payload", part[0] + "." + encode([]byte(`{"sub":"auth0|root"}`)) + "." + part[2], wrong, "not signed as its issuer signs"},
		{"roles as text", with(rolesName, "cloud-operator"), wrong, "roles are not a list"},
		{"roles as numbers", with(rolesName, []int{3}), wrong, "roles are not a list of names"},
		{"of type logout+jwt", header("typ", "logout+jwt"), wrong, "another type"},
		{"of a type that is a list", header("typ", []string{"JWT"}), wrong, "another type"},
		{"with extensions", header("crit", []string{"exp"}), wrong, "extensions"},
		{"9 KiB", with("x", strings.Repeat("a", 9<<10)), wrong, "larger than"},
	} {
		who, err := v.Verify(c.token)
		if c.want == 0 {
			if err != nil || who.Subject != "auth0|abc" {
				t.Errorf("%s: %v, %v", c.name, who, err)
			}
			continue
		}
		e, ok := errors.AsType[*messages.Error](err)
		if !ok || e.Reason != c.want || !strings.Contains(e.Message, c.says) || !reflect.DeepEqual(who, Principal{}) {
			t.Errorf("%s: %v, %v, want %s that says %q", c.name, who, err, c.want, c.says)
			continue
		}
		if strings.Contains(e.Message, "eyJ") || strings.Contains(e.Message, "evil") || strings.ContainsAny(e.Message, "\n.") {
			t.Errorf("%s: %q is not one sentence without secrets", c.name, e.Message)
		}
	}
}

func TestPrincipal(t *testing.T) {
	key := rsaKeys()[0]
	from := &issuer{}
	from.says(200, set(t, published("k1", key)))
	v := open(t, from, clock.NewManual(start))
	who, err := v.Verify(good(t, "k1", key, claims(start)))
	want := Principal{Subject: "auth0|abc", Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}, Expires: start.Add(10 * time.Minute), IssuedAt: start}
	if err != nil || who.Subject != want.Subject || !who.Expires.Equal(want.Expires) || !who.IssuedAt.Equal(want.IssuedAt) || !reflect.DeepEqual(who.Roles, want.Roles) {
		t.Errorf("got %+v, %v, want %+v", who, err, want)
	}
	for _, c := range []struct {
		name    string
		changes []any
		want    string
	}{
		{"no roles", []any{rolesName, nil}, "[]"},
		{"an empty list", []any{rolesName, []string{}}, "[]"},
		{"all roles", []any{rolesName, []string{"cloud-user", "cloud-provider", "cloud-operator"}}, "[ROLE_CLOUD_USER ROLE_CLOUD_PROVIDER ROLE_CLOUD_OPERATOR]"},
		{"one twice", []any{rolesName, []string{"cloud-user", "cloud-user"}}, "[ROLE_CLOUD_USER]"},
		{"names of others", []any{rolesName, []string{"root", "unspecified", "ROLE_CLOUD_OPERATOR", "Cloud-User", "cloud_user", "cloud-user"}}, "[ROLE_CLOUD_USER]"},
		{"roles under another claim", []any{rolesName, nil, "roles", []string{"cloud-operator"}}, "[]"},
		{"a program by its grant", []any{"gty", "client-credentials", rolesName, []string{"cloud-operator", "cloud-user"}}, "[ROLE_CLOUD_USER]"},
		{"a program by its grants", []any{"gty", []string{"client-credentials"}, rolesName, []string{"cloud-operator"}}, "[]"},
		{"a program by its subject", []any{"sub", "x7@clients", rolesName, []string{"cloud-operator", "cloud-provider"}}, "[ROLE_CLOUD_PROVIDER]"},
		{"a person by another grant", []any{"gty", "password", rolesName, []string{"cloud-operator"}}, "[ROLE_CLOUD_OPERATOR]"},
	} {
		who, err := v.Verify(good(t, "k1", key, claims(start, c.changes...)))
		if got := fmt.Sprint(who.Roles); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.name, got, err, c.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{
		{Audience: api, RolesClaim: rolesName},
		{Issuer: issuerURL, RolesClaim: rolesName},
		{Issuer: issuerURL, Audience: api},
		{Issuer: "login.example/", Audience: api, RolesClaim: rolesName},
		{Issuer: issuerURL, Audience: api, RolesClaim: rolesName, JWKSURL: "file:///keys"},
	} {
		if v, err := New(t.Context(), c); err == nil || v != nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// FuzzVerify makes sure that whatever is no token is refused and explained.
func FuzzVerify(f *testing.F) {
	key := rsaKeys()[0]
	for _, seed := range []string{"", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIn0.e30.AAAA", "eyJhbGciOiJSUzI1NiIsImtpZCI6W119.bnVsbA.AAAA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		from := &issuer{}
		from.says(200, set(t, published("k1", key)))
		v := open(t, from, clock.NewManual(start))
		_, err := v.Verify(token)
		if _, ok := errors.AsType[*messages.Error](err); !ok {
			t.Errorf("%q: %v", token, err)
		}
	})
}
