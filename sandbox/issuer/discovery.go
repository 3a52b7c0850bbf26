package issuer

import "net/http"

// discovery says where everything is and what is spoken.
func (i *Issuer) discovery(w http.ResponseWriter, r *http.Request) {
	u := i.config.URL
	i.answer(w, r, http.StatusOK, map[string]any{
		"issuer":                                         u,
		"authorization_endpoint":                         u + "authorize",
		"token_endpoint":                                 u + "oauth/token",
		"jwks_uri":                                       u + ".well-known/jwks.json",
		"userinfo_endpoint":                              u + "userinfo",
		"end_session_endpoint":                           u + "v2/logout",
		"response_types_supported":                       []string{"code"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"RS256"},
		"code_challenge_methods_supported":               []string{"S256"},
		"scopes_supported":                               []string{"openid", "profile", "email", "offline_access"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token", "password"},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post", "none"},
		"authorization_response_iss_parameter_supported": true,
	})
}

// jwks publishes the keys.
func (i *Issuer) jwks(w http.ResponseWriter, r *http.Request) {
	set, err := i.keys.set()
	if err != nil {
		i.fail(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=15")
	i.answer(w, r, http.StatusOK, set)
}
