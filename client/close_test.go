package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/client"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// script is a server that does with each connection what the test says; n
// counts the connections from 1.
func script(t *testing.T, serve func(ctx context.Context, ws *websocket.Conn, n int)) string {
	t.Helper()
	var count atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{client.Subprotocol}})
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		serve(r.Context(), ws, int(count.Add(1)))
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func silence(ctx context.Context, ws *websocket.Conn, _ int) {
	for {
		if _, _, err := ws.Read(ctx); err != nil {
			return
		}
	}
}

// TestClosedForGood ends a client that the server does not want back: whoever
// waits hears ErrClosed.
func TestClosedForGood(t *testing.T) {
	for _, code := range []websocket.StatusCode{1002, 1009, 4500, 4501, 4503, 4505} {
		var connections atomic.Int64
		c := dial(t, script(t, func(ctx context.Context, ws *websocket.Conn, _ int) {
			connections.Add(1)
			for range 2 {
				_, _, _ = ws.Read(ctx)
			}
			_ = ws.Close(code, "go away")
		}), "ann")
		ended := make(chan error, 1)
		if _, err := c.Watch("cloud-user/watch-account", &marketplacev1.WatchAccountRequest{}, "", func(e client.Event) { ended <- e.End }); err != nil {
			t.Fatal(err)
		}
		if err := c.Call(t.Context(), "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, nil); !errors.Is(err, client.ErrClosed) {
			t.Errorf("%d: a call ends with %v", code, err)
		}
		if err := within(t, ended, "the end of the watch"); !errors.Is(err, client.ErrClosed) {
			t.Errorf("%d: a watch ends with %v", code, err)
		}
		if err := c.Call(t.Context(), "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, nil); !errors.Is(err, client.ErrClosed) || connections.Load() != 1 {
			t.Errorf("%d: a later call ends with %v after %d connections", code, err, connections.Load())
		}
	}
}

// TestRefusedToken asks for another token once one was refused, and gives up
// when there is none.
func TestRefusedToken(t *testing.T) {
	address := marketplace(t)
	var asked atomic.Int64
	c := dial(t, address, "", func(c *client.Config) {
		c.Token = func(context.Context) (string, error) {
			if asked.Add(1) == 1 {
				return "bad", nil
			}
			return "ann", nil
		}
	})
	if err := c.Call(t.Context(), "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, nil); err != nil {
		t.Errorf("with a second token: %v", err)
	}
	if err := dial(t, address, "bad").Call(t.Context(), "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, nil); !errors.Is(err, client.ErrClosed) {
		t.Errorf("with the same bad token: %v", err)
	}
}

// TestHint comes back when the server said, not before.
func TestHint(t *testing.T) {
	const hint = 400 * time.Millisecond
	left, back := make(chan time.Time, 1), make(chan time.Time, 1)
	dial(t, script(t, func(ctx context.Context, ws *websocket.Conn, n int) {
		if n > 1 {
			back <- time.Now()
			silence(ctx, ws, n)
			return
		}
		_ = ws.Write(ctx, websocket.MessageText, []byte(`{"jsonrpc":"2.0","method":"session/draining","params":{"reconnectMs":400}}`))
		left <- time.Now()
		_ = ws.Close(4002, "draining")
	}), "ann")
	if waited := within(t, back, "the client").Sub(<-left); waited < hint {
		t.Errorf("the client came back after %v", waited)
	}
}

// TestJitter does not let all clients come back at one moment.
func TestJitter(t *testing.T) {
	var mu sync.Mutex
	pauses := map[time.Duration]bool{}
	done := make(chan struct{}, 100)
	for range 12 {
		var left time.Time
		dial(t, script(t, func(ctx context.Context, ws *websocket.Conn, n int) {
			mu.Lock()
			if left.IsZero() {
				left = time.Now()
				mu.Unlock()
				return // cut off
			}
			pauses[time.Since(left).Truncate(5*time.Millisecond)] = true
			mu.Unlock()
			done <- struct{}{}
			silence(ctx, ws, n)
		}), "ann", func(c *client.Config) { c.MaxPause = time.Second })
	}
	for range 12 {
		within(t, done, "a client")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(pauses) < 4 {
		t.Errorf("12 clients came back after %v", pauses)
	}
}

// TestCloseWhileCallsWait ends what waits, and tells watches on the client's
// own goroutine, one event at a time.
func TestCloseWhileCallsWait(t *testing.T) {
	c := dial(t, script(t, silence), "ann")
	var events []client.Event // touched by the client's goroutine alone
	if _, err := c.Watch("cloud-user/watch-account", &marketplacev1.WatchAccountRequest{}, "", func(e client.Event) { events = append(events, e) }); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if err := c.Call(t.Context(), "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, nil); !errors.Is(err, client.ErrClosed) {
				t.Errorf("a call ends with %v", err)
			}
		})
	}
	c.Close()
	wait.Wait()
	if len(events) != 1 || !errors.Is(events[0].End, client.ErrClosed) {
		t.Errorf("the watch was told %v", events)
	}
	c.Close() // once more
}
