package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/integrations/grid"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	"github.com/threefoldtech/cloud-marketplace/sandbox/gridproxy"
	"github.com/threefoldtech/cloud-marketplace/sandbox/issuer"
)

// world is the outside, played on loopback.
type world struct {
	issuerURL, proxyURL string
	secret              string // of the marketplace at the issuer
	listeners           []net.Listener
	handlers            []http.Handler
}

// openWorld makes the sandbox's parts. They listen already, so that their
// addresses are known, and answer when they are served.
func openWorld(ctx context.Context, c configs.Config, api string, log *slog.Logger) (*world, error) {
	at, err := listen(ctx, c.World.Issuer)
	if err != nil {
		return nil, fmt.Errorf("listen for the sandbox's issuer: %w", err)
	}
	proxyAt, err := listen(ctx, c.World.GridProxy)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the sandbox's grid-proxy: %w", err), at.Close())
	}
	w := &world{secret: rand.Text(), issuerURL: "http://" + at.Addr().String() + "/", proxyURL: "http://" + proxyAt.Addr().String(), listeners: []net.Listener{at, proxyAt}}
	people, err := issuer.New(issuer.Config{
		URL: w.issuerURL, Audience: c.Auth.Audience, RolesClaim: c.Auth.RolesClaim, KeyFile: filepath.Join(c.Data, "sandbox-issuer.pem"),
		Environment: c.Environment, AccessTTL: c.World.TokenTTL, Log: log,
		Clients: []issuer.Client{{ID: sandboxClient, Secret: w.secret, Redirects: []string{"http://" + api + "/auth/callback", "http://localhost" + portOf(api) + "/auth/callback"}}},
	})
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	nodes, err := gridproxy.New()
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	w.handlers = []http.Handler{people, nodes}
	return w, nil
}

func (w *world) close() error {
	var errs []error
	for _, l := range w.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// serve answers until the server stops.
func (w *world) serve(m *Main) {
	for i, l := range w.listeners {
		m.serve(l, w.handlers[i])
	}
}

// newWatcher returns what follows the grid's nodes.
func (m *Main) newWatcher(domain clock.Clock) *grid.Watcher {
	url := m.Config.Grid.ProxyURL
	if url == "" && m.world != nil {
		url = m.world.proxyURL
	}
	return grid.New(grid.Config{ProxyURL: url, Refresh: m.Config.Grid.Refresh, Known: m.system.Catalogue.Node, Publisher: m.system.Publisher(), Domain: domain, Log: m.Log})
}

// errNoGrid says that this version of the program meets no real grid.
var errNoGrid = errors.New("production needs a connection to the grid, and this version only rehearses it in the sandbox")

// executors do what the grid is asked.
func (m *Main) executors() (map[protoreflect.FullName]entity.Executor, error) {
	if !m.Config.Sandbox() {
		return nil, errNoGrid
	}
	all := map[protoreflect.FullName]entity.Executor{}
	for name, execute := range (&grid.Rehearsal{StepDelay: m.Config.World.StepDelay}).Executors() {
		all[name] = execute
	}
	if m.login != nil {
		all[(&taskv1.RenewGrant{}).ProtoReflect().Descriptor().FullName()] = m.login.Renew
	}
	return all, nil
}
