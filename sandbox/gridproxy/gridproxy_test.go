package gridproxy

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

var shared = sync.OnceValues(New)

// recordedGrid is the proxy of all tests; who changes it changes it back.
func recordedGrid(t *testing.T) *Proxy {
	t.Helper()
	p, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ask(t *testing.T, p *Proxy, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, nil))
	return w
}

func get(t *testing.T, p *Proxy, target string, into any) http.Header {
	t.Helper()
	w := ask(t, p, http.MethodGet, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	return w.Header()
}

func nodeIDs(nodes []node) []int {
	ids := make([]int, len(nodes))
	for i, n := range nodes {
		ids[i] = n.NodeID
	}
	return ids
}

// TestAsRecorded makes sure that reading and writing changes no byte.
func TestAsRecorded(t *testing.T) {
	p := recordedGrid(t)
	for name, target := range map[string]string{
		"nodes": "/nodes?size=6000", "farms": "/farms?size=600", "public_ips": "/public_ips?size=1000", "stats": "/stats",
	} {
		f, err := recorded.Open("recorded/" + name + ".json.gz")
		if err != nil {
			t.Fatal(err)
		}
		unzipped, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(unzipped)
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(t, p, http.MethodGet, target).Body.Bytes(); !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) {
			t.Errorf("%s differs from what was recorded: %d bytes, recorded %d", target, len(got), len(want))
		}
	}
}

