package apicheck

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

// talk speaks to a running server through both doors and holds every word to
// the documents.
type talk struct {
	*testing.T
	server  *server
	http    *document
	socket  *document
	sockets map[string]*websocket.Conn // by person
	next    int
	asked   map[string]bool // verbs and paths that were answered with 200
	heard   map[string]bool // messages of AsyncAPI that were seen
}

func newTalk(t *testing.T) *talk {
	return &talk{T: t, server: startServer(t), http: openAPI(t), socket: asyncAPI(t), sockets: map[string]*websocket.Conn{}, asked: map[string]bool{}, heard: map[string]bool{}}
}

// ask calls a method as somebody, by every way in, and returns the answer. A
// command goes through both doors under one id, and must be answered alike.
func (t *talk) ask(who, path, params string) map[string]any {
	t.Helper()
	m := messages.ByPath(path)
	t.http.holds(t.T, "#/components/schemas/"+string(m.Request().ProtoReflect().Descriptor().Name()), []byte(params))
	id := ""
	if m.Command() {
		id = messages.NewCommandID()
	}
	status, answer := t.request(who, http.MethodPost, path, "", id, params)
	if status != http.StatusOK {
		t.Fatalf("%s answers %d %s", path, status, answer)
	}
	if m.ReadOnly {
		query := url.Values{}
		flatten(query, "", parse(t.T, []byte(params)))
		if status, answer := t.request(who, http.MethodGet, path, "?"+query.Encode(), "", ""); status != http.StatusOK {
			t.Errorf("GET %s answers %d %s", path, status, answer)
		}
	}
	t.call(who, path, id, params)
	members, _ := parse(t.T, answer).(map[string]any)
	return members
}

// refuse calls a method by POST and expects to be refused so.
func (t *talk) refuse(who, path, commandID, params string, status int, reason string) {
	t.Helper()
	got, answer := t.request(who, http.MethodPost, path, "", commandID, params)
	if got != status || !strings.Contains(string(answer), reason) {
		t.Errorf("%s answers %d %s, not %d %s", path, got, answer, status, reason)
	}
	if t.http.members("components", "responses", "Refused"+strconv.Itoa(status), "content", "application/json", "examples")[reason] == nil {
		t.Errorf("the document does not know that %s is told with %d", reason, status)
	}
}

// request sends one request over HTTP and holds the answer to the document.
func (t *talk) request(who, verb, path, query, commandID, body string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), verb, "http://"+t.server.API+"/api/"+path+query, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token := t.server.token(t.T, who); token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if commandID != "" {
		r.Header.Set("Idempotency-Key", commandID)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	operation := []string{"paths", "/api/" + path, strings.ToLower(verb)}
	described := t.http.members(append(operation, "responses")...)
	place := pointer(append(operation, "responses", strconv.Itoa(resp.StatusCode), "content", "application/json", "schema")...)
	if resp.StatusCode != http.StatusOK {
		place = "#/components/schemas/Status"
	}
	if described[strconv.Itoa(resp.StatusCode)] == nil {
		t.Errorf("%s %s: an answer %d is not described", verb, path, resp.StatusCode)
		return resp.StatusCode, answer
	}
	t.http.holds(t.T, place, answer)
	if resp.StatusCode == http.StatusOK {
		t.asked[verb+" /api/"+path] = true
	}
	return resp.StatusCode, answer
}

// flatten spells parameters as a query does.
func flatten(query url.Values, prefix string, v any) {
	members, is := v.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		flatten(query, strings.TrimPrefix(prefix+"."+name, "."), members[name])
	}
	if !is {
		query.Set(prefix, fmt.Sprint(v))
	}
}

// dial opens somebody's connection, signing in by its first frame.
func (t *talk) dial(who string) *websocket.Conn {
	t.Helper()
	if t.sockets[who] != nil {
		return t.sockets[who]
	}
	ws, _, err := websocket.Dial(t.Context(), "ws://"+t.server.API+"/ws", &websocket.DialOptions{Subprotocols: []string{"marketplace.jsonrpc.v1"}})
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = ws.CloseNow() })
	t.sockets[who] = ws
	t.call(who, "session/open", "", `{"accessToken":"`+t.server.token(t.T, who)+`"}`)
	return ws
}

// call sends a request over WebSocket and reads until its answer.
func (t *talk) call(who, path, commandID, params string) {
	t.Helper()
	ws := t.dial(who)
	t.next++
	id, meta := strconv.Itoa(t.next), ""
	if commandID != "" {
		meta = `"meta":{"commandId":"` + commandID + `"},`
	}
	frame := []byte(`{"jsonrpc":"2.0","id":` + id + `,"method":"` + path + `",` + meta + `"params":` + params + `}`)
	name := strings.ReplaceAll(path, "/", ".")
	t.says(name+".request", frame)
	if err := ws.Write(t.Context(), websocket.MessageText, frame); err != nil {
		t.Fatal(err)
	}
	for {
		got, text := t.read(ws)
		if _, answers := got["id"]; !answers {
			continue
		}
		if got["error"] != nil {
			t.Fatalf("%s is refused: %s", path, text)
		}
		t.says(name+".answer", text)
		return
	}
}

// push reads until a stream pushes.
func (t *talk) push(who, path string) {
	t.Helper()
	for ws := t.dial(who); ; {
		if got, _ := t.read(ws); got["method"] == path {
			return
		}
	}
}

// read returns the next frame. A push is held to the document here.
func (t *talk) read(ws *websocket.Conn) (map[string]any, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, text, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := parse(t.T, text).(map[string]any)
	if method, is := got["method"].(string); is {
		name := strings.ReplaceAll(method, "/", ".")
		if strings.HasPrefix(method, "session/") && messages.ByPath(method) == nil {
			name = strings.ReplaceAll(method, "/", "-")
		} else {
			name += ".push"
		}
		t.says(name, text)
	}
	return got, text
}

// says holds a frame to the message that it is.
func (t *talk) says(name string, frame []byte) {
	t.Helper()
	t.heard[name] = true
	t.socket.holds(t.T, pointer("components", "messages", name, "payload"), frame)
}
