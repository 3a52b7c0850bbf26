package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// browser keeps cookies, follows redirects and says where its page is from, as
// browsers do.
type browser struct {
	t      *testing.T
	r      running
	client *http.Client
}

func (r running) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, r, &http.Client{Jar: jar}}
}

// signIn goes the whole way: to the issuer, and back with a code.
func (b *browser) signIn(who, more string) *http.Response {
	b.t.Helper()
	return b.do(http.MethodGet, "/auth/login?prompt=none&login_hint="+who+more, "", nil)
}

func (b *browser) do(method, path, body string, header http.Header) *http.Response {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+b.r.API+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// session asks who is signed in; the status says whether somebody is.
func (b *browser) session() (subject, id string, status int) {
	b.t.Helper()
	resp := b.do(http.MethodGet, "/auth/session", "", nil)
	var answer struct {
		Session struct {
			Subject   string `json:"subject"`
			SessionID string `json:"sessionId"`
		} `json:"session"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		b.t.Fatal(err)
	}
	return answer.Session.Subject, answer.Session.SessionID, resp.StatusCode
}

// dial opens a socket from the browser's page.
func (b *browser) dial(origin string) (*socket, int) {
	b.t.Helper()
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	ws, resp, err := websocket.Dial(b.t.Context(), "ws://"+b.r.API+"/ws", &websocket.DialOptions{
		HTTPClient: b.client, HTTPHeader: header, Subprotocols: []string{"marketplace.jsonrpc.v1"},
	})
	if err != nil {
		return nil, resp.StatusCode
	}
	b.t.Cleanup(func() { _ = ws.CloseNow() })
	return &socket{b.t, ws}, resp.StatusCode
}

const whoAmI = `{"jsonrpc":"2.0","id":1,"method":"session/get"}`

// TestBrowserSession has a browser sign in, work and sign out.
func TestBrowserSession(t *testing.T) {
	r := run(t, testConfig(t))
	b := r.browser(t)
	if _, _, status := b.session(); status != http.StatusUnauthorized {
		t.Errorf("before signing in: %d", status)
	}
	if resp := b.signIn("alice", "&return_to=/healthz"); resp.StatusCode != http.StatusOK || resp.Request.URL.Path != "/healthz" {
		t.Fatalf("signed in: %s at %s", resp.Status, resp.Request.URL)
	}
	subject, id, status := b.session()
	if subject != "sandbox|alice" || id == "" || status != http.StatusOK {
		t.Fatalf("signed in as %q in session %q: %d", subject, id, status)
	}
	own, _ := b.dial("http://" + r.API)
	contains(t, own.ask(whoAmI), `"subject":"sandbox|alice"`, `"sessionId":"`+id+`"`)
	contains(t, own.ask(request(2, "session/list", `{}`)), `"sessionId":"`+id+`"`, "SESSION_TYPE_BROWSER", "Go-http-client")
	if _, status := b.dial("http://evil.example"); status != http.StatusForbidden {
		t.Errorf("a socket from another site's page: %d", status)
	}
	bare, _ := b.dial("") // no page of a browser's: its cookie counts for nothing
	contains(t, bare.ask(whoAmI), "TOKEN_REQUIRED")
	if resp := b.do(http.MethodPost, "/api/cloud-user/get-account", "{}", http.Header{"Origin": {"http://evil.example"}}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a request from another site's page: %s", resp.Status)
	}
	if resp := b.do(http.MethodPost, "/api/cloud-user/get-account", "{}", http.Header{"Origin": {"http://" + r.API}}); resp.StatusCode != http.StatusOK {
		t.Errorf("a request from our own page: %s", resp.Status)
	}
	if resp := b.do(http.MethodPost, "/auth/logout", "", http.Header{"Origin": {"http://evil.example"}}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("signed out by another site's page: %s", resp.Status)
	}
	begun := time.Now()
	resp := b.do(http.MethodPost, "/auth/logout", "", nil)
	var answer struct {
		LogoutURL string `json:"logoutUrl"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || !strings.HasPrefix(answer.LogoutURL, "http://"+r.Issuer[len("http://"):]+"v2/logout?") {
		t.Errorf("signed out: %v %v", answer, err)
	}
	if code := own.closed(); code != 4503 || time.Since(begun) > time.Second {
		t.Errorf("closed with %d after %s", code, time.Since(begun))
	}
	if _, _, status := b.session(); status != http.StatusUnauthorized {
		t.Errorf("after signing out: %d", status)
	}
}

// TestSignInThatIsNone refuses what did not begin in this browser, and never
// sends one to another site.
func TestSignInThatIsNone(t *testing.T) {
	r := run(t, testConfig(t))
	b := r.browser(t)
	if resp := b.signIn("nobody", ""); resp.StatusCode != http.StatusForbidden {
		t.Errorf("somebody whom the issuer does not know: %s", resp.Status)
	}
	b.client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.Path, "/auth/callback") {
			return http.ErrUseLastResponse
		}
		return nil
	}
	back := func() string {
		u, err := b.signIn("alice", "&return_to="+url.QueryEscape("//evil.example/x")).Location()
		if err != nil {
			t.Fatal(err)
		}
		return u.RequestURI()
	}
	b.client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if strings.HasPrefix(req.URL.Path, "/auth/callback") || strings.HasPrefix(via[len(via)-1].URL.Path, "/auth/callback") {
			return http.ErrUseLastResponse
		}
		return nil
	}
	callback := back()
	if resp := r.browser(t).do(http.MethodGet, callback, "", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the callback in another browser: %s", resp.Status)
	}
	forged, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	q := forged.Query()
	q.Set("state", "guessed")
	if resp := b.do(http.MethodGet, "/auth/callback?"+q.Encode(), "", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a callback of another sign-in: %s", resp.Status)
	}
	callback = back()
	resp := b.do(http.MethodGet, callback, "", nil)
	if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || to != "/" {
		t.Errorf("signed in and sent to %q: %s", to, resp.Status)
	}
	if resp := b.do(http.MethodGet, callback, "", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the callback again: %s", resp.Status)
	}
}

