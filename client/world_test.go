package client_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/client"
	"github.com/threefoldtech/cloud-marketplace/gateway"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence/memstore"
)

// marketplace runs the real gateway before the real actors, and returns its address.
func marketplace(t *testing.T) string {
	t.Helper()
	g := gateway.New(gateway.Config{
		Limits: gateway.Limits{Rate: 100_000, Burst: 100_000},
		Identify: func(_ context.Context, c gateway.Credential) (gateway.Principal, error) {
			token := c.Bearer
			if strings.HasPrefix(token, "bad") {
				return gateway.Principal{}, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_INVALID, "bad")
			}
			roles := []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER, optionsv1.Role_ROLE_CLOUD_OPERATOR}
			return gateway.Principal{Subject: token, Roles: roles, IssuedAt: time.Now(), Expires: time.Now().Add(time.Hour)}, nil
		},
	})
	store := memstore.New(memstore.Options{})
	system, err := actors.Start(t.Context(), actors.Config{Store: store, OnPush: func(p *clusterv1.Push) { g.Hub().Push(p) }})
	if err != nil {
		t.Fatal(err)
	}
	g.Start(system)
	mux := http.NewServeMux()
	mux.Handle("/ws", g.WebSocket())
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		g.Stop()
		s.Close()
		if err := system.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		_ = store.Close()
	})
	return s.Listener.Addr().String()
}

// cutter is a network that breaks: each connection through it ends after some bytes.
type cutter struct {
	net.Listener
	to    string
	whole atomic.Bool // it breaks no more
	cuts  atomic.Int64
	wait  sync.WaitGroup
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, to: to}
	c.wait.Go(func() {
		for {
			one, err := l.Accept()
			if err != nil {
				return
			}
			c.wait.Go(func() { c.carry(one) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		c.wait.Wait()
	})
	return c
}

// carry carries one connection's bytes, until it is cut.
func (c *cutter) carry(one net.Conn) {
	other, err := net.Dial("tcp", c.to)
	if err != nil {
		_ = one.Close()
		return
	}
	cut := sync.OnceFunc(func() {
		_ = one.Close()
		_ = other.Close()
	})
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{one, other}, {other, one}} {
		both.Go(func() {
			defer cut()
			if c.whole.Load() {
				_, _ = io.Copy(way[0], way[1])
				return
			}
			if n, _ := io.CopyN(way[0], way[1], 400+rand.Int64N(6000)); n > 400 {
				c.cuts.Add(1)
			}
		})
	}
	both.Wait()
}

// dial connects a client for the time of the test.
func dial(t *testing.T, address, token string, set ...func(*client.Config)) *client.Client {
	t.Helper()
	config := client.Config{URL: "ws://" + address + "/ws", Token: func(context.Context) (string, error) { return token, nil }, MaxPause: 20 * time.Millisecond}
	for _, s := range set {
		s(&config)
	}
	for { // the first connection may be cut in its handshake
		c, err := client.Dial(t.Context(), config)
		if err == nil {
			t.Cleanup(c.Close)
			return c
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// within receives, or fails the test after a while.
func within[T any](t *testing.T, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not come", what)
	}
	return v
}
