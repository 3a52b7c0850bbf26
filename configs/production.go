package configs

import "net/url"

// validateProduction adds what only a sandbox may have.
func (c Config) validateProduction(f *faults) {
	f.when(c.World.TimeScale != 1, "sandbox.time_scale", "must be 1 in production, where an hour takes an hour")
	f.when(c.Auth.Issuer == "", "auth.issuer", "must be set in production: the sandbox's issuer asks for no password")
	f.real("auth.issuer", c.Auth.Issuer)
	f.real("auth.jwks_url", c.Auth.JWKSURL)
	f.real("auth.public_url", c.Auth.PublicURL)
	f.when(c.Grid.ProxyURL == "", "grid.proxy_url", "must be set in production: the sandbox's grid has no nodes")
	f.real("grid.proxy_url", c.Grid.ProxyURL)
	f.when(len(c.Gateway.Hosts) == 0, "gateway.hosts", "must be set in production: no request would be for one of loopback's names")
	f.when(c.Sealing.KeyFile == "", "sealing.key_file", "must be set in production: a key beside what it seals protects nothing")
	for _, o := range c.Gateway.Origins {
		f.real("gateway.origins", o)
	}
}

// real adds a fault for a URL that anybody on the way could answer, or that
// this machine would answer itself.
func (f *faults) real(path, value string) {
	u, err := url.Parse(value)
	if err != nil || !web(u) {
		return // Validate says so already, or it is not set
	}
	f.when(u.Scheme != "https", path, "%q must be https in production", value)
	f.when(loopback(u.Hostname()), path, "%q is on loopback, where only a sandbox is", value)
}
