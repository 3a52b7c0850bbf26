package grid

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// world is everything around a Watcher: a grid-proxy without a network, a
// publisher, and nodes that believe what is published.
type world struct {
	t  *testing.T
	mu sync.Mutex

	proxy   http.Handler
	asked   []time.Time
	refuse  error // what publishing fails with
	known   map[uint32]*marketplacev1.Node
	told    []uint32 // nodes in the order in which they were told, since the last take
	batches []int
	log     bytes.Buffer
}

func newWorld(t *testing.T, proxy http.Handler) *world {
	t.Helper()
	return &world{t: t, proxy: proxy, known: map[uint32]*marketplacev1.Node{}}
}

// config is a Watcher's in this world.
func (w *world) config() Config {
	return Config{
		ProxyURL: "http://grid.example/", Publisher: w, Known: w.node, Client: &http.Client{Transport: w},
		Log: slog.New(slog.NewTextHandler(w, nil)),
	}
}

// run runs a Watcher until the test ends or the returned function is called.
func (w *world) run(c Config) (*Watcher, func()) {
	w.t.Helper()
	ctx, quit := context.WithCancel(w.t.Context())
	watcher := New(c)
	var done sync.WaitGroup
	done.Go(func() { watcher.Run(ctx) })
	return watcher, func() {
		quit()
		done.Wait()
	}
}

func (w *world) serve(proxy http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proxy = proxy
}

func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse = err
}

func (w *world) node(id uint32) *marketplacev1.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known[id]
}

// take returns the nodes that were told since the last time.
func (w *world) take() []uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = nil
	return told
}

// logged returns the messages that were logged since the last time.
func (w *world) logged() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for line := range strings.Lines(w.log.String()) {
		_, rest, _ := strings.Cut(line, `msg="`)
		text, _, _ := strings.Cut(rest, `"`)
		all = append(all, text)
	}
	w.log.Reset()
	return all
}

// Write takes what is logged.
func (w *world) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

// RoundTrip asks the proxy, as long as the request's context lives.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	proxy := w.proxy
	w.asked = append(w.asked, time.Now())
	w.mu.Unlock()
	answer := httptest.NewRecorder()
	proxy.ServeHTTP(answer, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return answer.Result(), nil
}

// Publish believes what nodes are told, as long as it makes sense.
func (w *world) Publish(topic string, ms ...*message.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	for _, m := range ms {
		all := &taskv1.Observations{}
		if err := proto.Unmarshal(m.Payload, all); err != nil || topic != messages.TopicObservations || m.UUID == "" {
			w.t.Errorf("message %q to %s: %v", m.UUID, topic, err)
		}
		w.batches = append(w.batches, len(all.GetObservations()))
		for _, o := range all.GetObservations() {
			w.observe(o)
		}
	}
	return nil
}

func (w *world) observe(o *taskv1.Observation) {
	method := messages.ByName(o.GetMethod())
	if method == nil || !method.Internal {
		w.t.Fatalf("no internal method %s", o.GetMethod())
	}
	req, ok := method.Request().(*taskv1.ObserveNodeRequest)
	if !ok {
		w.t.Fatalf("%s takes no node", o.GetMethod())
	}
	if err := proto.Unmarshal(o.GetPayload(), req); err != nil {
		w.t.Fatal(err)
	}
	n := req.GetNode()
	if req.GetNodeId() != strconv.Itoa(int(n.GetNodeId())) || n.GetObserveTime() == nil || n.GetReserved() != nil {
		w.t.Errorf("node %s is told %v", req.GetNodeId(), n)
	}
	n.Reserved = &marketplacev1.Resources{Cru: 1} // as a node shows itself
	w.known[n.GetNodeId()] = n
	w.told = append(w.told, n.GetNodeId())
}

// Close is never called: the publisher is not the Watcher's.
func (w *world) Close() error { return errors.New("closed by who does not own it") }

// pages is a proxy that lists these nodes, each as JSON.
func pages(nodes ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		size, _ := strconv.Atoi(q.Get("size"))
		page, _ := strconv.Atoi(q.Get("page"))
		if r.URL.Path != "/nodes" || q.Get("ret_count") != "true" || size != pageSize || page < 1 {
			http.Error(w, r.URL.String(), http.StatusTeapot)
			return
		}
		from := min(len(nodes), (page-1)*size)
		w.Header().Set("Count", strconv.Itoa(len(nodes)))
		fmt.Fprintf(w, "[%s]", strings.Join(nodes[from:min(len(nodes), from+size)], ","))
	})
}

// plainNode is a node as grid-proxy would list it.
func plainNode(id int, status string) string {
	text, _ := json.Marshal(map[string]any{
		"nodeId": id, "status": status, "farmId": 1, "country": "Egypt", "total_resources": map[string]uint64{"cru": 8, "mru": 1 << 33},
	})
	return string(text)
}
