package issuer

import (
	"html/template"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// page is where one chooses who to be.
var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sandbox: who are you?</title>
<style>
  body { font: 16px system-ui; max-width: 34rem; margin: 4rem auto; padding: 0 1rem }
  button { display: block; width: 100%; margin: .5rem 0; padding: .8rem; font: inherit; text-align: left }
</style>
<h1>Who are you?</h1>
<p>This is the sandbox. There are no passwords, and nothing is real.</p>
<form method="post" action="?{{.Query}}">
{{- range .People}}
  <button name="username" value="{{.Username}}"><b>{{.Name}}</b>: {{.About}}</button>
{{- end}}
</form>
{{- if .SignUp}}
<h2>Or somebody new?</h2>
<form method="post" action="?{{.Query}}">
  <label>A name, in small letters, digits and dashes: <input name="username" pattern="[a-z0-9\-]{1,32}" required></label>
  <button>Sign up as a cloud user</button>
</form>
{{- end}}
</html>
`))

// signUp is the screen_hint of somebody who has no account yet.
const signUp = "signup"

// authorize lets a person choose who they are and sends them back to the
// client with a code. With prompt=none the person is whom login_hint names,
// and no page is shown.
func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	client, ok := i.client(q.Get("client_id"))
	redirect := q.Get("redirect_uri")
	if !ok || !slices.Contains(client.Redirects, redirect) {
		// The redirect may be anybody's: it is not followed, not even with an error.
		http.Error(w, "There is no such client, or it does not want people to be sent to this address.", http.StatusBadRequest)
		return
	}
	if f := i.refuse(q); f != nil {
		i.back(w, r, url.Values{"error": {f.Code}, "error_description": {f.Text}})
		return
	}
	silent := q.Get("prompt") == "none"
	name := ""
	switch {
	case r.Method == http.MethodPost:
		name = r.PostFormValue("username")
	case silent:
		name = q.Get("login_hint")
	}
	person, known := find(name)
	if !known && q.Get("screen_hint") == signUp {
		person, known = newcomer(name)
	}
	switch {
	case known:
		g := grant{
			client: client.ID, person: person, audience: q.Get("audience"), scope: strings.Fields(q.Get("scope")),
			redirect: redirect, challenge: q.Get("code_challenge"), nonce: q.Get("nonce"),
		}
		i.back(w, r, url.Values{"code": {i.grants.issue(g, nil, codeTTL)}})
	case silent:
		i.back(w, r, url.Values{"error": {"login_required"}, "error_description": {"Nobody is signed in, and login_hint names nobody."}})
	default:
		i.choose(w, r)
	}
}

// refuse says what is wrong with a request to sign somebody in, if anything is.
func (i *Issuer) refuse(q url.Values) *failure {
	audience := q.Get("audience")
	switch {
	case q.Get("response_type") != "code":
		return &failure{Code: "unsupported_response_type", Text: "Only code is supported."}
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		return &failure{Code: "invalid_request", Text: "PKCE with S256 is required."}
	case audience != "" && audience != i.config.Audience:
		return &failure{Code: "access_denied", Text: "Service not found: " + audience}
	default:
		return nil
	}
}

// back sends a person back to the client, whose redirect has been checked.
func (i *Issuer) back(w http.ResponseWriter, r *http.Request, answer url.Values) {
	q := r.URL.Query()
	u, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		http.Error(w, "The client's address cannot be read.", http.StatusBadRequest)
		return
	}
	all := u.Query()
	maps.Copy(all, answer)
	if state := q.Get("state"); state != "" {
		all.Set("state", state)
	}
	all.Set("iss", i.config.URL)
	u.RawQuery = all.Encode()
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, u.String(), http.StatusSeeOther) //nolint:gosec // authorize holds it to the client's list
}

// choose shows the page.
func (i *Issuer) choose(w http.ResponseWriter, r *http.Request) {
	client, _ := i.client(r.URL.Query().Get("client_id"))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	// Browsers hold the redirect after the form to form-action, too.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self' "+strings.Join(client.origins(), " "))
	q := r.URL.Query()
	data := map[string]any{"People": People(), "Query": q.Encode(), "SignUp": q.Get("screen_hint") == signUp}
	if err := page.Execute(w, data); err != nil {
		i.config.Log.DebugContext(r.Context(), "page not written", slog.Any("error", err))
	}
}

// logout sends a person back to a client's site. There is nothing to forget:
// the issuer keeps nobody signed in.
func (i *Issuer) logout(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	to := q.Get("returnTo")
	if to == "" {
		if _, err := io.WriteString(w, "You are signed out.\n"); err != nil {
			i.config.Log.DebugContext(r.Context(), "answer not written", slog.Any("error", err))
		}
		return
	}
	u, err := url.Parse(to)
	for _, c := range i.config.Clients {
		mine := q.Get("client_id") == "" || q.Get("client_id") == c.ID
		if err == nil && u.User == nil && mine && slices.Contains(c.origins(), u.Scheme+"://"+u.Host) {
			http.Redirect(w, r, u.String(), http.StatusFound) //nolint:gosec // held to the sites of clients
			return
		}
	}
	http.Error(w, "No client wants people to be sent to this address.", http.StatusBadRequest)
}
