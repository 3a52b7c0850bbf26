package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/deployment"
	"github.com/threefoldtech/cloud-marketplace/actors/price"
	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/docs/api"
	"github.com/threefoldtech/cloud-marketplace/gateway"
	"github.com/threefoldtech/cloud-marketplace/gateway/identity"
	"github.com/threefoldtech/cloud-marketplace/integrations/grid"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

// Addresses are where a running server is reached.
type Addresses struct {
	API       string `json:"api"`
	Admin     string `json:"admin"`
	Issuer    string `json:"issuer,omitempty"`
	GridProxy string `json:"grid_proxy,omitempty"`
}

// Main is the whole server.
type Main struct {
	Config configs.Config
	Log    *slog.Logger
	Ready  func(Addresses) // called once everything answers; may be nil

	clock   clock.Clock // what kinds see
	store   store
	release func() // gives the store back
	// listening says that listeningFile is ours.
	listening bool
	world     *world
	system    *actors.System
	gateway   *gateway.Gateway
	verifier  *identity.Verifier
	accounts  *identity.Accounts
	login     *identity.Login // nil: browsers cannot sign in here
	watcher   *grid.Watcher
	quit      context.CancelFunc // ends the watching of the grid
	servers   []*http.Server

	telemetry *telemetry.Metrics
	tracer    *telemetry.Tracer // nil: nothing is traced

	certificate *tls.Certificate // of the API; nil: a proxy encrypts, or nobody
	done        sync.WaitGroup
	failed      chan error
}

const (
	storeFile     = "marketplace.db"
	listeningFile = "listening.json"
	stopWithin    = 10 * time.Second
	// bodyWithin is how long a request may take to arrive, its body included. It
	// does not hold for sockets and streams, which leave HTTP behind.
	bodyWithin = 10 * time.Second
	// stepLimit is how long the grid may take for one step, in real time.
	stepLimit = 10 * time.Minute
)

// Run serves until ctx ends, then sends everyone away and stops. An error says
// why it could not start, or what ended it.
func (m *Main) Run(ctx context.Context) error {
	m.failed = make(chan error, 8)
	err := m.start(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
			m.Log.InfoContext(ctx, "stopping")
		case err = <-m.failed:
		}
		m.gateway.Drain(context.WithoutCancel(ctx), m.Config.Gateway.Drain)
	}
	return errors.Join(err, m.stop()) //nolint:contextcheck // ctx is over: stopping has a limit of its own
}

// start brings everything up from the inside out.
func (m *Main) start(ctx context.Context) error {
	c := m.Config
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	var err error
	if m.store, err = openStore(ctx, c, false, m.Log); err != nil {
		return err
	}
	if m.release, err = hold(ctx, m.store, c, m.fail); err != nil {
		return fmt.Errorf("take the store: %w", err)
	}
	domain, err := m.domain()
	if err != nil {
		return err
	}
	m.clock = domain
	m.telemetry = telemetry.NewMetrics()
	if c.Telemetry.OTLPEndpoint != "" {
		if m.tracer, err = telemetry.NewTracer(context.WithoutCancel(ctx), c.Telemetry.OTLPEndpoint, c.Telemetry.TraceRatio); err != nil {
			return err
		}
	}
	if c.Gateway.TLSCertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.Gateway.TLSCertFile, c.Gateway.TLSKeyFile)
		if err != nil {
			return fmt.Errorf("read the certificate of the API: %w", err)
		}
		m.certificate = &pair
	}
	l, err := listen(ctx, c.Listen.API)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	addresses := Addresses{API: l.Addr().String()}
	if c.Sandbox() {
		if m.world, err = openWorld(ctx, m.Config, addresses.API, m.Log); err != nil {
			return errors.Join(err, l.Close())
		}
		m.world.serve(m)
		addresses.Issuer, addresses.GridProxy = m.world.issuerURL, m.world.proxyURL
	}
	if err := m.newIdentity(ctx, addresses.API); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := m.startActors(ctx, domain); err != nil {
		return errors.Join(err, l.Close())
	}
	m.startGateway(l) //nolint:contextcheck // the gateway lives longer than the start does
	if addresses.Admin, err = m.startAdmin(ctx); err != nil {
		return err
	}
	if err := m.writeListening(addresses); err != nil {
		return err
	}
	if m.Ready != nil {
		m.Ready(addresses)
	}
	return nil
}

// fail ends the server.
func (m *Main) fail(err error) { m.failed <- err }

func listen(ctx context.Context, address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
}

// domain returns the clock that kinds see.
func (m *Main) domain() (clock.Clock, error) {
	if !m.Config.Sandbox() {
		return clock.Real{}, nil
	}
	return clock.OpenScaled(filepath.Join(m.Config.Data, "sandbox-clock.json"), int64(m.Config.World.TimeScale), clock.Real{})
}

