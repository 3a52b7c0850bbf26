package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// cast are actors that answer as the test says.
type cast struct {
	mu     sync.Mutex
	answer func(req *clusterv1.Request) *clusterv1.Response // nil: keep the request
	kept   []kept
	watch  []*clusterv1.Watch // every watch that came, renewals too
}

type kept struct {
	req  *clusterv1.Request
	done func(*clusterv1.Response)
}

func (c *cast) Call(req *clusterv1.Request, _ time.Duration, done func(*clusterv1.Response)) {
	c.mu.Lock()
	if m := messages.ByName(req.GetMethod()); m.Stream != optionsv1.Stream_STREAM_UNSPECIFIED {
		w := &clusterv1.Watch{}
		if proto.Unmarshal(req.GetPayload(), w) == nil {
			c.watch = append(c.watch, w)
		}
	}
	var r *clusterv1.Response
	if c.answer != nil {
		r = c.answer(req)
	}
	if r == nil {
		c.kept = append(c.kept, kept{req, done})
	}
	c.mu.Unlock()
	if r != nil {
		done(r)
	}
}

// waiting is how many requests are kept.
func (c *cast) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.kept)
}

// watches returns the watches that came so far.
func (c *cast) watches() []*clusterv1.Watch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*clusterv1.Watch(nil), c.watch...)
}

// release answers what is kept.
func (c *cast) release(answer func(req *clusterv1.Request) *clusterv1.Response) {
	c.mu.Lock()
	all := c.kept
	c.kept = nil
	c.mu.Unlock()
	for _, k := range all {
		k.done(answer(k.req))
	}
}

// server is a gateway before a cast, on loopback.
type server struct {
	t       *testing.T
	gateway *Gateway
	cast    *cast
	clock   *clock.Manual
	http    *httptest.Server
	expires time.Time // of every token
}

func serve(t *testing.T, set func(*Config)) *server { return serveBy(t, false, set) }

func serveBy(t *testing.T, tls bool, set func(*Config)) *server {
	t.Helper()
	s := &server{t: t, cast: &cast{answer: accountOf}, clock: clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}
	s.expires = s.clock.Now().Add(time.Hour)
	c := Config{Clock: s.clock, Identify: s.identify, Limits: Limits{Rate: 100_000, Burst: 100_000}}
	if set != nil {
		set(&c)
	}
	s.gateway = New(c)
	s.gateway.lookEvery = time.Second // the test's clock jumps
	s.gateway.Start(s.cast)
	mux := http.NewServeMux()
	mux.Handle("/ws", s.gateway.WebSocket())
	mux.Handle("/api/", s.gateway.HTTP())
	s.http = httptest.NewUnstartedServer(s.gateway.Guard(mux))
	if tls {
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	t.Cleanup(func() {
		s.gateway.Stop()
		s.http.Close()
	})
	return s
}

// identify takes "<subject>" or "<subject> <seconds until it ends>".
func (s *server) identify(_ context.Context, c Credential) (Principal, error) {
	token := c.Bearer
	subject, left, given := strings.Cut(token, " ")
	if subject == "bad" {
		return Principal{}, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_INVALID, "bad")
	}
	ends := s.expires
	if n, err := strconv.Atoi(left); given && err == nil {
		ends = s.clock.Now().Add(time.Duration(n) * time.Second)
	}
	return Principal{Subject: subject, IssuedAt: s.clock.Now(), Expires: ends, Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER, optionsv1.Role_ROLE_CLOUD_OPERATOR}}, nil
}

// accountOf answers reads and watches with an account at version 1.
func accountOf(req *clusterv1.Request) *clusterv1.Response {
	if strings.Contains(req.GetMethod(), "Watch") {
		return watching(&clusterv1.Watching{Recovered: true, Version: 1, Epoch: "e"})
	}
	return account(req, 1)
}

func account(req *clusterv1.Request, version uint64) *clusterv1.Response {
	return reply(&marketplacev1.GetAccountResponse{Account: &marketplacev1.Account{UserId: req.GetId()}}, version)
}

func reply(m proto.Message, version uint64) *clusterv1.Response {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return &clusterv1.Response{Payload: b, Version: version, Epoch: "e"}
}

func watching(w *clusterv1.Watching) *clusterv1.Response { return reply(w, w.GetVersion()) }

// frame is a frame of the account's stream that shows a credit equal to its version.
func frame(version, previous uint64) *clusterv1.Frame {
	b, err := proto.Marshal(&marketplacev1.WatchAccountResponse{Account: &marketplacev1.Account{Credit: int64(version)}})
	if err != nil {
		panic(err)
	}
	return &clusterv1.Frame{Version: version, Previous: previous, Payload: b}
}

// push is what the actor of subject says; a nil frame: it leaves.
func (s *server) push(subject string, f *clusterv1.Frame) {
	s.gateway.Hub().Push(&clusterv1.Push{Kind: "user", Id: subject, Method: messages.ByPath("cloud-user/watch-account").Name, Epoch: "e", Frame: f})
}

// eventually asks until it holds, or fails the test after a while.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}

// status asks as a browser would and returns the status of the answer.
func (s *server) status(method, path, host, origin string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, strings.NewReader("{}"))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Host = host
	req.Header.Set("Authorization", "Bearer ann")
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	if path == "/ws" {
		for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			req.Header.Set(k, v)
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
