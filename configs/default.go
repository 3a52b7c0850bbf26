package configs

import "time"

// Default returns the sandbox on loopback.
func Default() Config {
	return Config{
		Environment: Sandbox,
		Data:        "data",
		Listen:      Listen{API: "127.0.0.1:8080", Admin: "127.0.0.1:8081"},
		Store:       Store{Redis: Redis{Tag: "market"}, ArchiveEvery: 24 * time.Hour},
		World: World{
			Issuer:    "127.0.0.1:8090",
			GridProxy: "127.0.0.1:8093",
			TimeScale: 1,
			TokenTTL:  10 * time.Minute,
			StepDelay: 300 * time.Millisecond,
		},
		Auth: Auth{
			Audience:        "https://marketplace.threefold.io/api",
			RolesClaim:      "https://cloud.threefold.io/roles",
			SessionLifetime: 7 * 24 * time.Hour,
			SessionIdle:     12 * time.Hour,
		},
		Grid: Grid{Refresh: 10 * time.Minute},
		Gateway: Gateway{
			MaxFrameBytes:  64 * KiB,
			InFlight:       64,
			Subscriptions:  128,
			Rate:           100,
			Burst:          200,
			PingAfter:      25 * time.Second,
			PongWithin:     10 * time.Second,
			MessageWithin:  10 * time.Second,
			OpenWithin:     5 * time.Second,
			ExpiryNotice:   time.Minute,
			ExpiryGrace:    25 * time.Second,
			QueueBytes:     MiB,
			Connections:    100_000,
			PerAddress:     1000,
			PerUser:        50,
			HandshakeRate:  100,
			HandshakeBurst: 1000,
			Drain:          5 * time.Second,
		},
		Actors: Actors{
			IdleAfter:     time.Minute,
			SnapshotEvery: 100,
			GateLimit:     2048,
			ScanEvery:     250 * time.Millisecond,
		},
		Billing: Billing{CreditGrace: 72 * time.Hour},
		Log:     Log{Level: "info", Format: "text"},

		Telemetry: Telemetry{TraceRatio: 0.01},
	}
}
