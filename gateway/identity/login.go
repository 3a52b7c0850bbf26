package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
)

// LoginConfig configures a Login.
type LoginConfig struct {
	Issuer       string // as the Verifier's
	ClientID     string // who we are at the issuer
	ClientSecret string // empty: a public client
	Audience     string // as the Verifier's
	// URL is where browsers reach us, such as https://market.example.com. With
	// http, which only loopback should have, cookies lose what needs https.
	URL        string
	Lifetime   time.Duration // of a session, whatever happens
	Idle       time.Duration // of a session that nobody uses
	HTTPClient *http.Client  // nil: one that follows no redirects
	Log        *slog.Logger  // nil: none
}

// Login signs browsers in by the issuer's code flow with PKCE, and keeps them
// signed in by a cookie. Tokens stay here: a page never sees one.
type Login struct {
	config   LoginConfig
	accounts *Accounts
	secure   bool

	mu       sync.Mutex
	provider *oidc.Provider // nil until the issuer has told of itself
}

const (
	startWithin  = 10 * time.Minute // from login to callback
	issuerWithin = 10 * time.Second
	nameBytes    = 100 // of what a browser calls itself

	loginCookie   = "login"
	sessionCookie = "session"
	securePrefix  = "__Host-" // bound to this host, by https only
)

// NewLogin returns a Login. Nobody is asked anything before the first one signs in.
func NewLogin(c LoginConfig, accounts *Accounts) *Login {
	if c.HTTPClient == nil {
		c.HTTPClient = plainClient()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Login{config: c, accounts: accounts, secure: strings.HasPrefix(c.URL, "https://")}
}

// Handler returns the handler of /auth/. Whoever mounts it keeps other sites'
// pages from posting to it.
func (l *Login) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /auth/login", l.begin)
	mux.HandleFunc("GET /auth/callback", l.callback)
	mux.HandleFunc("POST /auth/logout", l.logout)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// started is what a browser keeps between login and callback.
type started struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	ReturnTo string `json:"r"`
}

// begin sends a browser to the issuer. With screen_hint=signup it asks for a
// new account; prompt and login_hint are passed on as well.
func (l *Login) begin(w http.ResponseWriter, r *http.Request) {
	oauth, _, err := l.oauth(r.Context())
	if err != nil {
		l.config.Log.WarnContext(r.Context(), "issuer not reached", slog.Any("error", err))
		http.Error(w, "The sign-in service cannot be reached now. Try again in a moment.", http.StatusServiceUnavailable)
		return
	}
	s := started{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), ReturnTo: localPath(r.URL.Query().Get("return_to"))}
	text, err := json.Marshal(s) //nolint:forbidigo // a cookie of our own
	if err != nil {
		http.Error(w, "The sign-in could not begin.", http.StatusInternalServerError)
		return
	}
	l.setCookie(w, loginCookie, base64.RawURLEncoding.EncodeToString(text), startWithin, http.SameSiteLaxMode)
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(s.Verifier), oidc.Nonce(s.Nonce), oauth2.SetAuthURLParam("audience", l.config.Audience)}
	for _, hint := range []string{"screen_hint", "prompt", "login_hint"} {
		if v := r.URL.Query().Get(hint); v != "" && len(v) <= nameBytes {
			options = append(options, oauth2.SetAuthURLParam(hint, v))
		}
	}
	http.Redirect(w, r, oauth.AuthCodeURL(s.State, options...), http.StatusSeeOther) //nolint:gosec // to the issuer, whatever its query says
}

// localPath returns where to go after signing in: a path of ours, never another site.
func localPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return "/"
	}
	return u.RequestURI()
}

// callback takes a browser that comes from the issuer, and begins its session.
// What the browser brought to find its way is good once.
func (l *Login) callback(w http.ResponseWriter, r *http.Request) {
	s, ok := l.begun(r)
	l.setCookie(w, loginCookie, "", 0, http.SameSiteLaxMode)
	q := r.URL.Query()
	if !ok || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(s.State)) != 1 || q.Get("iss") != "" && q.Get("iss") != l.config.Issuer {
		http.Error(w, "This is not the end of a sign-in that began in this browser in the last ten minutes. Sign in again.", http.StatusBadRequest)
		return
	}
	if e := q.Get("error"); e != "" {
		http.Error(w, "The sign-in service refused: "+e+". "+q.Get("error_description"), http.StatusForbidden)
		return
	}
	cookie, lasts, err := l.start(r, s, q.Get("code"))
	if err != nil {
		l.config.Log.WarnContext(r.Context(), "sign-in not ended", slog.Any("error", err))
		if e, refused := errors.AsType[*messages.Error](err); refused {
			http.Error(w, e.Message, int(messages.Rule(e.Reason).GetHttpStatus()))
			return
		}
		http.Error(w, "The sign-in could not be ended. Sign in again.", http.StatusBadGateway)
		return
	}
	// After a chain of redirects from another site a browser does not send a
	// strict cookie with the page itself; the page's own requests have it.
	l.setCookie(w, sessionCookie, cookie, lasts, http.SameSiteStrictMode)
	http.Redirect(w, r, s.ReturnTo, http.StatusSeeOther)
}

// begun returns what the browser keeps of a sign-in.
func (l *Login) begun(r *http.Request) (s started, ok bool) {
	c, err := r.Cookie(l.name(loginCookie))
	if err != nil {
		return s, false
	}
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil || json.Unmarshal(text, &s) != nil || s.State == "" || s.Nonce == "" { //nolint:forbidigo // as above
		return started{}, false
	}
	s.ReturnTo = localPath(s.ReturnTo)
	return s, true
}

