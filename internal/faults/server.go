package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

const (
	startWithin = 60 * time.Second
	// timeScale is how many hours are billed while one passes.
	timeScale = "3600"
)

// server is the real binary as a process, on the same addresses after a restart.
type server struct {
	binary, data, redis string
	at                  addresses
	process             *exec.Cmd
	exited              chan struct{}
}

// addresses are where a server is reached.
type addresses struct {
	API       string `json:"api"`
	Admin     string `json:"admin"`
	Issuer    string `json:"issuer"`
	GridProxy string `json:"grid_proxy"`
}

func (s *server) env() []string {
	or := func(url string) string {
		if url = strings.Trim(strings.TrimPrefix(url, "http://"), "/"); url == "" {
			return "127.0.0.1:0"
		}
		return url
	}
	return append(os.Environ(), "MARKETPLACE_DATA="+s.data, "MARKETPLACE_LOG_LEVEL=error", "MARKETPLACE_STORE_REDIS_URL="+s.redis,
		"MARKETPLACE_LISTEN_API="+or(s.at.API), "MARKETPLACE_LISTEN_ADMIN="+or(s.at.Admin),
		"MARKETPLACE_SANDBOX_ISSUER="+or(s.at.Issuer), "MARKETPLACE_SANDBOX_GRIDPROXY="+or(s.at.GridProxy),
		"MARKETPLACE_SANDBOX_TOKEN_TTL=24h", "MARKETPLACE_SANDBOX_STEP_DELAY=0s", "MARKETPLACE_SANDBOX_TIME_SCALE="+timeScale,
		"MARKETPLACE_GATEWAY_RATE=100000", "MARKETPLACE_GATEWAY_BURST=1000000", "MARKETPLACE_GATEWAY_IN_FLIGHT=10000", "MARKETPLACE_ACTORS_SCAN_EVERY=50ms")
}

// start starts the server and waits until it is ready.
func (s *server) start(ctx context.Context) error {
	listening := filepath.Join(s.data, "listening.json")
	_ = os.Remove(listening)
	s.process = exec.CommandContext(ctx, s.binary) //nolint:gosec // the server itself
	s.process.Env, s.process.Stderr = s.env(), os.Stderr
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.exited = make(chan struct{})
	go func(p *exec.Cmd, exited chan struct{}) {
		_ = p.Wait()
		close(exited)
	}(s.process, s.exited)
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for clock.Pause(ctx, 20*time.Millisecond) {
		select {
		case <-s.exited:
			return fmt.Errorf("the server ended at once: %v", s.process.ProcessState)
		default:
		}
		text, err := os.ReadFile(filepath.Clean(listening))
		if err == nil && json.NewDecoder(bytes.NewReader(text)).Decode(&s.at) == nil && s.ready(ctx) {
			return nil
		}
	}
	return errors.New("the server did not become ready")
}

func (s *server) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.at.Admin+"/readyz", nil)
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
func (s *server) kill() {
	_ = s.process.Process.Kill()
	<-s.exited
}

// verify stops the server and has the verb verify read its store.
func (s *server) verify(ctx context.Context, r *result) error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-s.exited
	cmd := exec.CommandContext(ctx, s.binary, "verify") //nolint:gosec // the server itself
	var said bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env(), &said, &said
	err := cmd.Run()
	found := false
	for line := range strings.Lines(said.String()) {
		if strings.HasPrefix(line, "WRONG") {
			found = true
			r.wrong("verify: %s", strings.TrimSpace(line))
		}
	}
	if err != nil && !found {
		return fmt.Errorf("verify the store: %w: %s", err, said.String())
	}
	return nil
}

// wrong notes a contradiction.
func (r *result) wrong(format string, args ...any) {
	r.inconsistent++
	r.detail(format, args...)
}

// detail keeps what to look at first.
func (r *result) detail(format string, args ...any) {
	if len(r.details) < 20 {
		r.details = append(r.details, fmt.Sprintf(format, args...))
	}
}
