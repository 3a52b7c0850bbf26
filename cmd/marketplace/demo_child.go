package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/threefoldtech/cloud-marketplace/client"
)

// child is the server that the demo plays with: this program, as a process of
// its own, so that it can be killed.
type child struct {
	config    string // its configuration file; empty: none
	data      string
	addresses Addresses // where it was reached first; it is started there again
	dieAt     string    // where it dies by itself, for tests; empty: nowhere
	process   *exec.Cmd
	exited    chan struct{}
}

const (
	childStart = 30 * time.Second
	childLook  = 20 * time.Millisecond
)

// start starts the server and waits until it is ready.
func (c *child) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	_ = os.Remove(filepath.Join(c.data, listeningFile))
	args := []string{"serve", "--config", c.config}
	if c.dieAt != "" {
		args = append(args, "--die-at", c.dieAt)
	}
	c.process = exec.CommandContext(ctx, self, args...) //nolint:gosec // this program itself
	c.process.Stderr = os.Stderr
	c.process.Env = append(os.Environ(),
		"MARKETPLACE_DATA="+c.data, "MARKETPLACE_LOG_LEVEL=error",
		"MARKETPLACE_SANDBOX_TIME_SCALE="+strconv.Itoa(demoScale), "MARKETPLACE_ACTORS_SCAN_EVERY=50ms",
		"MARKETPLACE_LISTEN_API="+orAny(c.addresses.API), "MARKETPLACE_LISTEN_ADMIN="+orAny(c.addresses.Admin),
		"MARKETPLACE_SANDBOX_ISSUER="+orAny(hostOf(c.addresses.Issuer)), "MARKETPLACE_SANDBOX_GRIDPROXY="+orAny(hostOf(c.addresses.GridProxy)))
	if err := c.process.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	c.exited = make(chan struct{})
	go func() {
		_ = c.process.Wait()
		close(c.exited)
	}()
	ctx, cancel := context.WithTimeout(ctx, childStart)
	defer cancel()
	for {
		if c.isReady(ctx) {
			return nil
		}
		select {
		case <-time.After(childLook):
		case <-c.exited:
			return fmt.Errorf("the server ended at once: %v", c.process.ProcessState)
		case <-ctx.Done():
			return errors.New("the server did not become ready")
		}
	}
}

// isReady reads where the server listens and asks whether it is ready.
func (c *child) isReady(ctx context.Context) bool {
	a, err := readListening(c.data)
	if err != nil {
		return false
	}
	c.addresses = a
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addresses.Admin+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// kill ends the server in the middle of whatever it does.
func (c *child) kill() error {
	if err := c.process.Process.Kill(); err != nil {
		return fmt.Errorf("kill the server: %w", err)
	}
	<-c.exited
	return nil
}

// stop asks the server to stop and waits until it has.
func (c *child) stop() error {
	if c.process == nil {
		return nil
	}
	select {
	case <-c.exited:
		return nil
	default:
	}
	if err := c.process.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	select {
	case <-c.exited:
		return nil
	case <-time.After(childStart):
		return errors.Join(errors.New("the server did not stop when asked"), c.kill())
	}
}

func orAny(address string) string {
	if address == "" {
		return "127.0.0.1:0"
	}
	return address
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// tokens gets a person's access tokens from the sandbox's issuer, whenever they are asked for.
func (c *child) tokens(username string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		token, _, err := client.SignIn(ctx, c.addresses.Issuer, username)
		return token, err
	}
}