func TestEveryNodeIsOnOnePage(t *testing.T) {
	p := recordedGrid(t)
	var ids []int
	for page := 1; page <= 13; page++ {
		var nodes []node
		h := get(t, p, "/nodes?size=500&ret_count=true&page="+strconv.Itoa(page), &nodes)
		if h.Get("Count") != "6000" || h.Get("Size") != "500" || h.Get("Pages") != "12" {
			t.Errorf("page %d: headers %v", page, h)
		}
		if want := map[bool]int{true: 500}[page <= 12]; len(nodes) != want {
			t.Errorf("page %d: %d nodes, want %d", page, len(nodes), want)
		}
		ids = append(ids, nodeIDs(nodes)...)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != 6000 {
		t.Errorf("%d different nodes", len(ids))
	}
}

func TestPages(t *testing.T) {
	p := recordedGrid(t)
	for target, want := range map[string]int{
		"/nodes": 50, "/nodes?size=7": 7, "/nodes?page=0&size=3": 3, "/nodes?size=0": 0, "/nodes?size=5999&page=2": 1, "/nodes?size=&page=": 50,
		"/farms?size=18446744073709551615": 600, "/nodes?size=18446744073709551615&page=18446744073709551615": 0,
		"/farms?size=500&page=2": 100, "/farms?farm_id=9": 1, "/public_ips?farm_ids=226&size=100": 2,
	} {
		var items []json.RawMessage
		h := get(t, p, target, &items)
		if len(items) != want || items == nil {
			t.Errorf("%s: %d items, want %d", target, len(items), want)
		}
		if h.Get("Count") != "" {
			t.Errorf("%s: a count nobody asked for", target)
		}
	}
}

// TestRecordedQueries compares with what the real server answered.
func TestRecordedQueries(t *testing.T) {
	p := recordedGrid(t)
	text, err := os.ReadFile("testdata/queries.json")
	if err != nil {
		t.Fatal(err)
	}
	var queries []struct {
		Query   map[string]string `json:"query"`
		NodeIDs []int             `json:"node_ids"`
	}
	if err := json.Unmarshal(text, &queries); err != nil {
		t.Fatal(err)
	}
	for _, q := range queries {
		values := url.Values{"size": {"6000"}, "ret_count": {"true"}}
		for k, v := range q.Query {
			values.Set(k, v)
		}
		var nodes []node
		h := get(t, p, "/nodes?"+values.Encode(), &nodes)
		if ids := nodeIDs(nodes); !slices.Equal(ids, q.NodeIDs) {
			t.Errorf("%v: %d nodes, recorded %d", q.Query, len(ids), len(q.NodeIDs))
		}
		if h.Get("Count") != strconv.Itoa(len(q.NodeIDs)) {
			t.Errorf("%v: count %s", q.Query, h.Get("Count"))
		}
	}
}

func TestRefusals(t *testing.T) {
	p := recordedGrid(t)
	for target, want := range map[string]string{
		"/nodes?colour=red":                `400 {"error":"failed to decode params: schema: invalid path \"colour\""}`,
		"/nodes?size=many":                 `400 {"error":"failed to decode params: schema: error converting value for \"size\""}`,
		"/nodes?size=-1":                   `400 {"error":"failed to decode params: schema: error converting value for \"size\""}`,
		"/nodes?farm_ids=1,x":              `400 {"error":"failed to decode params: schema: error converting value for \"farm_ids\""}`,
		"/nodes?sort_by=uptime":            `501 {"error":"the sandbox does not play the parameter sort_by"}`,
		"/nodes?dedicated=true":            `501 {"error":"the sandbox does not play the parameter dedicated"}`,
		"/farms?country=Egypt":             `501 {"error":"the sandbox does not play the parameter country"}`,
		"/public_ips?gateway=1":            `501 {"error":"the sandbox does not play the parameter gateway"}`,
		"/stats?status=up":                 `501 {"error":"the sandbox does not play the parameter status"}`,
		"/nodes?status=asleep":             `500 {"error":"no such status"}`,
		"/nodes/6001":                      `404 {"error":"node not found"}`,
		"/nodes/x":                         `404 404 page not found`,
		"/nodes/99999999999999999999":      `502 {"error":"invalid node id 0: strconv.Atoi: parsing \"99999999999999999999\": value out of range: bad gateway"}`,
		"/nodes/6001/status":               `404 {"error":"node not found"}`,
		"/public_ips?free=perhaps":         `400 {"error":"failed to decode params: schema: error converting value for \"free\""}`,
		"/nodes?in_dedicated_farm=perhaps": `400 {"error":"failed to decode params: schema: error converting value for \"in_dedicated_farm\""}`,
	} {
		w := ask(t, p, http.MethodGet, target)
		if got := strconv.Itoa(w.Code) + " " + strings.TrimSpace(w.Body.String()); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

func TestOneNode(t *testing.T) {
	p := recordedGrid(t)
	var listed []node
	var alone nestedNode
	var status struct{ Status string }
	get(t, p, "/nodes?node_id=7", &listed)
	get(t, p, "/nodes/7", &alone)
	get(t, p, "/nodes/7/status", &status)
	if alone.NodeID != 7 || alone.Capacity.Total != listed[0].Total || alone.Capacity.Used != listed[0].Used || alone.Status != status.Status {
		t.Errorf("node 7 alone is %+v, listed %+v", alone, listed[0])
	}
	if body := ask(t, p, http.MethodGet, "/nodes/7").Body.String(); strings.Contains(body[:strings.Index(body, `"capacity"`)], "_resources") {
		t.Error("a node alone shows its capacity outside of capacity")
	}
}

func TestSmallAnswers(t *testing.T) {
	p := recordedGrid(t)
	for target, want := range map[string]string{
		"/ping": `{"ping":"pong"}`, "/version": `{"version":"v0.17.0"}`, "/health": `{"total_state_ok":true,"db_conn":"ok","rmb_conn":"ok"}`,
	} {
		w := ask(t, p, http.MethodGet, target)
		if got := strings.TrimSpace(w.Body.String()); got != want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s", target, got)
		}
	}
}

func TestSwitches(t *testing.T) {
	p := recordedGrid(t)
	server := httptest.NewServer(p)
	defer server.Close()
	call := func(method, target string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, strings.TrimSpace(string(body))
	}
	for _, step := range []struct {
		method, target string
		code           int
		body           string
	}{
		{"GET", "/nodes/1/status", 200, `{"status":"up"}`},
		{"POST", "/sandbox/nodes/1?status=down", 204, ""},
		{"GET", "/nodes/1/status", 200, `{"status":"down"}`},
		{"GET", "/nodes?node_id=1&status=up", 200, `[]`},
		{"POST", "/sandbox/nodes/1?status=up", 204, ""},
		{"POST", "/sandbox/nodes/1?status=gone", 400, `{"error":"set node 1 to \"gone\": a status is up, down or standby"}`},
		{"POST", "/sandbox/nodes/6001?status=up", 404, `{"error":"set node 6001 to \"up\": there is no such node in the recording"}`},
		{"POST", "/sandbox/nodes/one?status=up", 404, `{"error":"there is no such node in the recording"}`},
		{"POST", "/sandbox/fault?code=503", 204, ""},
		{"GET", "/ping", 503, `{"error":"the sandbox was told to fail"}`},
		{"POST", "/sandbox/fault?code=200", 400, `{"error":"fail with 200: a fault is an HTTP status from 400 to 599, or 0 to end it"}`},
		{"POST", "/sandbox/fault", 400, `{"error":"a fault is an HTTP status from 400 to 599, or 0 to end it"}`},
		{"POST", "/sandbox/fault?code=0", 204, ""},
		{"GET", "/ping", 200, `{"ping":"pong"}`},
	} {
		if code, body := call(step.method, step.target); code != step.code || body != step.body {
			t.Errorf("%s %s: %d %s, want %d %s", step.method, step.target, code, body, step.code, step.body)
		}
	}
}
