package main

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/netip"

	"github.com/threefoldtech/cloud-marketplace/gateway"
	"github.com/threefoldtech/cloud-marketplace/gateway/identity"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

// sandboxClient is who we are at the sandbox's issuer.
const sandboxClient = "marketplace"

// newIdentity makes what says who comes in: by tokens of the sandbox's issuer,
// unless another is configured.
func (m *Main) newIdentity(ctx context.Context, api string) error {
	a := m.Config.Auth
	if a.Issuer == "" && m.world != nil {
		a.Issuer, a.ClientID, a.ClientSecret = m.world.issuerURL, sandboxClient, m.world.secret
	}
	var err error
	m.verifier, err = identity.New(ctx, identity.Config{Issuer: a.Issuer, Audience: a.Audience, RolesClaim: a.RolesClaim, JWKSURL: a.JWKSURL, Log: m.Log})
	if err != nil {
		return err
	}
	m.accounts = &identity.Accounts{Verifier: m.verifier, Clock: clock.Real{}}
	if a.ClientID != "" {
		m.login = identity.NewLogin(identity.LoginConfig{
			Issuer: a.Issuer, ClientID: a.ClientID, ClientSecret: a.ClientSecret, Audience: a.Audience,
			URL: cmp.Or(a.PublicURL, "http://"+api), Lifetime: a.SessionLifetime, Idle: a.SessionIdle, Log: m.Log,
		}, m.accounts)
	}
	return nil
}

// identify says who a credential stands for.
func (m *Main) identify(ctx context.Context, c gateway.Credential) (gateway.Principal, error) {
	find, shown := m.accounts.Bearer, c.Bearer
	if c.Cookie != "" {
		find, shown = m.accounts.Cookie, c.Cookie
	}
	who, err := find(ctx, shown)
	return gateway.Principal(who), err
}

// cookie returns the cookie of a browser's session.
func (m *Main) cookie(r *http.Request) string {
	if m.login == nil {
		return ""
	}
	return m.login.Cookie(r)
}

// prefixes returns networks that Validate has found to be ones.
func prefixes(networks []string) []netip.Prefix {
	all := make([]netip.Prefix, 0, len(networks))
	for _, n := range networks {
		if p, err := netip.ParsePrefix(n); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// portOf returns the port of an address, with its colon.
func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return ":" + port
}
