// Package configs is what an operator may set: the settings with their
// defaults, where they are read from, and what is refused.
//
// No configuration at all is the sandbox: everything on loopback, an embedded
// store in ./data, nothing real deployed or charged. A file of YAML is laid
// over the defaults, and variables of the environment over both; see Load.
//
// # Strictness
//
// A key that nobody reads is an error, wherever it stands: a setting that is
// spelled wrong must not leave its default in force unnoticed. Validate names
// everything that is wrong at once, each with the path of its setting.
package configs

import "time"

// The environments that a marketplace may run in.
const (
	Sandbox    = "sandbox"    // plays the outside world on loopback
	Production = "production" // meets the real one
)

// Config is all that may be set. Default returns it with its defaults.
type Config struct {
	// Environment is sandbox or production. Default: sandbox.
	Environment string `koanf:"environment"`
	// Data is the folder of the embedded store and of whatever else outlives a
	// process. Default: data, in the folder that the process was started in.
	Data string `koanf:"data"`

	Listen  Listen  `koanf:"listen"`
	Store   Store   `koanf:"store"`
	World   World   `koanf:"sandbox"`
	Auth    Auth    `koanf:"auth"`
	Grid    Grid    `koanf:"grid"`
	Gateway Gateway `koanf:"gateway"`
	Actors  Actors  `koanf:"actors"`
	Billing Billing `koanf:"billing"`
	Sealing Sealing `koanf:"sealing"`
	Log     Log     `koanf:"log"`

	Telemetry Telemetry `koanf:"telemetry"`
}

// Sandbox says whether the outside world is played on loopback.
func (c Config) Sandbox() bool { return c.Environment == Sandbox }

// Listen is where the marketplace is reached. An address is a host and a port;
// port 0 takes a free one.
type Listen struct {
	// API is the address of the methods and of the dashboard. Default: 127.0.0.1:8080.
	API string `koanf:"api"`
	// Admin is the address of metrics, profiles and health, which are nobody
	// else's business. Default: 127.0.0.1:8081.
	Admin string `koanf:"admin"`
}

// Store is where accounts, deployments and nodes are kept. Without a Redis that
// is the embedded store, one file in the data folder.
type Store struct {
	Redis Redis `koanf:"redis"`
	// ArchiveEvery is how often old items of long lists are moved into files of
	// the data folder: 1s to 8760h. Default: 24h.
	ArchiveEvery time.Duration `koanf:"archive_every"`
}

// Redis is the server of the store.
type Redis struct {
	// URL is redis://host:port/database, or rediss:// for TLS. Default: none,
	// which means the embedded store.
	URL string `koanf:"url"`
	// User is the user of Redis' access control list. Default: none, which means its default user.
	User string `koanf:"user"`
	// Password is the user's. Default: none. Hand it over as a file:
	// MARKETPLACE_STORE_REDIS_PASSWORD_FILE.
	Password string `koanf:"password"`
	// CAFile holds the certificates that may have signed the server's. Default:
	// none, which means those of the system.
	CAFile string `koanf:"ca_file"`
	// CertFile and KeyFile are the certificate that we show, and its key. Default: none.
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
	// Tag begins the names of all keys, in braces. Default: market.
	Tag string `koanf:"tag"`
	// AcceptLoss says that a Redis will do which syncs its log once a second, or
	// does not tell: a power failure may then take the last second with it. Default: false.
	AcceptLoss bool `koanf:"accept_loss"`
}

// World is the sandbox: the outside world, played on loopback. In production
// nothing of it runs. In a file it is the section sandbox.
type World struct {
	// Issuer is the loopback address of the issuer of tokens. Default: 127.0.0.1:8090.
	Issuer string `koanf:"issuer"`
	// GridProxy is the loopback address of the grid. Default: 127.0.0.1:8093.
	GridProxy string `koanf:"gridproxy"`
	// TimeScale is how many hours are billed while one passes: 1 to 86400.
	// Default: 1.
	TimeScale int `koanf:"time_scale"`
	// TokenTTL is how long an access token lives: 10s to 24h. Default: 10m.
	TokenTTL time.Duration `koanf:"token_ttl"`
	// StepDelay is how long the grid takes for each step of a deployment: 0s to
	// 1m. Default: 300ms.
	StepDelay time.Duration `koanf:"step_delay"`
}

