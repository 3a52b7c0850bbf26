package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// post calls a method by HTTP and returns the reason of its refusal, or "".
func (r running) post(t *testing.T, m *messages.Method, token string, body []byte) (reason string, status int) {
	t.Helper()
	method, url := http.MethodPost, "http://"+r.API+"/api/"+m.Path
	if m.Streams() || m.Session {
		method, url, body = http.MethodGet, url+"?"+query(t, body), nil
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if m.Streams() {
		req.Header.Set("Accept", "text/event-stream")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if m.Command() {
		req.Header.Set("Idempotency-Key", messages.NewCommandID())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return "", resp.StatusCode
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var refusal struct {
		Details []struct {
			Reason string `json:"reason"`
		} `json:"details"`
	}
	if err := json.Unmarshal(text, &refusal); err != nil || len(refusal.Details) == 0 {
		t.Fatalf("%s is refused with %s", m.Path, text)
	}
	return refusal.Details[0].Reason, resp.StatusCode
}

// query turns a request's text fields into a query.
func query(t *testing.T, body []byte) string {
	t.Helper()
	if len(body) == 0 {
		return ""
	}
	fields := map[string]string{}
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for k, v := range fields {
		pairs = append(pairs, k+"="+v)
	}
	return strings.Join(pairs, "&")
}

// public are the methods that people may call, over HTTP.
func public() []*messages.Method {
	return slices.DeleteFunc(slices.Clone(messages.Methods), func(m *messages.Method) bool {
		return m.Internal || m.Session && m.Path != "session/get"
	})
}

// TestWhoMayCall asks every method as nobody, as each role and as somebody who is
// suspended. Default is no: whoever has none of the method's roles is refused.
func TestWhoMayCall(t *testing.T) {
	c := testConfig(t)
	c.Gateway.Rate, c.Gateway.Burst = 10_000, 10_000
	c.Gateway.HandshakeRate, c.Gateway.HandshakeBurst = 10_000, 100_000
	r := run(t, c)
	people := map[string]struct {
		token string
		roles []optionsv1.Role
	}{
		"alice": {r.token(t, "alice"), []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}},
		"bob":   {r.token(t, "bob"), []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER, optionsv1.Role_ROLE_CLOUD_PROVIDER}},
		"olga":  {r.token(t, "olga"), []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_OPERATOR}},
	}
	for _, m := range public() {
		if reason, status := r.post(t, m, "", []byte("{}")); reason != "TOKEN_REQUIRED" || status != http.StatusUnauthorized {
			t.Errorf("nobody calls %s: %d %s", m.Path, status, reason)
		}
		for who, p := range people {
			if who == "alice" && m.Path == "session/end-all" {
				continue // it works, and would end this test's token
			}
			reason, status := r.post(t, m, p.token, []byte("{}"))
			refused := reason == "ROLE_REQUIRED" && status == http.StatusForbidden
			if refused == (m.Session || m.Allows(p.roles)) {
				t.Errorf("%s calls %s: %d %s", who, m.Path, status, reason)
			}
			if m.Path == "session/end-all" {
				p.token = r.freshToken(t, who)
				people[who] = p
			}
		}
	}
	olga := r.dial(t, r.freshToken(t, "olga"))
	contains(t, olga.ask(request(1, "cloud-operator/suspend-user", `{"userId":"sandbox|bob","note":"a test"}`)), `"result"`)
	for _, m := range public() {
		if reason, status := r.post(t, m, people["bob"].token, []byte("{}")); reason != "ACCOUNT_SUSPENDED" || status != http.StatusForbidden {
			t.Errorf("somebody suspended calls %s: %d %s", m.Path, status, reason)
		}
	}
}

// freshToken returns a token that is younger than any signing out before it.
func (r running) freshToken(t *testing.T, who string) string {
	t.Helper()
	m := messages.ByPath("session/get")
	for {
		token := r.token(t, who)
		if reason, _ := r.post(t, m, token, nil); reason == "" {
			return token
		}
	}
}

// TestForeignIDs asks every method that names an actor of somebody's for one of
// another person's: the answer is as for an id that never was.
func TestForeignIDs(t *testing.T) {
	c := testConfig(t)
	c.Gateway.Rate, c.Gateway.Burst = 10_000, 10_000
	r := run(t, c)
	alice, bob := r.dial(t, r.token(t, "alice")), r.dial(t, r.token(t, "bob"))
	made := bob.ask(request(1, "cloud-user/create-deployment", `{"name":"web","nodeId":1,"maxHourlyPrice":"1","spec":{"vcpus":1,"memoryMib":512,"diskGib":1}}`))
	var answer struct {
		Result struct {
			DeploymentID string `json:"deploymentId"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(made), &answer); err != nil || answer.Result.DeploymentID == "" {
		t.Fatalf("%s: %v", made, err)
	}
	key := bob.ask(request(2, "session/create-api-key", `{"name":"ci","roles":["ROLE_CLOUD_USER"],"expireTime":"`+soon()+`"}`))
	var keyAnswer struct {
		Result struct {
			SessionID string `json:"sessionId"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(key), &keyAnswer); err != nil || keyAnswer.Result.SessionID == "" {
		t.Fatalf("%s: %v", key, err)
	}
	foreign := map[string]string{"deployment": answer.Result.DeploymentID, "session": keyAnswer.Result.SessionID}
	everybodys := map[string]bool{"node": true, "catalogue": true}
	asked := 0
	for _, m := range public() {
		operators := len(m.Roles) == 1 && m.Roles[0] == optionsv1.Role_ROLE_CLOUD_OPERATOR
		if m.Key != messages.KeyField || operators || everybodys[m.Actor] {
			continue
		}
		id := foreign[m.Actor]
		if id == "" {
			t.Errorf("%s: this test knows no %s of somebody's", m.Path, m.Actor)
			continue
		}
		asked++
		answers := map[string]string{}
		for name, id := range map[string]string{"another's": id, "nobody's": messages.NewID("x", "y")} {
			req := m.Request().ProtoReflect()
			req.Set(req.Descriptor().Fields().ByName(protoreflect.Name(m.KeyName)), protoreflect.ValueOfString(id))
			params, err := protojson.Marshal(req.Interface())
			if err != nil {
				t.Fatal(err)
			}
			answers[name] = strings.ReplaceAll(alice.ask(request(3, m.Path, string(params))), id, "ID")
		}
		if answers["another's"] != answers["nobody's"] || !strings.Contains(answers["nobody's"], "_NOT_FOUND") {
			t.Errorf("%s: %v", m.Path, answers)
		}
	}
	if asked < 4 {
		t.Errorf("%d methods were asked only", asked)
	}
}
