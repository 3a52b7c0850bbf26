package issuer

import (
	"net/http"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

func (i *Issuer) userinfoURL() string { return i.config.URL + "userinfo" }

// userinfo says who an access token stands for, if openid was asked for.
func (i *Issuer) userinfo(w http.ResponseWriter, r *http.Request) {
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	token, err := jwt.Parse(bearer, i.keys.public,
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(i.config.URL), jwt.WithAudience(i.userinfoURL()),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(i.config.Clock.Now))
	var person Person
	known := false
	if err == nil {
		subject, _ := token.Claims.GetSubject()
		person, known = find(subject)
	}
	if !known {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		i.fail(w, r, &failure{http.StatusUnauthorized, "invalid_token", "It is not an access token for userinfo, or not any more."})
		return
	}
	i.answer(w, r, http.StatusOK, map[string]any{
		"sub": person.Subject(), "name": person.Name, "nickname": person.Username, "email": person.Email, "email_verified": true,
	})
}
