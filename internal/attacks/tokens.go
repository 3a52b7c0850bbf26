package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// forgery is a token that must not be taken.
type forgery struct {
	name   string
	reason string // TOKEN_INVALID if empty
	forge  func(f *field, claims jwt.MapClaims) (string, error)
}

// forgeries are the tokens, each shown at every door: in the handshake, in the
// first frame and with an HTTP request.
func forgeries() []attack {
	var all []attack
	for _, t := range tokens() {
		reason := t.reason
		if reason == "" {
			reason = "TOKEN_INVALID"
		}
		want := fmt.Sprintf("4500 %s, 4500 %s, 401 %s", reason, reason, reason)
		if strings.Contains(t.name, "KiB") { // session/open has a limit of its own
			want = fmt.Sprintf("4500 %s, 4504 INVALID_FIELD, 401 %s", reason, reason)
		}
		all = append(all, attack{name: "token: " + t.name, want: want, do: t.show})
	}
	return all
}

// show shows the token at every door.
func (t forgery) show(ctx context.Context, f *field) string {
	v, before := f.visitor(), f.trapped.Load()
	token, err := t.forge(f, f.mint.Claims(v.subject, "cloud-user", "cloud-operator"))
	if err != nil {
		return err.Error()
	}
	byFrame, said := v.handshake(ctx, nil)
	if byFrame == nil {
		return said
	}
	byFrame.text(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"session/open","params":{"accessToken":%q}}`, token))
	second := byFrame.verdict(5 * time.Second)
	v.token = token
	byHeader, said := v.handshake(ctx, nil)
	if byHeader != nil {
		said = byHeader.verdict(5 * time.Second)
	}
	heard := said + ", " + second + ", " + v.post(ctx, "cloud-user/get-account", "", "{}").String()
	if f.trapped.Load() != before {
		heard += ", and the server went where the token sent it"
	}
	return heard
}

// sign signs claims under a header, in any way there is.
func sign(header map[string]any, claims jwt.Claims, method jwt.SigningMethod, key any) (string, error) {
	t := jwt.NewWithClaims(method, claims)
	maps.Copy(t.Header, header)
	return t.SignedString(key)
}

// with returns a forgery that has other claims, signed as the issuer signs.
func with(change func(jwt.MapClaims)) func(*field, jwt.MapClaims) (string, error) {
	return func(f *field, claims jwt.MapClaims) (string, error) {
		change(claims)
		return f.mint.Sign(claims)
	}
}

// headed returns a forgery that has another header, signed with the issuer's key.
func headed(method jwt.SigningMethod, header func(f *field) map[string]any) func(*field, jwt.MapClaims) (string, error) {
	return func(f *field, claims jwt.MapClaims) (string, error) {
		return sign(header(f), claims, method, f.mint.Key)
	}
}

// foreign returns a forgery signed with a key of the forger's.
func foreign(header func(f *field, key *rsa.PrivateKey) map[string]any) func(*field, jwt.MapClaims) (string, error) {
	return func(f *field, claims jwt.MapClaims) (string, error) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return "", err
		}
		return sign(header(f, key), claims, jwt.SigningMethodRS256, key)
	}
}

// public is the issuer's public key as a file holds it.
func (f *field) public() []byte {
	der, err := x509.MarshalPKIXPublicKey(&f.mint.Key.PublicKey)
	if err != nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// jwk is a public key as tokens may carry it.
func jwk(f *field, key *rsa.PrivateKey) map[string]any {
	return map[string]any{"kty": "RSA", "alg": "RS256", "kid": f.mint.KeyID, "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes())}
}

func in(d time.Duration) int64 { return now().Add(d).Unix() }

func tokens() []forgery {
	known := func(f *field) map[string]any { return map[string]any{"kid": f.mint.KeyID} }
	return append(claimsOf(), []forgery{
		{"alg none", "", func(f *field, c jwt.MapClaims) (string, error) {
			return sign(known(f), c, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType)
		}},
		{"HS256 with the public key as its secret", "", func(f *field, c jwt.MapClaims) (string, error) {
			return sign(known(f), c, jwt.SigningMethodHS256, f.public())
		}},
		{"RS512 with the issuer's key", "", headed(jwt.SigningMethodRS512, known)},
		{"PS256 with the issuer's key", "", headed(jwt.SigningMethodPS256, known)},
		{"no kid", "", headed(jwt.SigningMethodRS256, func(*field) map[string]any { return nil })},
		{"unknown kid", "", headed(jwt.SigningMethodRS256, func(*field) map[string]any { return map[string]any{"kid": "nobody's"} })},
		{"kid is a path", "", headed(jwt.SigningMethodRS256, func(*field) map[string]any { return map[string]any{"kid": "../../../../dev/null"} })},
		{"kid of 1,000 bytes", "", headed(jwt.SigningMethodRS256, func(*field) map[string]any { return map[string]any{"kid": strings.Repeat("k", 1000)} })},
		{"foreign key under a known kid", "", foreign(func(f *field, _ *rsa.PrivateKey) map[string]any { return known(f) })},
		{"foreign key in an embedded jwk", "", foreign(func(f *field, k *rsa.PrivateKey) map[string]any {
			return map[string]any{"kid": f.mint.KeyID, "jwk": jwk(f, k)}
		})},
		{"foreign key behind a jku", "", foreign(func(f *field, _ *rsa.PrivateKey) map[string]any {
			return map[string]any{"kid": "mine", "jku": "http://" + f.trap.Addr().String() + "/keys", "x5u": "http://" + f.trap.Addr().String() + "/chain"}
		})},
		{"typ logout+jwt", "", headed(jwt.SigningMethodRS256, func(f *field) map[string]any { return map[string]any{"kid": f.mint.KeyID, "typ": "logout+jwt"} })},
		{"crit header", "", headed(jwt.SigningMethodRS256, func(f *field) map[string]any {
			return map[string]any{"kid": f.mint.KeyID, "crit": []string{"exp"}}
		})},
		{"swapped payload", "", swapped},
		{"empty signature", "", func(f *field, c jwt.MapClaims) (string, error) {
			t, err := f.mint.Sign(c)
			return t[:strings.LastIndexByte(t, '.')+1], err
		}},
		{"not a token", "", func(*field, jwt.MapClaims) (string, error) { return "a.b.c", nil }},
		{"an API key that was never made", "", func(*field, jwt.MapClaims) (string, error) { return "tfmkey_none_" + strings.Repeat("x", 26), nil }},
		{"an API key that names an account", "", func(*field, jwt.MapClaims) (string, error) { return "tfmkey_../user/alice_x", nil }},
	}...)
}

// swapped puts other claims under the signature of a good token.
func swapped(f *field, claims jwt.MapClaims) (string, error) {
	good, err := f.mint.Sign(claims)
	if err != nil {
		return "", err
	}
	claims["sub"] = "somebody-else"
	other, err := f.mint.Sign(claims)
	a, b := strings.Split(good, "."), strings.Split(other, ".")
	return a[0] + "." + b[1] + "." + a[2], err
}

// claimsOf are tokens that the issuer has signed and that say the wrong things.
func claimsOf() []forgery {
	without := func(name string) func(*field, jwt.MapClaims) (string, error) {
		return with(func(c jwt.MapClaims) { delete(c, name) })
	}
	set := func(name string, value any) func(*field, jwt.MapClaims) (string, error) {
		return with(func(c jwt.MapClaims) { c[name] = value })
	}
	return []forgery{
		{"ID token in place of an access token", "", set("aud", "marketplace")},
		{"iss without its slash", "", with(func(c jwt.MapClaims) { c["iss"] = strings.TrimSuffix(fmt.Sprint(c["iss"]), "/") })},
		{"iss of somebody else", "", set("iss", "https://evil.example/")},
		{"no exp", "", without("exp")},
		{"no aud", "", without("aud")},
		{"no sub", "", without("sub")},
		{"no iat", "", without("iat")},
		{"iat in the future", "", set("iat", in(time.Hour))},
		{"nbf in the future", "", set("nbf", in(time.Hour))},
		{"exp is text", "", set("exp", "tomorrow")},
		{"exp beyond all numbers", "TOKEN_EXPIRED", set("exp", 1e300)},
		{"expired", "TOKEN_EXPIRED", with(func(c jwt.MapClaims) { c["iat"], c["exp"] = in(-2*time.Hour), in(-time.Hour) })},
		{"sub is a number", "", set("sub", 7)},
		{"sub holds a slash", "", set("sub", "user/alice")},
		{"sub of the server itself", "", set("sub", "$identity")},
		{"roles are text", "", func(f *field, c jwt.MapClaims) (string, error) {
			c[f.mint.Roles] = "cloud-operator"
			return f.mint.Sign(c)
		}},
		{"9 KiB", "", set("padding", strings.Repeat("x", 9<<10))},
	}
}
