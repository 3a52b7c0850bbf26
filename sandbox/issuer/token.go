package issuer

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// sandboxClient is who a token is issued to if nobody says who they are.
const sandboxClient = "sandbox"

// offline is the scope that asks for a refresh token.
const offline = "offline_access"

// tokens is what a client is given.
type tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope,omitempty"`
}

// token gives tokens for a code, a refresh token, or the name of a person.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	var (
		out *tokens
		err error
	)
	switch kind := r.PostFormValue("grant_type"); kind {
	case "authorization_code":
		out, err = i.byCode(r)
	case "refresh_token":
		out, err = i.byRefresh(r)
	case "password":
		out, err = i.byName(r)
	default:
		err = &failure{http.StatusBadRequest, "unsupported_grant_type", "It must be authorization_code, refresh_token or password."}
	}
	if err != nil {
		i.fail(w, r, err)
		return
	}
	i.answer(w, r, http.StatusOK, out)
}

// byCode gives tokens to the client that began the signing in. A code is spent
// even if the rest of the request is wrong.
func (i *Issuer) byCode(r *http.Request) (*tokens, error) {
	client, err := i.authenticate(r)
	if err != nil {
		return nil, err
	}
	g, family, err := i.grants.redeem(r.PostFormValue("code"), client.ID)
	if err != nil {
		return nil, err
	}
	if g.challenge == "" || g.redirect != r.PostFormValue("redirect_uri") || !proves(r.PostFormValue("code_verifier"), g.challenge) {
		return nil, invalidGrant("It was meant for another redirect_uri or code_verifier.")
	}
	return i.issue(g, family, "")
}

// proves says whether a verifier is the one of a challenge by S256.
func proves(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	want := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(want), []byte(challenge)) == 1
}

// byRefresh gives new tokens for the last of their kind.
func (i *Issuer) byRefresh(r *http.Request) (*tokens, error) {
	client, err := i.authenticate(r)
	if err != nil {
		return nil, err
	}
	g, family, err := i.grants.redeem(r.PostFormValue("refresh_token"), client.ID)
	if err != nil {
		return nil, err
	}
	if g.challenge != "" {
		return nil, invalidGrant("It is a code, not a refresh token.")
	}
	return i.issue(g, family, "")
}

// byName gives tokens of a person to whoever asks. Only the sandbox does that.
func (i *Issuer) byName(r *http.Request) (*tokens, error) {
	client := Client{ID: sandboxClient}
	if _, _, basic := r.BasicAuth(); basic || r.PostFormValue("client_id") != "" {
		var err error
		if client, err = i.authenticate(r); err != nil {
			return nil, err
		}
	}
	if a := r.PostFormValue("audience"); a != "" && a != i.config.Audience {
		return nil, &failure{http.StatusForbidden, "access_denied", "Service not found: " + a}
	}
	person, ok := find(r.PostFormValue("username"))
	if !ok {
		return nil, invalidGrant("There is nobody of this username; the sandbox has alice, bob and olga.")
	}
	g := grant{client: client.ID, person: person, audience: i.config.Audience, scope: strings.Fields(r.PostFormValue("scope"))}
	if client.ID == sandboxClient {
		// Nobody could use the refresh token: it takes a client.
		g.scope = slices.DeleteFunc(g.scope, func(s string) bool { return s == offline })
	}
	return i.issue(g, nil, "password")
}

// issue signs the tokens of a grant.
func (i *Issuer) issue(g grant, f *family, kind string) (*tokens, error) {
	now := i.config.Clock.Now()
	scope := strings.Join(g.scope, " ")
	openID := slices.Contains(g.scope, "openid")
	claims := func(audience any) jwt.MapClaims {
		return jwt.MapClaims{
			"iss": i.config.URL, "sub": g.person.Subject(), "aud": audience,
			"iat": now.Unix(), "exp": now.Add(i.config.AccessTTL).Unix(), i.config.RolesClaim: g.person.Roles,
		}
	}
	access := claims(i.audience(g.audience, openID))
	access["azp"], access["scope"] = g.client, scope
	if kind != "" {
		access["gty"] = kind
	}
	out := &tokens{TokenType: "Bearer", ExpiresIn: int(i.config.AccessTTL.Seconds()), Scope: scope}
	var err error
	if out.AccessToken, err = i.keys.sign(access); err != nil {
		return nil, err
	}
	if openID {
		id := claims(g.client)
		id["name"], id["email"], id["email_verified"] = g.person.Name, g.person.Email, true
		if g.nonce != "" {
			id["nonce"] = g.nonce
		}
		if out.IDToken, err = i.keys.sign(id); err != nil {
			return nil, err
		}
	}
	if slices.Contains(g.scope, offline) {
		g.redirect, g.challenge, g.nonce = "", "", ""
		out.RefreshToken = i.grants.issue(g, f, refreshTTL)
	}
	return out, nil
}

// audience returns who an access token is for: the API, userinfo, or a list of both.
func (i *Issuer) audience(api string, openID bool) any {
	switch userinfo := i.userinfoURL(); {
	case api == "":
		return userinfo
	case openID:
		return []string{api, userinfo}
	default:
		return api
	}
}
