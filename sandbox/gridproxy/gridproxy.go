// Package gridproxy plays TFGrid's grid-proxy (v0.17.0) on loopback, in its own
// wire form, over a recorded grid of 6,000 nodes.
//
// # What is played
//
// GET /nodes, /nodes/{id}, /nodes/{id}/status, /farms, /public_ips, /stats,
// /ping, /version and /health. Lists are paged by page and size; with
// ret_count=true the headers Count, Size and Pages tell how many there are. Like
// the real one, it refuses a parameter that does not exist with 400. A parameter
// that exists and is not played is refused with 501, so that nobody takes a list
// for filtered that is not.
//
// # The recording
//
// Statuses are as recorded. The real server computes a status from updatedAt
// and power; here it changes only by SetNodeStatus, and those two fields do not
// follow. Nothing else ever changes.
//
// # Faults
//
// SetNodeStatus and Fail change the world while it runs. People and demos reach
// them over POST /sandbox/nodes/{id}?status=down and POST /sandbox/fault?code=503,
// which the real server does not have.
package gridproxy

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
)

// Version is the version of grid-proxy that was recorded.
const Version = "v0.17.0"

// Proxy is the grid-proxy. It is an http.Handler and safe for concurrent use.
type Proxy struct {
	mux   *http.ServeMux
	farms []*farm
	ips   []*publicIP
	stats json.RawMessage

	mu    sync.RWMutex
	nodes []*node // by id; a node is never changed, only replaced
	fault int     // the HTTP status that answers everything; 0: none
}

var _ http.Handler = (*Proxy)(nil)

// New returns a proxy over the recorded grid. An error says that the recording
// in the binary cannot be read.
func New() (*Proxy, error) {
	p := &Proxy{mux: http.NewServeMux()}
	for _, part := range []struct {
		name string
		into any
	}{{"nodes", &p.nodes}, {"farms", &p.farms}, {"public_ips", &p.ips}, {"stats", &p.stats}} {
		if err := load(part.name, part.into); err != nil {
			return nil, err
		}
	}
	p.mux.HandleFunc("/nodes", p.listNodes)
	p.mux.HandleFunc("/nodes/{id}", p.getNode)
	p.mux.HandleFunc("/nodes/{id}/status", p.getNodeStatus)
	p.mux.HandleFunc("/farms", p.listFarms)
	p.mux.HandleFunc("/public_ips", p.listPublicIPs)
	p.mux.HandleFunc("/stats", p.getStats)
	p.mux.HandleFunc("/ping", constant(map[string]string{"ping": "pong"}))
	p.mux.HandleFunc("/version", constant(map[string]string{"version": Version}))
	p.mux.HandleFunc("/health", constant(health{OK: true, DB: "ok", RMB: "ok"}))
	p.mux.HandleFunc("POST /sandbox/nodes/{id}", p.postNode)
	p.mux.HandleFunc("POST /sandbox/fault", p.postFault)
	return p, nil
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if code := p.failing(); code != 0 && r.URL.Path != "/sandbox/fault" {
		refuse(w, code, "the sandbox was told to fail")
		return
	}
	p.mux.ServeHTTP(w, r)
}

// health is the real server's report without its indexers, of which there are none here.
type health struct {
	OK  bool   `json:"total_state_ok"`
	DB  string `json:"db_conn"`
	RMB string `json:"rmb_conn"`
}

func (p *Proxy) listNodes(w http.ResponseWriter, r *http.Request) {
	q, code, err := parseQuery(r.URL.Query(), nodeFilters, nodeUnplayed)
	if err != nil {
		refuse(w, code, err.Error())
		return
	}
	p.mu.RLock()
	found := q.keep(p.nodes)
	p.mu.RUnlock()
	list(w, &q.limit, found)
}

func (p *Proxy) listFarms(w http.ResponseWriter, r *http.Request) {
	q, code, err := parseQuery(r.URL.Query(), farmFilters, farmUnplayed)
	if err != nil {
		refuse(w, code, err.Error())
		return
	}
	list(w, &q.limit, q.keep(p.farms))
}

func (p *Proxy) listPublicIPs(w http.ResponseWriter, r *http.Request) {
	q, code, err := parseQuery(r.URL.Query(), ipFilters, ipUnplayed)
	if err != nil {
		refuse(w, code, err.Error())
		return
	}
	list(w, &q.limit, q.keep(p.ips))
}

func (p *Proxy) getStats(w http.ResponseWriter, r *http.Request) {
	if _, code, err := parseQuery[struct{}](r.URL.Query(), nil, []string{"status"}); err != nil {
		refuse(w, code, err.Error())
		return
	}
	answer(w, http.StatusOK, p.stats)
}

func (p *Proxy) getNode(w http.ResponseWriter, r *http.Request) {
	if n, ok := p.find(w, r); ok {
		answer(w, http.StatusOK, n.nested())
	}
}

func (p *Proxy) getNodeStatus(w http.ResponseWriter, r *http.Request) {
	if n, ok := p.find(w, r); ok {
		answer(w, http.StatusOK, map[string]string{"status": n.Status})
	}
}

// find returns the node that the path names, or answers that there is none.
func (p *Proxy) find(w http.ResponseWriter, r *http.Request) (*node, bool) {
	text := r.PathValue("id")
	for _, c := range text {
		if c < '0' || c > '9' { // the real server's route takes digits only
			http.NotFound(w, r)
			return nil, false
		}
	}
	id, err := strconv.Atoi(text)
	if err != nil {
		refuse(w, http.StatusBadGateway, "invalid node id 0: "+err.Error()+": bad gateway")
		return nil, false
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	i, ok := p.at(id)
	if !ok {
		refuse(w, http.StatusNotFound, "node not found")
		return nil, false
	}
	return p.nodes[i], true
}

// list answers one page of what was found.
func list[T any](w http.ResponseWriter, l *limit, found []T) {
	if l.count {
		w.Header().Set("Count", strconv.Itoa(len(found)))
		w.Header().Set("Size", strconv.FormatUint(l.size, 10))
		w.Header().Set("Pages", strconv.FormatUint(l.pages(len(found)), 10))
	}
	answer(w, http.StatusOK, page(l, found))
}

func constant(body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, body) }
}

// refuse answers with an error as the real server spells it.
func refuse(w http.ResponseWriter, code int, text string) {
	answer(w, code, map[string]string{"error": text})
}

func answer(w http.ResponseWriter, code int, body any) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "*")
	h.Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // whoever asked has gone
}