// Auth is whose access tokens are believed.
type Auth struct {
	// Issuer is the URL that issues tokens, exactly as they spell it, with the
	// slash at its end. Default: none, which means the sandbox's own.
	Issuer string `koanf:"issuer"`
	// Audience is who tokens must be meant for. Default: https://marketplace.threefold.io/api.
	Audience string `koanf:"audience"`
	// RolesClaim is the claim that lists the roles. Default: https://cloud.threefold.io/roles.
	RolesClaim string `koanf:"roles_claim"`
	// JWKSURL is where the issuer publishes its keys. Default: none, which means
	// .well-known/jwks.json below the issuer.
	JWKSURL string `koanf:"jwks_url"`
	// ClientID is who we are at the issuer, for browsers to sign in. Default:
	// none, which means the sandbox's own; with another issuer, nobody signs in here.
	ClientID string `koanf:"client_id"`
	// ClientSecret proves it. Default: none. Hand it over as a file:
	// MARKETPLACE_AUTH_CLIENT_SECRET_FILE.
	ClientSecret string `koanf:"client_secret"`
	// PublicURL is where browsers reach us, such as https://market.example.com.
	// Default: none, which means http and the address of listen.api.
	PublicURL string `koanf:"public_url"`
	// SessionLifetime is how long a browser stays signed in at most: 1m to 2160h. Default: 168h.
	SessionLifetime time.Duration `koanf:"session_lifetime"`
	// SessionIdle is how long a browser stays signed in unused: 1m to SessionLifetime. Default: 12h.
	SessionIdle time.Duration `koanf:"session_idle"`
}

// Grid is where nodes are looked up.
type Grid struct {
	// ProxyURL is the URL of the grid proxy. Default: none, which means the sandbox's own.
	ProxyURL string `koanf:"proxy_url"`
	// Refresh is how often all nodes are read: 1s to 24h. Default: 10m.
	Refresh time.Duration `koanf:"refresh"`
}

