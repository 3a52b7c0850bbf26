package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// in is a time from now, as requests spell it.
func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }

// broadcast says something and returns its id.
func (s *socket) broadcast(params string) (id string) {
	s.t.Helper()
	text := s.ask(request(100, "cloud-operator/broadcast", params))
	var answer struct {
		Result struct {
			BroadcastID string `json:"broadcastId"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Result.BroadcastID == "" {
		s.t.Fatalf("%s is answered with %s", params, text)
	}
	return answer.Result.BroadcastID
}

// active subscribes to what is to be known, after a position or "".
func (s *socket) active(id int, after string) (answer string) {
	s.t.Helper()
	params := "{}"
	if after != "" {
		params = `{"after":"` + after + `"}`
	}
	return s.ask(`{"jsonrpc":"2.0","id":` + strconv.Itoa(id) + `,"method":"session/watch-active-broadcasts","params":` + params + `}`)
}

// hear returns the next push's texts, and its position.
func (s *socket) hear() (texts, position string) {
	s.t.Helper()
	text, err := s.read()
	if err != nil {
		s.t.Fatal(err)
	}
	var push struct {
		Params struct {
			Position string `json:"position"`
			Result   struct {
				Broadcasts []struct {
					Text string `json:"text"`
				} `json:"broadcasts"`
			} `json:"result"`
		} `json:"params"`
	}
	if err := json.Unmarshal([]byte(text), &push); err != nil || push.Params.Position == "" {
		s.t.Fatalf("not a push: %s", text)
	}
	if strings.Contains(text, "audience") {
		s.t.Errorf("an audience is told: %s", text)
	}
	var said []string
	for _, b := range push.Params.Result.Broadcasts {
		said = append(said, b.Text)
	}
	return strings.Join(said, ","), push.Params.Position
}

// hears fails unless the next push shows these texts, and returns its position.
func (s *socket) hears(want string) (position string) {
	s.t.Helper()
	texts, position := s.hear()
	if texts != want {
		s.t.Errorf("heard %q, not %q", texts, want)
	}
	return position
}

// sees waits until a view shows these texts. What was shown may be shown again.
func (s *socket) sees(want string) {
	s.t.Helper()
	before, _ := s.hear()
	for texts := before; texts != want; texts, _ = s.hear() {
		if texts != before {
			s.t.Fatalf("sees %q on the way to %q", texts, want)
		}
	}
}

// quiet fails if something was pushed before this.
func (s *socket) quiet() {
	s.t.Helper()
	contains(s.t, s.ask(`{"jsonrpc":"2.0","id":77,"method":"session/get"}`), `"id":77`)
}

// TestBroadcastLife has what operators say begin, end and be taken back by itself,
// and shows to whoever comes later what holds then.
func TestBroadcastLife(t *testing.T) {
	c := testConfig(t)
	r := run(t, c)
	olga, alice := r.dial(t, r.token(t, "olga")), r.dial(t, r.token(t, "alice"))
	contains(t, alice.active(1, ""), `"recovered":true`)
	alice.hears("")
	now := olga.broadcast(`{"text":"now","severity":"SEVERITY_WARNING"}`)
	seen := alice.hears("now")
	olga.broadcast(`{"text":"later","severity":"SEVERITY_INFO","startTime":"` + in(time.Second) + `","expireTime":"` + in(2500*time.Millisecond) + `"}`)
	begun := time.Now()
	contains(t, olga.ask(request(2, "cloud-operator/live-broadcasts", "{}")), `"text":"later"`, `"published":false`, `"sentBy":"sandbox|olga"`)
	late := r.dial(t, r.token(t, "bob"))
	late.active(1, "")
	late.hears("now") // not what is to come
	back := r.dial(t, r.token(t, "alice"))
	contains(t, back.active(1, seen), `"recovered":true`)
	back.quiet() // it has seen all that there is
	for _, s := range []*socket{alice, late, back} {
		s.sees("now,later")
	}
	if took := time.Since(begun); took < 900*time.Millisecond || took > 2400*time.Millisecond {
		t.Errorf("published after %s", took)
	}
	for _, s := range []*socket{alice, late, back} {
		s.sees("now")
	}
	contains(t, olga.ask(request(3, "cloud-operator/retract-broadcast", `{"broadcastId":"`+now+`"}`)), `"result":{}`)
	for _, s := range []*socket{alice, late, back} {
		s.sees("")
	}
	contains(t, olga.ask(request(4, "cloud-operator/retract-broadcast", `{"broadcastId":"`+now+`"}`)), "BROADCAST_NOT_FOUND")
	alice = r.dial(t, r.token(t, "alice"))
	contains(t, alice.ask(request(5, "session/list-broadcasts", "{}")), `"text":"now"`, `"text":"later"`) // it was said
	// What is due while the server is away happens when it is back.
	olga.broadcast(`{"text":"short","severity":"SEVERITY_INFO","expireTime":"` + in(3*time.Second) + `"}`)
	olga.broadcast(`{"text":"planned","severity":"SEVERITY_INFO","startTime":"` + in(3*time.Second) + `"}`)
	olga.broadcast(`{"text":"missed","severity":"SEVERITY_INFO","startTime":"` + in(3*time.Second) + `","expireTime":"` + in(4*time.Second) + `"}`)
	until := time.Now().Add(4 * time.Second)
	r.stop()
	time.Sleep(time.Until(until)) // the server is away
	r = run(t, c)
	alice = r.dial(t, r.token(t, "alice"))
	alice.active(1, "")
	for texts := ""; texts != "planned"; {
		texts, _ = alice.hear() // fails after a while
	}
	if answer := alice.ask(request(6, "session/list-broadcasts", "{}")); strings.Contains(answer, "missed") {
		t.Errorf("what nobody could publish in time was said: %s", answer)
	}
}

// TestBroadcastAudience speaks to a region, a role and a person; everybody else
// hears that something was said, and not what.
func TestBroadcastAudience(t *testing.T) {
	r := run(t, testConfig(t))
	olga, alice := r.dial(t, r.token(t, "olga")), r.dial(t, r.token(t, "alice"))
	contains(t, alice.ask(request(1, "cloud-user/update-settings", `{"settings":{"region":"Europe"}}`)), `"revision":"1"`)
	alice, bob := r.dial(t, r.token(t, "alice")), r.dial(t, r.token(t, "bob"))
	for _, s := range []*socket{alice, bob} {
		s.ask(request(1, "session/watch-broadcasts", "{}"))
	}
	events := r.events(t, r.token(t, "alice"), "session/watch-active-broadcasts")
	for _, c := range []struct{ audience, alice, bob string }{
		{`{"regions":["europe"]}`, "1", ""},
		{`{"roles":["ROLE_CLOUD_PROVIDER"]}`, "", "1"},
		{`{"userIds":["sandbox|bob","sandbox|somebody"]}`, "", "1"},
		{`{"roles":["ROLE_CLOUD_USER"],"regions":["Europe","Asia"]}`, "1", ""},
		{`{}`, "1", "1"},
	} {
		olga.broadcast(`{"text":"1","severity":"SEVERITY_INFO","audience":` + c.audience + `}`)
		alice.hears(c.alice)
		bob.hears(c.bob)
	}
	if heard := events("somebody", 6); strings.Count(heard, `"text"`) != 1+1+1+2+3 {
		t.Errorf("alice hears by HTTP: %s", heard) // views: each holds what is for her so far
	}
	// The list is read through the same eyes, from the beginning too.
	for who, want := range map[string]int{"alice": 3, "bob": 3, "olga": 1} {
		s := r.dial(t, r.token(t, who))
		answer := s.ask(request(2, "session/list-broadcasts", "{}"))
		if n := strings.Count(answer, `"text"`); n != want || strings.Contains(answer, "audience") || strings.Contains(answer, "somebody") {
			t.Errorf("%s reads %d: %s", who, n, answer)
		}
	}
	again := r.dial(t, r.token(t, "bob"))
	position := alice.ask(request(3, "session/list-broadcasts", "{}"))
	epoch := between(position, `"position":"`, ".")
	contains(t, again.ask(`{"jsonrpc":"2.0","id":1,"method":"session/watch-broadcasts","params":{"after":"`+epoch+`.0"}}`), `"recovered":true`)
	for _, want := range []string{"", "1", "1", "", "1"} { // every position, and only what is bob's
		again.hears(want)
	}
	contains(t, olga.ask(request(4, "cloud-operator/live-broadcasts", "{}")), "sandbox|somebody")
	contains(t, olga.ask(request(5, "cloud-operator/broadcast", `{"text":"x","severity":"SEVERITY_INFO","audience":{"roles":["ROLE_UNSPECIFIED"]}}`)), "INVALID_FIELD")
}

// between returns what stands between two parts of a text.
func between(text, before, after string) string {
	_, rest, _ := strings.Cut(text, before)
	inner, _, _ := strings.Cut(rest, after)
	return inner
}

// events hears a stream by HTTP. What it returns reads n events' data, which do
// not contain something.
func (r running) events(t *testing.T, token, method string) func(without string, n int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.API+"/api/"+method, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	return func(without string, n int) string {
		var all []string
		for len(all) < n && lines.Scan() {
			if data, found := strings.CutPrefix(lines.Text(), "data: "); found && strings.Contains(data, "broadcasts") {
				all = append(all, data)
			}
		}
		text := strings.Join(all, "\n")
		if len(all) < n || strings.Contains(text, without) {
			t.Fatalf("heard %q", text)
		}
		return text
	}
}

// TestBroadcastReport counts who has read something, once each, also after a
// restart, and about how many connections it came to.
func TestBroadcastReport(t *testing.T) {
	c := testConfig(t)
	r := run(t, c)
	olga, alice, bob := r.dial(t, r.token(t, "olga")), r.dial(t, r.token(t, "alice")), r.dial(t, r.token(t, "bob"))
	alice.active(1, "")
	alice.hears("")
	id := olga.broadcast(`{"text":"read this","severity":"SEVERITY_INFO"}`)
	alice.hears("read this")
	bob.active(1, "")
	bob.hears("read this")
	report := func(parts ...string) {
		t.Helper()
		var answer string
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			answer = olga.ask(request(2, "cloud-operator/broadcast-report", `{"broadcastId":"`+id+`"}`))
			if !strings.Contains(answer, "ACTOR_UNAVAILABLE") && strings.Contains(answer, parts[0]) {
				break
			}
		}
		contains(t, answer, parts...)
	}
	report(`"acknowledged":"0"`, `"deliveredApprox":"2"`)
	read := `{"broadcastId":"` + id + `"}`
	contains(t, alice.ask(request(3, "cloud-user/acknowledge-broadcast", read)), `"result":{}`)
	report(`"acknowledged":"1"`)
	contains(t, alice.ask(request(4, "cloud-user/acknowledge-broadcast", read)), `"result":{}`)
	contains(t, bob.ask(request(5, "cloud-user/acknowledge-broadcast", read)), `"result":{}`)
	contains(t, olga.ask(request(6, "cloud-user/acknowledge-broadcast", read)), `"result":{}`)
	report(`"acknowledged":"3"`, `"deliveredApprox":"2"`)
	r.stop()
	r = run(t, c)
	olga = r.dial(t, r.token(t, "olga"))
	report(`"acknowledged":"3"`, `"deliveredApprox":"0"`) // the one counts what people said, the other what this process did
}
