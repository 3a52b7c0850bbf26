package gateway

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
)

// TestSignedOutEverywhere closes what began before somebody signed out everywhere,
// and API keys only if they are meant.
func TestSignedOutEverywhere(t *testing.T) {
	out := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	before, ends := out.Add(-time.Millisecond), out.Add(time.Hour)
	as := map[string]Principal{
		"an old token":   {IssuedAt: before},
		"a new token":    {IssuedAt: out},
		"an old browser": {IssuedAt: before, SessionID: "s1", Renewable: ends},
		"a new browser":  {IssuedAt: out, SessionID: "s2", Renewable: ends},
		"an old key":     {IssuedAt: before, SessionID: "k1"},
		"a new key":      {IssuedAt: out, SessionID: "k2"},
	}
	s := serve(t, func(c *Config) {
		c.Identify = func(_ context.Context, shown Credential) (Principal, error) {
			who := as[shown.Bearer]
			who.Subject, who.Expires = "ann", ends
			return who, nil
		}
	})
	peers := map[string]*peer{}
	for name := range as {
		peers[name] = s.dial(name)
		peers[name].ask(1, "session/get", `{}`)
		peers[name].hear()
	}
	stay := func(names ...string) {
		t.Helper()
		for _, name := range names {
			peers[name].ask(2, "session/get", `{}`)
			if f, err := peers[name].next(); err != nil {
				t.Errorf("%s: %+v %v", name, f, err)
			}
		}
	}
	leave := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if code := peers[name].closed(); code != CodeSignedOut {
				t.Errorf("%s: closed with %d", name, code)
			}
		}
	}
	s.gateway.Revoke(&taskv1.AccessChanged{Subject: "ann", NotBeforeTime: timestamppb.New(out)})
	leave("an old token", "an old browser")
	stay("a new token", "a new browser", "an old key", "a new key")
	s.gateway.Revoke(&taskv1.AccessChanged{Subject: "ann", NotBeforeTime: timestamppb.New(out), KeysNotBeforeTime: timestamppb.New(out)})
	leave("an old key")
	stay("a new token", "a new browser", "a new key")
}
