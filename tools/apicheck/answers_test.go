package apicheck

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/docs/api"
	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

const spec = `{"vcpus":2,"memoryMib":4096,"diskGib":50}`

// TestServerIsAsDescribed calls every method of a running server, through both
// doors, and holds what is said and heard to the documents.
func TestServerIsAsDescribed(t *testing.T) {
	c := newTalk(t)
	for _, path := range []string{"cloud-user/watch-account", "cloud-user/watch-notifications", "session/watch-broadcasts"} {
		c.call("alice", path, "", "{}")
	}
	c.ask("olga", "cloud-operator/grant-credit", `{"userId":"sandbox|alice","amount":"100000000","note":"to begin with"}`)
	c.push("alice", "cloud-user/watch-account")
	c.ask("alice", "cloud-user/get-account", `{}`)
	c.ask("alice", "cloud-user/update-settings", `{"settings":{"displayName":"Ann","timeZone":"Europe/Brussels"}}`)
	c.deploy()
	c.ask("olga", "cloud-operator/transfer-credit", `{"fromUserId":"sandbox|alice","toUserId":"sandbox|bob","amount":"1","note":""}`)
	c.ask("alice", "cloud-user/list-transactions", `{"pageSize":10}`)
	c.ask("olga", "cloud-operator/broadcast", `{"text":"Hello","severity":"SEVERITY_INFO"}`)
	c.push("alice", "session/watch-broadcasts")
	c.ask("alice", "cloud-user/list-notifications", `{}`)
	c.call("alice", "session/get", "", `{}`)
	c.call("alice", "session/refresh", "", `{"accessToken":"`+c.server.token(t, "alice")+`"}`)
	c.events()
	c.refusals()
	c.rest()
	c.sameDocument()
}

// deploy finds a node, deploys on it and takes the deployment down.
func (t *talk) deploy() {
	t.Helper()
	var nodes []any
	for limit := time.Now().Add(30 * time.Second); len(nodes) == 0; time.Sleep(100 * time.Millisecond) {
		nodes, _ = t.ask("alice", "cloud-user/find-nodes", `{"spec":`+spec+`,"pageSize":2}`)["nodes"].([]any)
		if time.Now().After(limit) {
			t.Fatal("the catalogue stays empty")
		}
	}
	found, _ := nodes[0].(map[string]any)
	node, _ := found["node"].(map[string]any)
	on := fmt.Sprintf(`"nodeId":%v`, node["nodeId"])
	price := t.ask("alice", "cloud-user/quote-deployment", `{"spec":`+spec+`,`+on+`}`)["hourlyPrice"]
	t.ask("bob", "cloud-provider/list-nodes", fmt.Sprintf(`{"farmId":%v}`, node["farmId"]))
	created := t.ask("alice", "cloud-user/create-deployment",
		fmt.Sprintf(`{"name":"web","spec":%s,%s,"maxHourlyPrice":%q,"environment":[{"name":"A","value":"b"}]}`, spec, on, price))
	id := fmt.Sprintf(`{"deploymentId":%q}`, created["deploymentId"])
	t.call("alice", "cloud-user/watch-deployment", "", id)
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		detail, _ := t.ask("alice", "cloud-user/deployment-detail", id)["deployment"].(map[string]any)
		if detail["state"] == "DEPLOYMENT_STATE_RUNNING" {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("the deployment stays %v", detail["state"])
		}
	}
	t.ask("alice", "cloud-user/list-deployments", `{}`)
	t.ask("alice", "cloud-user/cancel-deployment", id)
	if !t.heard["cloud-user.watch-deployment.push"] {
		t.push("alice", "cloud-user/watch-deployment")
	}
}

// events hears a stream as server-sent events: its opening, and a push.
func (t *talk) events() {
	t.Helper()
	const path = "/api/cloud-user/watch-account"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+t.server.API+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+t.server.token(t.T, "alice"))
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s", path, resp.Status)
	}
	for event, id := "", ""; lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "":
			event, id = "", ""
		case name == "event":
			event = value
		case name == "id":
			id = value
		case name == "data" && event == "open":
			if !strings.Contains(value, `"recovered":true`) {
				t.Errorf("%s opens with %s", path, value)
			}
		case name == "data" && event == "":
			t.http.holds(t.T, pointer("paths", path, "get", "responses", "200", "content", "text/event-stream", "x-event-schema"), []byte(value))
			if id == "" {
				t.Errorf("%s: an event has no position", path)
			}
			return
		}
	}
	t.Errorf("%s says nothing: %v", path, lines.Err())
}