// start exchanges the code and begins a session; it returns the session's
// cookie and how long it lasts.
func (l *Login) start(r *http.Request, s started, code string) (cookie string, lasts time.Duration, err error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(r.Context(), l.config.HTTPClient), issuerWithin)
	defer cancel()
	oauth, provider, err := l.oauth(ctx)
	if err != nil {
		return "", 0, err
	}
	token, err := oauth.Exchange(ctx, code, oauth2.VerifierOption(s.Verifier))
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response.StatusCode < http.StatusInternalServerError {
		return "", 0, invalid("the sign-in was ended before, or took too long: sign in again")
	} else if err != nil {
		return "", 0, fmt.Errorf("exchange the code: %w", err)
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := provider.Verifier(&oidc.Config{ClientID: l.config.ClientID, Now: l.accounts.Clock.Now}).Verify(ctx, raw)
	if err != nil || idToken.Nonce != s.Nonce {
		return "", 0, fmt.Errorf("the id token is not for this sign-in: %w", err)
	}
	who, grant, err := l.grant(token)
	if err != nil {
		return "", 0, err
	}
	if who.Subject != idToken.Subject {
		return "", 0, errors.New("the tokens are of different people")
	}
	if _, err := l.accounts.access(ctx, who.Subject); err != nil {
		return "", 0, err
	}
	id, secret := strings.ToLower(rand.Text()), rand.Text()
	digest := sha256.Sum256([]byte(secret))
	now := l.accounts.Clock.Now()
	err = l.accounts.ask(ctx, &taskv1.StartSessionRequest{
		SessionId: id, Digest: digest[:], Subject: who.Subject, Name: browserName(r), Grant: grant,
		ExpireTime: timestamppb.New(now.Add(l.config.Lifetime)), IdleDuration: durationpb.New(l.config.Idle),
	}, &taskv1.StartSessionResponse{})
	return id + "_" + secret, l.config.Lifetime, err
}

// browserName is what a browser calls itself, for its owner to know it by.
func browserName(r *http.Request) string {
	name := strings.ToValidUTF8(r.UserAgent(), "")
	if len(name) > nameBytes {
		name = strings.ToValidUTF8(name[:nameBytes], "")
	}
	return name
}

// grant returns what an issuer's token says.
func (l *Login) grant(token *oauth2.Token) (Principal, *taskv1.Grant, error) {
	who, err := l.accounts.Verifier.Verify(token.AccessToken)
	if err != nil {
		return Principal{}, nil, err
	}
	return who, &taskv1.Grant{
		Roles: who.Roles, IssueTime: timestamppb.New(who.IssuedAt), ExpireTime: timestamppb.New(who.Expires), RefreshToken: token.RefreshToken,
	}, nil
}

// logout ends the session and says where the issuer signs out.
func (l *Login) logout(w http.ResponseWriter, r *http.Request) {
	if id, _, ok := split(l.Cookie(r)); ok {
		// Who shows the secret may end the session.
		_, digest, _ := split(l.Cookie(r))
		err := l.accounts.ask(r.Context(), &taskv1.CheckSessionRequest{SessionId: id, Digest: digest}, &taskv1.CheckSessionResponse{})
		if err == nil {
			err = l.accounts.ask(r.Context(), &taskv1.CloseSessionRequest{SessionId: id}, &taskv1.CloseSessionResponse{})
		}
		if e := messages.AsError(err); err != nil && messages.Rule(e.Reason).GetRetry() {
			http.Error(w, e.Message, int(messages.Rule(e.Reason).GetHttpStatus())) // the cookie is needed to try again
			return
		}
	}
	l.setCookie(w, sessionCookie, "", 0, http.SameSiteStrictMode)
	to := l.config.Issuer + "v2/logout?" + url.Values{"client_id": {l.config.ClientID}, "returnTo": {l.config.URL + "/"}}.Encode()
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]string{"logoutUrl": to}); err != nil {
		l.config.Log.DebugContext(r.Context(), "answer not written", slog.Any("error", err))
	}
}

// Cookie returns the cookie of a request's session, or "".
func (l *Login) Cookie(r *http.Request) string {
	c, err := r.Cookie(l.name(sessionCookie))
	if err != nil {
		return ""
	}
	return c.Value
}

func (l *Login) name(cookie string) string {
	if l.secure {
		return securePrefix + cookie
	}
	return cookie
}

func (l *Login) setCookie(w http.ResponseWriter, name, value string, lasts time.Duration, site http.SameSite) {
	age := int(lasts / time.Second)
	if value == "" {
		age = -1 // it is to go
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure follows the URL: loopback has no https
		Name: l.name(name), Value: value, Path: "/", MaxAge: age, Secure: l.secure, HttpOnly: true, SameSite: site,
	})
}

// oauth returns how the issuer is spoken to. What it tells of itself is asked once.
func (l *Login) oauth(ctx context.Context) (*oauth2.Config, *oidc.Provider, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.provider == nil {
		ctx, cancel := context.WithTimeout(oidc.ClientContext(context.WithoutCancel(ctx), l.config.HTTPClient), issuerWithin)
		defer cancel()
		p, err := oidc.NewProvider(ctx, l.config.Issuer)
		if err != nil {
			return nil, nil, fmt.Errorf("ask the issuer about itself: %w", err)
		}
		l.provider = p
	}
	return &oauth2.Config{
		ClientID: l.config.ClientID, ClientSecret: l.config.ClientSecret, Endpoint: l.provider.Endpoint(),
		RedirectURL: l.config.URL + "/auth/callback", Scopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess},
	}, l.provider, nil
}