// TestSessionRenews has a browser's session outlive its tokens, on a socket and
// across an absence, while the page does nothing.
func TestSessionRenews(t *testing.T) {
	c := testConfig(t)
	c.World.TokenTTL = 10 * time.Second // the least; renewed two minutes ahead, which is at once
	c.Gateway.ExpiryNotice, c.Gateway.ExpiryGrace = 8*time.Second, time.Second
	r := run(t, c)
	b := r.browser(t)
	b.signIn("alice", "&return_to=/healthz")
	s, _ := b.dial("http://" + r.API)
	first := s.ask(whoAmI)
	deadline := time.Now().Add(30 * time.Second)
	for again := first; expiry(t, again) == expiry(t, first); again = s.ask(whoAmI) {
		if time.Now().After(deadline) {
			t.Fatalf("never renewed: %s", again)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, _, status := b.session(); status != http.StatusOK {
		t.Errorf("the page's own requests: %d", status)
	}
}

// expiry returns when a session ends, as the answer of session/get says.
func expiry(t *testing.T, answer string) string {
	t.Helper()
	var a struct {
		Result struct {
			Session struct {
				ExpireTime string `json:"expireTime"`
			} `json:"session"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(answer), &a); err != nil || a.Result.Session.ExpireTime == "" {
		t.Fatalf("%s: %v", answer, err)
	}
	return a.Result.Session.ExpireTime
}

// TestAPIKeys has a program come in by a key, which is shown once and kept as a
// digest, and ends within a second.
func TestAPIKeys(t *testing.T) {
	r := run(t, testConfig(t))
	bob := r.dial(t, r.token(t, "bob"))
	create := func(id int, roles, lasts string) string {
		return request(id, "session/create-api-key", fmt.Sprintf(`{"name":"ci","roles":[%s],"expireTime":%q}`, roles, lasts))
	}
	soon := soon()
	contains(t, bob.ask(create(1, `"ROLE_CLOUD_OPERATOR"`, soon)), "INVALID_FIELD", "roles")
	frame := create(2, `"ROLE_CLOUD_USER"`, soon)
	made := bob.ask(frame)
	var answer struct {
		Result struct {
			SessionID string `json:"sessionId"`
			APIKey    string `json:"apiKey"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(made), &answer); err != nil || !strings.HasPrefix(answer.Result.APIKey, "tfmkey_"+answer.Result.SessionID+"_") {
		t.Fatalf("%s: %v", made, err)
	}
	again := bob.ask(frame)
	contains(t, again, `"apiKey":"`+answer.Result.APIKey+`"`, `"sessionId":"`+answer.Result.SessionID+`"`) // its position may be a later one
	key, id := answer.Result.APIKey, answer.Result.SessionID
	program := r.dial(t, key)
	contains(t, program.ask(whoAmI), `"subject":"sandbox|bob"`, `"roles":["ROLE_CLOUD_USER"]`, `"sessionId":"`+id+`"`)
	contains(t, program.ask(request(2, "cloud-user/get-account", `{}`)), `"result"`)
	contains(t, program.ask(create(3, `"ROLE_CLOUD_USER"`, soon)), "TOKEN_TOO_OLD")
	eventuallySays(t, bob, request(4, "session/list", `{}`), `"name":"ci"`)
	contains(t, r.dial(t, key+"x").ask(whoAmI), "TOKEN_INVALID")
	contains(t, r.dial(t, "tfmkey_nobody_x").ask(whoAmI), "TOKEN_INVALID")
	alice := r.dial(t, r.token(t, "alice"))
	contains(t, alice.ask(request(5, "session/end", `{"sessionId":"`+id+`"}`)), "SESSION_NOT_FOUND")

	begun := time.Now()
	contains(t, bob.ask(request(6, "session/end", `{"sessionId":"`+id+`"}`)), `"result":{}`)
	if code := program.closed(); code != 4503 || time.Since(begun) > time.Second {
		t.Errorf("closed with %d after %s", code, time.Since(begun))
	}
	contains(t, r.dial(t, key).ask(whoAmI), "TOKEN_INVALID")
}

// TestSignedOutEverywhere closes every connection by an earlier token, and takes
// none any more.
func TestSignedOutEverywhere(t *testing.T) {
	r := run(t, testConfig(t))
	token := r.token(t, "alice")
	one, two, other := r.dial(t, token), r.dial(t, token), r.dial(t, r.token(t, "bob"))
	b := r.browser(t)
	b.signIn("alice", "&return_to=/healthz")
	cookie, _ := b.dial("http://" + r.API)
	for _, s := range []*socket{one, two, other, cookie} {
		contains(t, s.ask(whoAmI), `"result"`)
	}
	begun := time.Now()
	one.send(request(2, "session/end-all", `{}`))
	for name, s := range map[string]*socket{"the caller": one, "another connection": two, "a browser": cookie} {
		if code := s.closed(); code != 4503 || time.Since(begun) > time.Second {
			t.Errorf("%s: closed with %d after %s", name, code, time.Since(begun))
		}
	}
	contains(t, other.ask(whoAmI), `"result"`)
	contains(t, r.dial(t, token).ask(whoAmI), "TOKEN_INVALID", "signed out")
	time.Sleep(time.Second) // tokens tell their time in seconds
	contains(t, r.dial(t, r.token(t, "alice")).ask(whoAmI), `"result"`)
	if _, _, status := b.session(); status != http.StatusUnauthorized {
		t.Errorf("by the cookie of before: %d", status)
	}
	b.signIn("alice", "&return_to=/healthz")
	if _, _, status := b.session(); status != http.StatusOK {
		t.Errorf("signed in again: %d", status)
	}
}

// TestSuspended keeps somebody out whom an operator suspends, everywhere at once.
func TestSuspended(t *testing.T) {
	r := run(t, testConfig(t))
	token := r.token(t, "alice")
	alice, olga := r.dial(t, token), r.dial(t, r.token(t, "olga"))
	contains(t, alice.ask(whoAmI), `"result"`)
	begun := time.Now()
	contains(t, olga.ask(request(1, "cloud-operator/suspend-user", `{"userId":"sandbox|alice","note":"the card was stolen"}`)), `"result":{}`)
	if code := alice.closed(); code != 4501 || time.Since(begun) > time.Second {
		t.Errorf("closed with %d after %s", code, time.Since(begun))
	}
	again := r.dial(t, token)
	contains(t, again.ask(whoAmI), "ACCOUNT_SUSPENDED", "the card was stolen")
	if code := again.closed(); code != 4501 {
		t.Errorf("closed with %d", code)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.API+"/api/cloud-user/get-account", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("by HTTP: %v %v", resp.Status, err)
	}
	_ = resp.Body.Close()
	contains(t, olga.ask(request(2, "cloud-operator/reinstate-user", `{"userId":"sandbox|alice"}`)), `"result":{}`)
	contains(t, r.dial(t, token).ask(whoAmI), `"result"`)
}

// eventuallySays asks until the answer holds what is wanted.
func eventuallySays(t *testing.T, s *socket, frame, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for answer := ""; !strings.Contains(answer, want); answer = s.ask(frame) {
		if ctx.Err() != nil {
			t.Fatalf("it never says %s, but %s", want, answer)
		}
	}
}

// soon is in an hour.
func soon() string { return time.Now().Add(time.Hour).UTC().Format(time.RFC3339) }

// TestSignUp has somebody new sign up at the issuer; the first sign-in makes the account.
func TestSignUp(t *testing.T) {
	r := run(t, testConfig(t))
	olga := r.dial(t, r.token(t, "olga"))
	suspend := `{"userId":"sandbox|dora","note":"a test"}`
	contains(t, olga.ask(request(1, "cloud-operator/suspend-user", suspend)), "ACCOUNT_NOT_FOUND")
	b := r.browser(t)
	b.signIn("dora", "&screen_hint=signup&return_to=/healthz")
	if subject, _, status := b.session(); subject != "sandbox|dora" || status != http.StatusOK {
		t.Fatalf("signed in as %q: %d", subject, status)
	}
	eventuallySays(t, olga, request(2, "cloud-operator/suspend-user", suspend), `"result":{}`)
	if _, _, status := b.session(); status != http.StatusForbidden {
		t.Errorf("suspended: %d", status)
	}
}
