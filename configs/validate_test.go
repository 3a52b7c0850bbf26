package configs

import (
	"strings"
	"testing"
	"time"
)

// production returns what production accepts.
func production() Config {
	c := Default()
	c.Environment = Production
	c.Auth.Issuer = "https://threefold.eu.auth0.com/"
	c.Grid.ProxyURL = "https://gridproxy.grid.tf"
	c.Gateway.Hosts = []string{"marketplace.threefold.io"}
	c.Sealing.KeyFile = "/etc/marketplace/sealing.key"
	return c
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*Config)
	}{
		{`environment: "staging" is none of sandbox, production`, func(c *Config) { c.Environment = "staging" }},
		{"data: must name a folder", func(c *Config) { c.Data = "" }},
		{`listen.api: "8080" is not a host and a port`, func(c *Config) { c.Listen.API = "8080" }},
		{`listen.api: ":8080" is not a host and a port`, func(c *Config) { c.Listen.API = ":8080" }},
		{`listen.admin: "127.0.0.1:70000" is not`, func(c *Config) { c.Listen.Admin = "127.0.0.1:70000" }},
		{"listen.admin: must not be the address of listen.api", func(c *Config) { c.Listen.Admin = c.Listen.API }},
		{"sandbox.issuer: must be on loopback", func(c *Config) { c.World.Issuer = "0.0.0.0:8090" }},
		{"sandbox.gridproxy: must be on loopback", func(c *Config) { c.World.GridProxy = "grid.example.com:80" }},
		{"sandbox.gridproxy: \"\" is not a host", func(c *Config) { c.World.GridProxy = "" }},
		{"sandbox.time_scale: 0 is not from 1 to 86400", func(c *Config) { c.World.TimeScale = 0 }},
		{"sandbox.token_ttl: 1s is not from 10s", func(c *Config) { c.World.TokenTTL = time.Second }},
		{"sandbox.step_delay: -1ns is not from 0s to 1m", func(c *Config) { c.World.StepDelay = -1 }},
		{`auth.issuer: "login.example.com/" is not a URL`, func(c *Config) { c.Auth.Issuer = "login.example.com/" }},
		{"auth.issuer: must end with a slash", func(c *Config) { c.Auth.Issuer = "https://login.example.com" }},
		{"auth.audience: must not be empty", func(c *Config) { c.Auth.Audience = "" }},
		{"auth.roles_claim: must not be empty", func(c *Config) { c.Auth.RolesClaim = "" }},
		{`auth.jwks_url: "file:///keys" is not a URL`, func(c *Config) { c.Auth.JWKSURL = "file:///keys" }},
		{`grid.proxy_url: "https://me:x@grid.tf" is not a URL`, func(c *Config) { c.Grid.ProxyURL = "https://me:x@grid.tf" }},
		{"grid.refresh: 0s is not from 1s to 24h", func(c *Config) { c.Grid.Refresh = 0 }},
		{"gateway.max_frame_bytes: 1 is not from 1KiB to 16MiB", func(c *Config) { c.Gateway.MaxFrameBytes = 1 }},
		{"gateway.in_flight: 0 is not", func(c *Config) { c.Gateway.InFlight = 0 }},
		{"gateway.subscriptions: 0 is not", func(c *Config) { c.Gateway.Subscriptions = 0 }},
		{"gateway.rate: 0 is not", func(c *Config) { c.Gateway.Rate = 0 }},
		{"gateway.burst: 99 is not from 100", func(c *Config) { c.Gateway.Burst = 99 }},
		{"gateway.ping_after: 0s is not", func(c *Config) { c.Gateway.PingAfter = 0 }},
		{"gateway.pong_within: 0s is not", func(c *Config) { c.Gateway.PongWithin = 0 }},
		{"gateway.message_within: 0s is not", func(c *Config) { c.Gateway.MessageWithin = 0 }},
		{"gateway.open_within: 2m0s is not", func(c *Config) { c.Gateway.OpenWithin = 2 * time.Minute }},
		{"gateway.expiry_notice: 0s is not", func(c *Config) { c.Gateway.ExpiryNotice = 0 }},
		{"gateway.expiry_grace: 10m0s is not", func(c *Config) { c.Gateway.ExpiryGrace = 10 * time.Minute }},
		{"gateway.queue_bytes: 1KiB is not from 64KiB", func(c *Config) { c.Gateway.QueueBytes = KiB }},
		{"gateway.drain: 1h0m0s is not", func(c *Config) { c.Gateway.Drain = time.Hour }},
		{`gateway.origins: "*" is not an origin`, func(c *Config) { c.Gateway.Origins = []string{"*"} }},
		{`gateway.origins: "null" is not an origin`, func(c *Config) { c.Gateway.Origins = []string{"null"} }},
		{`gateway.origins: "https://a.example/" is not`, func(c *Config) { c.Gateway.Origins = []string{"https://a.example/"} }},
		{`gateway.origins: "https://*.example" is not`, func(c *Config) { c.Gateway.Origins = []string{"https://*.example"} }},
		{`gateway.hosts: "a.example:80" is not`, func(c *Config) { c.Gateway.Hosts = []string{"a.example:80"} }},
		{`gateway.hosts: "" is not`, func(c *Config) { c.Gateway.Hosts = []string{"::1", ""} }},
		{"actors.idle_after: 0s is not", func(c *Config) { c.Actors.IdleAfter = 0 }},
		{"actors.snapshot_every: 0 is not", func(c *Config) { c.Actors.SnapshotEvery = 0 }},
		{"actors.gate_limit: 0 is not", func(c *Config) { c.Actors.GateLimit = 0 }},
		{"actors.scan_every: 1ms is not", func(c *Config) { c.Actors.ScanEvery = time.Millisecond }},
		{"billing.credit_grace: -1ns is not", func(c *Config) { c.Billing.CreditGrace = -1 }},
		{`log.level: "" is none of`, func(c *Config) { c.Log.Level = "" }},
		{`log.format: "xml" is none of text, json`, func(c *Config) { c.Log.Format = "xml" }},
	} {
		config := Default()
		c.change(&config)
		refused(t, config, c.want)
	}
}