// Gateway is what one client may ask of the gateway.
type Gateway struct {
	// MaxFrameBytes is how large a message or body may be: 1KiB to 16MiB. Default: 64KiB.
	MaxFrameBytes Bytes `koanf:"max_frame_bytes"`
	// InFlight is how many requests of a connection may wait for their answer:
	// 1 to 10000. Default: 64.
	InFlight int `koanf:"in_flight"`
	// Subscriptions is how many streams a connection may watch: 1 to 10000. Default: 128.
	Subscriptions int `koanf:"subscriptions"`
	// Rate is how many requests a second a connection may send: 1 to 100000. Default: 100.
	Rate int `koanf:"rate"`
	// Burst is how many requests a connection may send at once: Rate to 1000000. Default: 200.
	Burst int `koanf:"burst"`
	// PingAfter is the silence before a ping: 1s to 10m. Default: 25s.
	PingAfter time.Duration `koanf:"ping_after"`
	// PongWithin is how long the answer to a ping may take: 100ms to 10m. Default: 10s.
	PongWithin time.Duration `koanf:"pong_within"`
	// MessageWithin is how long a message may take once it has begun: 100ms to
	// 10m. Default: 10s.
	MessageWithin time.Duration `koanf:"message_within"`
	// OpenWithin is how long a connection may go without a token: 100ms to 1m.
	// Default: 5s.
	OpenWithin time.Duration `koanf:"open_within"`
	// ExpiryNotice is how long before the end of its token a client hears of it:
	// 1s to 1h. Default: 1m.
	ExpiryNotice time.Duration `koanf:"expiry_notice"`
	// ExpiryGrace is how long a connection outlives its token: 100ms to 5m. Default: 25s.
	ExpiryGrace time.Duration `koanf:"expiry_grace"`
	// QueueBytes is what may wait for a client that reads slowly: MaxFrameBytes
	// to 1GiB. Default: 1MiB.
	QueueBytes Bytes `koanf:"queue_bytes"`
	// Connections is how many connections the process takes: 1 to 1000000. Default: 100000.
	Connections int `koanf:"connections"`
	// PerAddress is how many connections one address may have: 1 to 1000000. Default: 1000.
	PerAddress int `koanf:"per_address"`
	// PerUser is how many connections one person may have, beyond which the
	// oldest is replaced: 1 to 100000. Default: 50.
	PerUser int `koanf:"per_user"`
	// HandshakeRate is how many connections a second one address may open: 1 to 1000000. Default: 100.
	HandshakeRate int `koanf:"handshake_rate"`
	// HandshakeBurst is how many connections one address may open at once:
	// HandshakeRate to 1000000. Default: 1000.
	HandshakeBurst int `koanf:"handshake_burst"`
	// Proxies are the networks of proxies that say on whose behalf they ask, such
	// as 10.0.0.0/8. Default: none.
	Proxies []string `koanf:"proxies"`
	// TLSCertFile and TLSKeyFile let the API be reached by https, without a proxy. Default: none.
	TLSCertFile string `koanf:"tls_cert_file"`
	TLSKeyFile  string `koanf:"tls_key_file"`
	// Drain is how long connections have to go when the process stops: 0s to
	// 10m. Default: 5s.
	Drain time.Duration `koanf:"drain"`
	// Origins are the sites besides our own that browsers may come from, such as
	// https://dashboard.example.com. Default: none.
	Origins []string `koanf:"origins"`
	// Hosts are the names that requests may be for, without port. Default: none,
	// which means those of loopback.
	Hosts []string `koanf:"hosts"`
}

// Actors is how the actors of a process live.
type Actors struct {
	// IdleAfter is how long an actor stays in memory unasked: 1s to 24h. Default: 1m.
	IdleAfter time.Duration `koanf:"idle_after"`
	// SnapshotEvery is how many events lie between two snapshots: 1 to 100000. Default: 100.
	SnapshotEvery int `koanf:"snapshot_every"`
	// GateLimit is how many requests may wait for one actor: 1 to 1000000. Default: 2048.
	GateLimit int `koanf:"gate_limit"`
	// ScanEvery is how often the store is asked who is to be woken: 10ms to 1m.
	// Default: 250ms.
	ScanEvery time.Duration `koanf:"scan_every"`
}

// Billing is our policy towards those who owe.
type Billing struct {
	// CreditGrace is how long deployments go on when their owner's credit is
	// out: 0s to 2160h, which is 90 days. Default: 72h.
	CreditGrace time.Duration `koanf:"credit_grace"`
}

// Sealing is what values such as passwords are sealed with before they are
// written. A file of a key holds 32 random bytes in base64.
type Sealing struct {
	// KeyFile is the file of the key that the keys of accounts and deployments
	// are wrapped with. Default: none, which means sealing.key in the data folder,
	// made if there is none; in production it must be named.
	KeyFile string `koanf:"key_file"`
	// PreviousFiles are the files of earlier keys, which "marketplace rekey" makes
	// superfluous. Default: none.
	PreviousFiles []string `koanf:"previous_files"`
}

// Telemetry is where the process sends the ways of requests.
type Telemetry struct {
	// OTLPEndpoint takes spans by OTLP over HTTP, such as http://127.0.0.1:4318.
	// Default: none, which means that nothing is traced.
	OTLPEndpoint string `koanf:"otlp_endpoint"`
	// TraceRatio is the share of requests that are traced of those whose sender
	// does not say: 0 to 1. Default: 0.01.
	TraceRatio float64 `koanf:"trace_ratio"`
}

// Log is what the process tells of itself.
type Log struct {
	// Level is the least that is told: debug, info, warn or error. Default: info.
	Level string `koanf:"level"`
	// Format is text for people or json for machines. Default: text.
	Format string `koanf:"format"`
}