func (m *Main) startActors(ctx context.Context, domain clock.Clock) error {
	c := m.Config
	m.gateway = gateway.New(gateway.Config{
		Limits: limits(c.Gateway), Identify: m.identify, Cookie: m.cookie, Log: m.Log, Metrics: m.telemetry, Tracer: m.tracer,
		Origins: c.Gateway.Origins, Hosts: c.Gateway.Hosts, Proxies: prefixes(c.Gateway.Proxies),
	})
	executors, err := m.executors()
	if err != nil {
		return err
	}
	ring, err := openRing(c)
	if err != nil {
		return err
	}
	now := domain.Now()
	system, err := actors.Start(ctx, actors.Config{
		Store: m.store, Keys: ring, Domain: domain, Log: m.Log, Tracer: m.tracer, Executors: executors, Prices: price.Main,
		// A limit of a step is real time, and the domain's may run faster.
		Terms:  deployment.Terms{StepLimit: domain.In(stepLimit).Sub(now), CreditGrace: c.Billing.CreditGrace},
		OnPush: m.gateway.Hub().Push, Delivered: m.gateway.Delivered,
		IdleAfter: c.Actors.IdleAfter, SnapshotEvery: c.Actors.SnapshotEvery, GateLimit: c.Actors.GateLimit, ScanEvery: c.Actors.ScanEvery,
	})
	if err != nil {
		return err
	}
	m.system = system
	m.accounts.Actors = system
	changes, err := system.Follow(context.WithoutCancel(ctx), messages.TopicAccess)
	if err != nil {
		return err
	}
	m.done.Go(func() { m.gateway.Follow(changes, actors.Missed) })
	watching, quit := context.WithCancel(context.WithoutCancel(ctx))
	m.quit = quit
	m.watcher = m.newWatcher(domain)
	m.done.Go(func() { m.watcher.Run(watching) })
	m.done.Go(func() { m.keepArchiving(watching) })
	return nil
}

func (m *Main) startGateway(l net.Listener) {
	m.gateway.Start(m.system)
	mux := http.NewServeMux()
	mux.Handle("GET /ws", m.gateway.WebSocket())
	mux.Handle("/api/", m.gateway.HTTP())
	mux.Handle("GET /api/session/get", m.gateway.SessionHTTP())
	mux.Handle("GET /auth/session", m.gateway.SessionHTTP())
	if m.login != nil {
		mux.Handle("/auth/", m.gateway.Paced(m.login.Handler()))
	}
	mux.HandleFunc("GET /api/methods", describe)
	mux.Handle("GET /docs/api/", api.Handler())
	all := http.NewServeMux() // health is for balancers, who know no host name
	all.Handle("/", m.gateway.Guard(mux))
	all.HandleFunc("GET /healthz", m.healthy)
	all.HandleFunc("GET /readyz", m.ready)
	m.serve(m.encrypted(l), all)
}

// encrypted returns a listener that speaks TLS, if the configuration wants it.
// WebSockets need HTTP/1.1, so nothing newer is offered.
func (m *Main) encrypted(l net.Listener) net.Listener {
	if m.certificate == nil {
		return l
	}
	return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{*m.certificate}})
}

// serve answers on a listener until the server stops.
func (m *Main) serve(l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: bodyWithin, IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(m.Log.Handler(), slog.LevelDebug)}
	m.servers = append(m.servers, s)
	m.done.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			m.fail(fmt.Errorf("serve %s: %w", l.Addr(), err))
		}
	})
}

// stop ends everything from the outside in: the doors, the actors, the store.
func (m *Main) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	var errs []error
	if m.gateway != nil && m.system != nil && m.verifier != nil {
		m.gateway.Stop()
	}
	for _, s := range m.servers {
		if s.Shutdown(ctx) != nil { // somebody does not let go
			errs = append(errs, s.Close())
		}
	}
	if m.quit != nil {
		m.quit()
	}
	if m.verifier != nil {
		m.verifier.Close()
	}
	if m.system != nil {
		errs = append(errs, m.system.Stop(ctx))
	}
	m.done.Wait()
	if m.release != nil {
		m.release()
	}
	if m.store != nil {
		errs = append(errs, m.store.Close())
	}
	if err := m.tracer.Close(ctx); err != nil {
		m.Log.Warn("spans not sent", slog.Any("error", err)) // nobody waits for them
	}
	if m.listening { // else it is another's
		_ = os.Remove(filepath.Join(m.Config.Data, listeningFile))
	}
	return errors.Join(errs...)
}

// readListening says where the server of a data folder is reached.
func readListening(data string) (Addresses, error) {
	var a Addresses
	text, err := os.ReadFile(filepath.Join(data, listeningFile))
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	return a, err
}

// writeListening leaves where the server is reached beside its data, for
// programs on the same machine.
func (m *Main) writeListening(a Addresses) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	file := filepath.Join(m.Config.Data, listeningFile)
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", listeningFile, err)
	}
	m.listening = true
	return os.Rename(file+".new", file)
}