func TestProduction(t *testing.T) {
	if err := production().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want   string
		change func(*Config)
	}{
		{"sandbox.time_scale: must be 1 in production", func(c *Config) { c.World.TimeScale = 60 }},
		{"auth.issuer: must be set in production", func(c *Config) { c.Auth.Issuer = "" }},
		{`auth.issuer: "http://login.example.com/" must be https`, func(c *Config) { c.Auth.Issuer = "http://login.example.com/" }},
		{`auth.issuer: "https://localhost:8090/" is on loopback`, func(c *Config) { c.Auth.Issuer = "https://localhost:8090/" }},
		{`auth.issuer: "https://127.1.2.3/" is on loopback`, func(c *Config) { c.Auth.Issuer = "https://127.1.2.3/" }},
		{`auth.issuer: "https://[::1]/" is on loopback`, func(c *Config) { c.Auth.Issuer = "https://[::1]/" }},
		{`auth.jwks_url: "http://login.example.com/keys" must be https`, func(c *Config) { c.Auth.JWKSURL = "http://login.example.com/keys" }},
		{"grid.proxy_url: must be set in production", func(c *Config) { c.Grid.ProxyURL = "" }},
		{`grid.proxy_url: "http://gridproxy.grid.tf" must be https`, func(c *Config) { c.Grid.ProxyURL = "http://gridproxy.grid.tf" }},
		{`grid.proxy_url: "https://127.0.0.1:8093" is on loopback`, func(c *Config) { c.Grid.ProxyURL = "https://127.0.0.1:8093" }},
		{"gateway.hosts: must be set in production", func(c *Config) { c.Gateway.Hosts = nil }},
		{"store.redis.url: is not a URL", func(c *Config) { c.Store.Redis.URL = "127.0.0.1:6379" }},
		{"store.redis.url: is not a URL", func(c *Config) { c.Store.Redis.URL = "redis://ann:secret@127.0.0.1:6379/0" }},
		{"store.redis.url: must begin with rediss://", func(c *Config) { c.Store.Redis.URL, c.Store.Redis.CAFile = "redis://127.0.0.1:6379/0", "ca.pem" }},
		{"store.archive_every: 0s is not from 1s", func(c *Config) { c.Store.ArchiveEvery = 0 }},
		{"store.redis.cert_file: needs store.redis.key_file", func(c *Config) { c.Store.Redis.KeyFile = "key.pem" }},
		{"store.redis.tag: \"a}b\" is not a word", func(c *Config) { c.Store.Redis.Tag = "a}b" }},
		{"sealing.key_file: must be set in production", func(c *Config) { c.Sealing.KeyFile = "" }},
		{`gateway.origins: "http://a.example" must be https`, func(c *Config) { c.Gateway.Origins = []string{"http://a.example"} }},
	} {
		config := production()
		c.change(&config)
		refused(t, config, c.want)
	}
}

// refused fails unless exactly one fault is found, and it is the wanted one.
func refused(t *testing.T, c Config, want string) {
	t.Helper()
	err := c.Validate()
	if err == nil {
		t.Errorf("accepted, want %q", want)
		return
	}
	found := strings.Split(err.Error(), "\n")
	if len(found) != 1 || !strings.HasPrefix(found[0], want) {
		t.Errorf("got %q, want only %q", found, want)
	}
}

func TestValidateNamesAllAtOnce(t *testing.T) {
	err := Config{Environment: Production}.Validate()
	if err == nil {
		t.Fatal("an empty production was accepted")
	}
	c := Default()
	known := settingsOf(&c)
	lines := strings.Split(err.Error(), "\n")
	for _, line := range lines {
		path, _, _ := strings.Cut(line, ": ")
		if !known[path].IsValid() {
			t.Errorf("%q is not about a setting", line)
		}
	}
	if len(lines) < 20 {
		t.Errorf("only %d faults: %v", len(lines), lines)
	}
}