// refusals are refused as the document says.
func (t *talk) refusals() {
	t.Helper()
	const grant = "cloud-operator/grant-credit"
	one := `{"userId":"sandbox|alice","amount":"1"}`
	t.refuse("", "cloud-user/get-account", "", `{}`, http.StatusUnauthorized, "TOKEN_REQUIRED")
	t.refuse("alice", grant, messages.NewCommandID(), one, http.StatusForbidden, "ROLE_REQUIRED")
	t.refuse("olga", grant, "", one, http.StatusBadRequest, "COMMAND_ID_REQUIRED")
	t.refuse("olga", grant, messages.NewCommandID(), `{"userId":"sandbox|alice","amount":"0"}`, http.StatusBadRequest, "INVALID_FIELD")
	t.refuse("olga", grant, messages.NewCommandID(), `{"user":1}`, http.StatusBadRequest, "MALFORMED_REQUEST")
	t.refuse("alice", "cloud-user/deployment-detail", "", `{"deploymentId":"nobody"}`, http.StatusNotFound, "DEPLOYMENT_NOT_FOUND")
	t.refuse("alice", "cloud-user/get-account", "", strings.Repeat(" ", 1<<17)+`{}`, http.StatusRequestEntityTooLarge, "TOO_LARGE")
	id := messages.NewCommandID()
	if status, answer := t.request("olga", http.MethodPost, grant, "", id, one); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	t.refuse("olga", grant, id, `{"userId":"sandbox|alice","amount":"2"}`, http.StatusConflict, "COMMAND_ID_REUSED")
}

// rest asks every method that the conversation does not have, with nothing in
// its request: whatever the server says to that must be described, and it must
// know the method. So a new method is held to the documents from its first day.
func (t *talk) rest() {
	t.Helper()
	people := map[optionsv1.Role]string{
		optionsv1.Role_ROLE_CLOUD_USER: "alice", optionsv1.Role_ROLE_CLOUD_PROVIDER: "bob", optionsv1.Role_ROLE_CLOUD_OPERATOR: "olga",
	}
	for path, item := range t.http.members("paths") {
		m := messages.ByPath(strings.TrimPrefix(path, "/api/"))
		verbs, _ := item.(map[string]any)
		for verb := range verbs {
			verb = strings.ToUpper(verb)
			if m == nil || m.Streams() || t.asked[verb+" "+path] {
				continue
			}
			t.Logf("%s %s is asked with an empty request alone", verb, path)
			body, id := "{}", ""
			if verb == http.MethodGet {
				body = ""
			}
			if m.Command() {
				id = messages.NewCommandID()
			}
			if status, answer := t.request(people[m.Roles[0]], verb, m.Path, "", id, body); strings.Contains(string(answer), "UNKNOWN_METHOD") {
				t.Errorf("%s %s answers %d %s", verb, path, status, answer)
			}
		}
	}
}

// sameDocument asks the server for what it says of itself.
func (t *talk) sameDocument() {
	t.Helper()
	for path, want := range map[string][]byte{"/docs/api/openapi.json": api.OpenAPI, "/docs/api/asyncapi.json": api.AsyncAPI} {
		if kind, got := t.get(path); kind != "application/json" || string(got) != string(want) {
			t.Errorf("%s is not the document that was generated, but %s of %d bytes", path, kind, len(got))
		}
	}
	if kind, got := t.get("/api/methods"); t.http.members("paths", "/api/methods", "get", "responses", "200", "content")[kind] == nil || len(got) == 0 {
		t.Errorf("/api/methods is %s of %d bytes", kind, len(got))
	}
}

// get returns what kind of thing lies at a path, and the thing.
func (t *talk) get(path string) (kind string, body []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+t.server.API+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s: %d, %v", path, resp.StatusCode, err)
	}
	return resp.Header.Get("Content-Type"), body
}
