package main

import (
	"fmt"
	"strings"

	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/gateway"
)

// limits takes the gateway's limits from the configuration.
func limits(c configs.Gateway) gateway.Limits {
	return gateway.Limits{
		FrameBytes: int(c.MaxFrameBytes), InFlight: c.InFlight, Subscriptions: c.Subscriptions, Rate: c.Rate, Burst: c.Burst, QueueBytes: int(c.QueueBytes),
		OpenWithin: c.OpenWithin, PingAfter: c.PingAfter, PongWithin: c.PongWithin, MessageWithin: c.MessageWithin,
		ExpiryNotice: c.ExpiryNotice, ExpiryGrace: c.ExpiryGrace,
		Connections: c.Connections, PerAddress: c.PerAddress, PerUser: c.PerUser, HandshakeRate: c.HandshakeRate, HandshakeBurst: c.HandshakeBurst,
	}
}

// banner says where the server is reached and what to do next.
func banner(c configs.Config, a Addresses) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("")
	line("ThreeFold Cloud Marketplace")
	if c.Sandbox() {
		line("SANDBOX: nothing here is real. No card is charged, no node is rented, nobody is asked for a password.")
	}
	line("")
	line("  WebSocket     ws://%s/ws", a.API)
	line("  HTTP          http://%s/api/…", a.API)
	line("  browsers      http://%s/auth/login?return_to=/auth/session", a.API)
	line("  operators     http://%s/metrics, /readyz, /debug/pprof/", a.Admin)
	line("  data          %s", c.Data)
	if c.Sandbox() {
		line("  issuer        %s", a.Issuer)
		line("  grid-proxy    %s", a.GridProxy)
		if c.World.TimeScale != 1 {
			line("  time          %d times as fast", c.World.TimeScale)
		}
		line("")
		line("  people        alice (cloud-user), bob (cloud-user, cloud-provider), olga (cloud-operator)")
		line("")
		line("What to type next, in another window:")
		line("")
		line("  go run ./cmd/marketctl login alice")
		line("  go run ./cmd/marketctl call cloud-user/get-account")
		line(`  go run ./cmd/marketctl call cloud-user/find-nodes '{"spec":{"vcpus":2,"memoryMib":4096,"diskGib":100}}'`)
		line("  go run ./cmd/marketctl watch cloud-user/watch-account")
		line("  go run ./cmd/marketctl methods")
	}
	line("")
	return b.String()
}
