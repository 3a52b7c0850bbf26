package main

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

// TestDashboard holds the dashboard to what Grafana reads, and to metrics that
// the server really tells.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../configs/grafana/marketplace.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title         string `json:"title"`
		UID           string `json:"uid"`
		SchemaVersion int    `json:"schemaVersion"`
		Panels        []struct {
			ID      int    `json:"id"`
			Type    string `json:"type"`
			Title   string `json:"title"`
			GridPos struct {
				W int `json:"w"`
			} `json:"gridPos"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil || board.Title == "" || board.UID == "" || board.SchemaVersion == 0 {
		t.Fatalf("%+v: %v", board, err)
	}
	r := run(t, testConfig(t))
	s := r.dial(t, r.token(t, "alice"))
	s.ask(request(1, "cloud-user/get-account", `{}`))
	s.ask(request(2, "cloud-user/dance", `{}`)) // refused
	s.ask(`{"jsonrpc":"2.0","id":3,"method":"cloud-user/watch-account"}`)
	_ = r.dial(t, "rubbish").closed()
	metrics := r.adminGet(t, "/metrics")
	named := regexp.MustCompile(`\b(marketplace|go|process)_[a-z_]+`)
	ids, exprs := map[int]bool{}, 0
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || p.GridPos.W == 0 || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q is incomplete, or its number is another's", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			exprs++
			for _, name := range named.FindAllString(target.Expr, -1) {
				if !strings.Contains(metrics, "\n"+name) {
					t.Errorf("panel %q asks for %s, which nobody tells", p.Title, name)
				}
			}
		}
	}
	if exprs < 20 {
		t.Errorf("the dashboard asks for %d things only", exprs)
	}
}

// adminGet returns what the admin listener answers.
func (r running) adminGet(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Admin+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestSpans follows a command from its frame to its commit, in the trace that the
// client began.
func TestSpans(t *testing.T) {
	var mu sync.Mutex
	parents := map[string]string{} // by name of the span
	ids := map[string]string{}
	traces := map[string]bool{}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		export := &collectorv1.ExportTraceServiceRequest{}
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, export) != nil {
			http.Error(w, "not an export", http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range export.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					parents[span.GetName()] = hex.EncodeToString(span.GetParentSpanId())
					ids[span.GetName()] = hex.EncodeToString(span.GetSpanId())
					traces[hex.EncodeToString(span.GetTraceId())] = true
				}
			}
		}
	}))
	defer collector.Close()
	c := testConfig(t)
	c.Telemetry.OTLPEndpoint, c.Telemetry.TraceRatio = collector.URL, 0
	r := run(t, c)
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	olga := r.dial(t, r.token(t, "olga"))
	contains(t, olga.ask(`{"jsonrpc":"2.0","id":1,"method":"cloud-operator/grant-credit","meta":{"commandId":"`+messages.NewCommandID()+
		`","traceparent":"00-`+trace+`-`+parent+`-01"},"params":{"userId":"x","amount":"5"}}`), `"credit":"5"`)
	contains(t, olga.ask(request(2, "cloud-operator/grant-credit", `{"userId":"x","amount":"5"}`)), `"credit":"10"`) // whose sender does not say: not traced
	r.stop()
	mu.Lock()
	defer mu.Unlock()
	request := ids["cloud-operator/grant-credit"]
	if parents["cloud-operator/grant-credit"] != parent || request == "" || parents["decide user"] != request || parents["commit user"] != request {
		t.Errorf("spans %v below %v", ids, parents)
	}
	if len(traces) != 1 || !traces[trace] {
		t.Errorf("traces %v", traces)
	}
}
