package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/inbox"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// stubborn are actors who refuse everything until they are mended.
type stubborn struct {
	mu     sync.Mutex
	mended bool
	heard  chan string // ids of the nodes they were told of
}

func (s *stubborn) Call(req *clusterv1.Request, _ time.Duration, done func(*clusterv1.Response)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mended {
		done(&clusterv1.Response{Error: messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INVALID_FIELD, "not today").Status()})
		return
	}
	s.heard <- req.GetId()
	done(&clusterv1.Response{})
}

// observed is a message that tells of nodes.
func observed(t *testing.T, ids ...string) *message.Message {
	t.Helper()
	all := &taskv1.Observations{}
	for _, id := range ids {
		payload, err := proto.Marshal(&taskv1.ObserveNodeRequest{NodeId: id, Node: &marketplacev1.Node{}})
		if err != nil {
			t.Fatal(err)
		}
		all.Observations = append(all.Observations, &taskv1.Observation{Method: "marketplace.task.v1.NodeTaskService.ObserveNode", Payload: payload})
	}
	payload, err := proto.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return message.NewMessage("", payload)
}

// operator asks the admin address.
type operator struct {
	t     *testing.T
	admin string
}

func (o operator) ask(method, path string) (int, string) {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), method, o.admin+path, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(body))
}

// waiting lists the positions that wait, on a page.
func (o operator) waiting(path string) (positions []uint64) {
	o.t.Helper()
	status, body := o.ask(http.MethodGet, path)
	var rows []struct {
		Position uint64 `json:"position"`
	}
	if err := json.Unmarshal([]byte(body), &rows); err != nil || status != http.StatusOK {
		o.t.Fatalf("%d %s, %v", status, body, err)
	}
	for _, r := range rows {
		positions = append(positions, r.Position)
	}
	return positions
}

// TestPoison has an inbox whose actors refuse two observations. An operator sees
// them with their reason, replays the one once the actors are mended, and drops
// the other.
func TestPoison(t *testing.T) {
	store, err := boltstore.Open(filepath.Join(t.TempDir(), storeFile), boltstore.Options{Gather: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	pub := persistence.NewPublisher(store)
	actors := &stubborn{heard: make(chan string, 10)}
	sub := persistence.NewSubscriber(store, persistence.SubscriberConfig{Group: "inbox"})
	in, err := sub.Subscribe(t.Context(), messages.TopicObservations)
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		(&inbox.Inbox{Actors: actors, Poison: pub, Log: slog.New(slog.DiscardHandler)}).Run(t.Context(), in)
	})
	t.Cleanup(done.Wait)
	t.Cleanup(func() { _ = sub.Close() })
	var said strings.Builder
	m := &Main{store: store, Log: slog.New(slog.NewTextHandler(&said, nil))}
	admin := httptest.NewServer(m.adminRoutes())
	t.Cleanup(admin.Close)
	o := operator{t, admin.URL}

	if err := pub.Publish(messages.TopicObservations, observed(t, "7", "8")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Read(t.Context(), messages.TopicPoison, "", 1); err != nil { // waits for it
		t.Fatal(err)
	}
	const rest = `"reason":"INVALID_FIELD: not today","topic":"observations","method":"marketplace.task.v1.NodeTaskService.ObserveNode","size":58}`
	check := func(method, path string, status int, body string) {
		t.Helper()
		if gotStatus, got := o.ask(method, path); gotStatus != status || got != body {
			t.Errorf("%s %s: %d %s", method, path, gotStatus, got)
		}
	}
	check("GET", "/poison", 200, `[{"position":1,`+rest+`,{"position":2,`+rest+`]`)
	check("GET", "/poison?after=1", 200, `[{"position":2,`+rest+`]`)
	check("GET", "/poison?after=2", 200, `[]`)
	check("GET", "/poison?after=soon", 400, `after "soon" is not a position: it must be a number that GET /poison told`)
	for _, verb := range []string{"replay", "drop"} {
		path := "/poison/" + verb + "?position="
		check("GET", path+"1", 405, "Method Not Allowed")
		check("POST", path, 400, `position "" is not one: it must be a number that GET /poison told`)
		check("POST", path+"-1", 400, `position "-1" is not one: it must be a number that GET /poison told`)
		for _, unknown := range []string{"0", "3", "18446744073709551615"} {
			check("POST", path+unknown, 404, "position "+unknown+": there is no such message in the poison topic")
		}
	}

	// Replayed too early, it is poison again.
	check("POST", "/poison/replay?position=1", 200, "message 1 was published again to observations")
	if _, err := store.Read(t.Context(), messages.TopicPoison, "2", 1); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(o.waiting("/poison")); got != "[2 3]" {
		t.Errorf("%s wait", got)
	}
	actors.mu.Lock()
	actors.mended = true
	actors.mu.Unlock()
	check("POST", "/poison/replay?position=3", 200, "message 3 was published again to observations")
	check("POST", "/poison/replay?position=3", 409, "position 3: the message was dealt with: it was replayed")
	check("POST", "/poison/drop?position=3", 409, "position 3: the message was dealt with: it was replayed")
	check("POST", "/poison/drop?position=2", 200, "message 2 was dropped")
	check("POST", "/poison/replay?position=2", 409, "position 2: the message was dealt with: it was dropped")
	check("GET", "/poison", 200, `[]`)
	// What comes behind it says that it came once.
	if err := pub.Publish(messages.TopicObservations, observed(t, "9")); err != nil {
		t.Fatal(err)
	}
	var heard []string
	for id := ""; id != "9"; heard = append(heard, id) {
		id = <-actors.heard
	}
	if len(heard) != 2 || heard[0] != "7" && heard[0] != "8" {
		t.Errorf("the actors heard of %v", heard)
	}
	for _, line := range []string{`msg="poison message replayed" position=1 `, `msg="poison message replayed" position=3 `, `msg="poison message dropped" position=2 reason="INVALID_FIELD: not today" topic=observations`} {
		if !strings.Contains(said.String(), line) {
			t.Errorf("the log lacks %s:\n%s", line, said.String())
		}
	}
}
