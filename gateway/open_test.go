package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestRefreshSaysTheNewEnd answers with the session as it is from then on.
func TestRefreshSaysTheNewEnd(t *testing.T) {
	s := serve(t, nil)
	p := s.dial("ann 100")
	p.ask(1, "session/refresh", `{"accessToken":"ann 200"}`)
	f := p.hear()
	session, _ := f.Result["session"].(map[string]any)
	if want := s.clock.Now().Add(200 * time.Second).Format(time.RFC3339); session["expireTime"] != want {
		t.Errorf("it ends %v, not %s: %+v", session["expireTime"], want, f)
	}
}

// TestRefreshWithFewerRoles ends the streams that are not for those that are left.
func TestRefreshWithFewerRoles(t *testing.T) {
	s := serve(t, func(c *Config) {
		all := c.Identify
		c.Identify = func(ctx context.Context, shown Credential) (Principal, error) {
			who, err := all(ctx, shown)
			if shown.Bearer == "ann 7200" {
				who.Roles = []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}
			}
			return who, err
		}
	})
	p := s.dial("ann")
	p.ask(1, "cloud-user/watch-account", "{}")
	p.hear()
	p.ask(2, "cloud-operator/watch-command", `{"operationId":"o"}`)
	p.hear()
	p.ask(3, "session/refresh", `{"accessToken":"ann 7200"}`)
	heard := map[string]said{}
	for range 2 {
		f := p.hear()
		heard[f.Method] = f
	}
	if f := heard["cloud-operator/watch-command"]; !f.Params.End || !strings.Contains(string(f.Params.Error), "ROLE_REQUIRED") {
		t.Errorf("the operator's stream: %+v", f)
	}
	if f := heard[""]; f.Error != nil {
		t.Errorf("the refresh: %+v", f)
	}
	s.push("ann", frame(2, 1))
	if f := p.hear(); f.Params.Position != "e.2" {
		t.Errorf("the user's stream: %+v", f)
	}
	p.ask(4, "cloud-operator/watch-command", `{"operationId":"o"}`)
	if f := p.hear(); f.reason() != "ROLE_REQUIRED" {
		t.Errorf("subscribed again: %+v", f)
	}
	if n := s.gateway.Stats().Hub.Subscriptions; n != 1 {
		t.Errorf("%d streams are held", n)
	}
}

// TestSlowIdentification bounds the wait for the first frame alone: who has shown
// a token waits until it is known whose it is, however it was shown.
func TestSlowIdentification(t *testing.T) {
	known, asked := make(chan struct{}), atomic.Int64{}
	s := serve(t, func(c *Config) {
		at := c.Identify
		c.Identify = func(ctx context.Context, shown Credential) (Principal, error) {
			asked.Add(1)
			<-known
			return at(ctx, shown)
		}
	})
	header, frame, silent := s.dial("ann"), s.dial(""), s.dial("")
	frame.ask(1, "session/open", `{"accessToken":"ann"}`)
	eventually(t, "both who showed a token are looked at", func() bool { return asked.Load() == 2 })
	s.clock.Advance(time.Minute)
	if code := silent.closed(); code != CodeNotOpened {
		t.Errorf("who says nothing is closed with %d", code)
	}
	close(known)
	if f := frame.hear(); f.Error != nil {
		t.Errorf("by a frame: %+v", f)
	}
	for name, p := range map[string]*peer{"a header": header, "a frame": frame} {
		p.ask(2, "session/get", "{}")
		if f := p.hear(); f.Error != nil {
			t.Errorf("by %s: %+v", name, f)
		}
	}
}

// TestClosedOnce says and counts the first of the reasons.
func TestClosedOnce(t *testing.T) {
	metrics := telemetry.NewMetrics()
	s := serve(t, func(c *Config) { c.Metrics = metrics })
	p := s.dial("ann")
	eventually(t, "it is in", func() bool { return s.gateway.Stats().Sessions == 1 })
	one := s.gateway.registry.all()[0]
	one.close(CodeSignedOut, "first")
	one.close(CodeExpired, "second")
	if code := p.closed(); code != CodeSignedOut {
		t.Errorf("closed with %d", code)
	}
	page := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := page.Body.String()
	if !strings.Contains(text, `closes_total{code="4503"} 1`) || strings.Contains(text, `closes_total{code="4500"}`) {
		t.Errorf("counted otherwise:\n%s", text)
	}
}

// TestRefreshRevoked closes who refreshed with a key that ended while it was
// looked at.
func TestRefreshRevoked(t *testing.T) {
	looked, goOn := make(chan bool), make(chan bool)
	var ended atomic.Bool
	s := serve(t, func(c *Config) {
		at := c.Identify
		c.Identify = func(ctx context.Context, shown Credential) (Principal, error) {
			if shown.Bearer != "key" {
				return at(ctx, shown)
			}
			if ended.Load() {
				return Principal{}, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_INVALID, "it has ended")
			}
			who, err := at(ctx, Credential{Bearer: "ann 7200"})
			who.SessionID = "k1"
			looked <- true
			<-goOn
			return who, err
		}
	})
	p := s.dial("ann")
	p.ask(1, "session/refresh", `{"accessToken":"key"}`)
	<-looked
	ended.Store(true)
	s.gateway.Revoke(&taskv1.AccessChanged{Subject: "ann", SessionId: "k1"})
	goOn <- true
	if code := p.closed(); code != CodeExpired {
		t.Errorf("closed with %d", code)
	}
}

// TestStopBeforeStart stops a gateway whose server did not come up.
func TestStopBeforeStart(*testing.T) { New(Config{}).Stop() }
