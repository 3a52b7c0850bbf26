// Package client is the Go client of the marketplace: one WebSocket that is
// kept open, calls that are answered once, and watches that miss nothing.
//
// # Reconnecting
//
// A connection that ends is made anew after a pause that grows, with jitter, or
// when the server has said it should be. Calls without an answer are sent again
// under the same command id, so the server decides them once. Watches go on
// after the last position; what cannot be continued says so.
//
// # Concurrency
//
// A Client may be used from any goroutine. What is given to Watch runs on the
// client's own goroutine, in the order in which the server spoke, and must not
// call back into the client and wait.
package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Subprotocol is what the client speaks.
const Subprotocol = "marketplace.jsonrpc.v1"

// ErrClosed says that the client was closed, or that the server does not want
// it back; the error that wraps it says which.
var ErrClosed = errors.New("the client is closed")

// Config configures a Client.
type Config struct {
	// URL of the server's WebSocket, for example ws://127.0.0.1:8080/ws.
	URL string
	// Token returns an access token; it is asked for every connection, and
	// whenever one is about to end.
	Token func(ctx context.Context) (string, error)
	Log   *slog.Logger // nil: none
	// OnConnect hears of every connection, the first included.
	OnConnect func()
	// OnNotice hears session/expiring and session/draining.
	OnNotice func(method string)
	// MaxPause bounds the pause before a connection is made anew; 0: 15 s.
	MaxPause time.Duration
}

// Client keeps one connection open.
type Client struct {
	config Config
	quit   context.CancelFunc
	ctx    context.Context //nolint:containedctx // the life of the client itself
	done   sync.WaitGroup

	mu      sync.Mutex
	ws      *websocket.Conn // nil while there is no connection
	next    uint64
	calls   map[uint64]*call
	watches map[uint64]*watch // by the id of the request that subscribed last
	failure error             // why there will be no connection any more
	hint    time.Duration     // when the server said to come back
	token   string            // that the last connection was made with
}

// readLimit is the largest message that a server sends.
const readLimit = 16 << 20

// Dial connects. It fails when the first connection does; later ones are made
// for as long as the client is open.
func Dial(ctx context.Context, c Config) (*Client, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxPause == 0 {
		c.MaxPause = 15 * time.Second
	}
	life, quit := context.WithCancel(context.WithoutCancel(ctx))
	cl := &Client{config: c, ctx: life, quit: quit, calls: map[uint64]*call{}, watches: map[uint64]*watch{}}
	ws, err := cl.connect(ctx)
	if err != nil {
		quit()
		return nil, err
	}
	cl.done.Go(func() { cl.live(ws) })
	return cl, nil
}

// Close ends the client. Calls and watches that wait end with ErrClosed.
func (c *Client) Close() {
	c.mu.Lock()
	if c.failure == nil {
		c.failure = ErrClosed
	}
	ws := c.ws
	c.mu.Unlock()
	c.quit()
	if ws != nil {
		_ = ws.CloseNow()
	}
	c.done.Wait()
}

// connect makes one connection.
func (c *Client) connect(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	token, err := c.config.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("get an access token: %w", err)
	}
	c.mu.Lock()
	c.token = token
	c.mu.Unlock()
	ws, resp, err := websocket.Dial(ctx, c.config.URL, &websocket.DialOptions{
		Subprotocols: []string{Subprotocol}, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.config.URL, err)
	}
	ws.SetReadLimit(readLimit)
	return ws, nil
}

// connectWithin bounds a handshake, the token's getting included.
const connectWithin = 15 * time.Second

// live uses one connection after the other until the client is closed.
func (c *Client) live(ws *websocket.Conn) {
	defer func() { c.fail(ErrClosed) }() // here, where watches are told everything else
	for attempt := 0; ; {
		if ws != nil {
			began := time.Now() //nolint:forbidigo // how long the connection lasted
			c.use(ws)
			if time.Since(began) > time.Second { //nolint:forbidigo // as above
				attempt = 0
			}
		}
		if c.ctx.Err() != nil || c.failed() != nil {
			return
		}
		if !c.pause(attempt) {
			return
		}
		attempt++
		var err error
		if ws, err = c.connect(c.ctx); err != nil {
			c.config.Log.InfoContext(c.ctx, "not connected", slog.Any("error", err))
		}
	}
}

// firstPause is before the second attempt; it doubles from there.
const firstPause = 100 * time.Millisecond

// pause waits before a connection is made anew; false when the client was closed.
func (c *Client) pause(attempt int) bool {
	c.mu.Lock()
	wait := c.hint
	c.hint = 0
	c.mu.Unlock()
	if wait == 0 {
		wait = rand.N(min(firstPause<<min(attempt, 16), c.config.MaxPause)) + 1 //nolint:gosec // spreads reconnects, guards nothing
	}
	return c.wait(wait)
}

// wait waits; false when the client was closed.
func (c *Client) wait(d time.Duration) bool {
	t := time.NewTimer(d) //nolint:forbidigo // spreads what is asked again
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// use sends what waits, and reads until the connection ends.
func (c *Client) use(ws *websocket.Conn) {
	c.mu.Lock()
	c.ws = ws
	frames := c.resend()
	c.mu.Unlock()
	if c.config.OnConnect != nil {
		c.config.OnConnect()
	}
	for _, f := range frames {
		c.write(ws, f)
	}
	err := c.read(ws)
	c.mu.Lock()
	c.ws = nil
	c.mu.Unlock()
	_ = ws.CloseNow()
	switch code := websocket.CloseStatus(err); {
	case code == codeExpired: // a newer token may be to be had; without one, Dial would fail
		if c.expired() {
			c.fail(fmt.Errorf("%w: the server refused the access token", ErrClosed))
		}
	case code > codeExpired && code < 5000, code == websocket.StatusMessageTooBig, code == websocket.StatusProtocolError:
		c.fail(fmt.Errorf("%w: the server does not want it back: %w", ErrClosed, err))
	}
	c.config.Log.InfoContext(c.ctx, "connection ended", slog.Any("error", err))
}

// codeExpired is the first of the close codes after which there is no coming back.
const codeExpired = 4500

// expired says whether the token that the server refused is all there is.
func (c *Client) expired() bool {
	token, err := c.config.Token(c.ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	return err != nil || token == c.token
}

func (c *Client) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// fail ends every call and watch. The first failure is the one that is told.
func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.failure == nil {
		c.failure = err
	}
	err = c.failure
	calls, watches := c.calls, c.watches
	c.calls, c.watches = map[uint64]*call{}, map[uint64]*watch{}
	c.mu.Unlock()
	for _, one := range calls {
		one.answer <- reply{err: err}
	}
	for _, w := range watches {
		w.tell(Event{End: err})
	}
}
