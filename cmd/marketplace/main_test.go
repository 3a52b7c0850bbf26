package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/configs"
)

// TestMain lets the demo start this binary as its server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

// testConfig is the sandbox on free ports, with a folder of the test's own.
func testConfig(t *testing.T) configs.Config {
	c := configs.Default()
	c.Data = filepath.Join(t.TempDir(), "data")
	c.Listen.API, c.Listen.Admin = "127.0.0.1:0", "127.0.0.1:0"
	c.World.Issuer, c.World.GridProxy = "127.0.0.1:0", "127.0.0.1:0"
	c.World.StepDelay = 0
	c.Gateway.Drain = 100 * time.Millisecond
	return c
}

// running is a server within the test.
type running struct {
	Addresses
	stop func()
}

// run starts a server and stops it at the end of the test, or when told to.
func run(t *testing.T, c configs.Config) running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan Addresses, 1), make(chan error, 1)
	m := &Main{Config: c, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Ready: func(a Addresses) { ready <- a }}
	go func() { ended <- m.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	}
	t.Cleanup(stop)
	select {
	case a := <-ready:
		return running{a, stop}
	case err := <-ended:
		t.Fatalf("the server did not start: %v", err)
	}
	return running{}
}

// token signs a person in.
func (r running) token(t *testing.T, who string) string {
	t.Helper()
	c := child{addresses: r.Addresses}
	token, err := c.tokens(who)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// socket is a raw connection.
type socket struct {
	t  *testing.T
	ws *websocket.Conn
}

// dial opens a connection; without a token the first frame is the test's.
func (r running) dial(t *testing.T, token string) *socket {
	t.Helper()
	o := &websocket.DialOptions{Subprotocols: []string{"marketplace.jsonrpc.v1"}}
	if token != "" {
		o.HTTPHeader = map[string][]string{"Authorization": {"Bearer " + token}}
	}
	ws, _, err := websocket.Dial(t.Context(), "ws://"+r.API+"/ws", o)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &socket{t, ws}
}

// ask sends a frame and returns the next one.
func (s *socket) ask(frame string) string {
	s.t.Helper()
	s.send(frame)
	text, err := s.read()
	if err != nil {
		s.t.Fatalf("after %.120s: %v", frame, err)
	}
	return text
}

func (s *socket) send(frame string) {
	s.t.Helper()
	if err := s.ws.Write(s.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		s.t.Fatal(err)
	}
}

// read returns the next frame, its white space squeezed.
func (s *socket) read() (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := s.ws.Read(ctx)
	if err != nil {
		return "", err
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return "", err
	}
	text, err := json.Marshal(v)
	return string(text), err
}

// closed reads until the connection ends and returns the code.
func (s *socket) closed() websocket.StatusCode {
	s.t.Helper()
	for {
		if _, err := s.read(); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// contains fails when an answer lacks something.
func contains(t *testing.T, answer string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(answer, p) {
			t.Errorf("the answer lacks %s:\n%s", p, answer)
		}
	}
}

// TestDemo plays the demo with a real kill and holds its summary to what it must be.
func TestDemo(t *testing.T) {
	var told *Summary
	if err := playDemo(t.Context(), "", filepath.Join(t.TempDir(), "data"), testWriter{t}, func(s *Summary) error { told = s; return nil }, func(context.Context, *demo) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, c := range told.Checks {
		if !c.OK {
			t.Errorf("not so: %s", c.What)
		}
	}
	if len(told.Checks) < 11 || told.Kills != 1 || told.Commands != 4+drops+1 || told.Resumed != 4 {
		t.Errorf("the demo did less than it should: %+v", told)
	}
	want := []string{"RUNWAY_LEVEL_WEEK", "RUNWAY_LEVEL_THREE_DAYS", "RUNWAY_LEVEL_DAY", "RUNWAY_LEVEL_SIX_HOURS"}
	if strings.Join(told.Notifications, " ") != strings.Join(want, " ") {
		t.Errorf("warned of %v, not of %v", told.Notifications, want)
	}
	if told.Credit != told.Granted-told.Used || told.Used != told.Charged || told.HourlyPrice != 125_000 {
		t.Errorf("the sums do not fit: %+v", told)
	}
}

// testWriter writes to the test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}
