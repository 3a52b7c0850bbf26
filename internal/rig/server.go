package rig

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

// startWithin is how long the server may take until it is ready.
const startWithin = 60 * time.Second

// Server is the real binary as a process, on the same addresses after a restart.
type Server struct {
	Binary, Data string
	Settings     []string // of its environment, after what every server here has
	At           Addresses
	Log          *os.File // nil: the program's own errors

	process *exec.Cmd
	exited  chan struct{}
}

// Addresses are where a server is reached.
type Addresses struct {
	API       string `json:"api"`
	Admin     string `json:"admin"`
	Issuer    string `json:"issuer"`
	GridProxy string `json:"grid_proxy"`
}

func (s *Server) env() []string {
	or := func(url string) string {
		if url = strings.Trim(strings.TrimPrefix(url, "http://"), "/"); url == "" {
			return "127.0.0.1:0"
		}
		return url
	}
	return append(append(os.Environ(), "MARKETPLACE_DATA="+s.Data, "MARKETPLACE_LOG_LEVEL=error",
		"MARKETPLACE_LISTEN_API="+or(s.At.API), "MARKETPLACE_LISTEN_ADMIN="+or(s.At.Admin),
		"MARKETPLACE_SANDBOX_ISSUER="+or(s.At.Issuer), "MARKETPLACE_SANDBOX_GRIDPROXY="+or(s.At.GridProxy),
		"MARKETPLACE_SANDBOX_TOKEN_TTL=24h", "MARKETPLACE_SANDBOX_STEP_DELAY=0s"), s.Settings...)
}

// Start starts the server and waits until it is ready.
func (s *Server) Start(ctx context.Context) error {
	listening := filepath.Join(s.Data, "listening.json")
	_ = os.Remove(listening)
	s.process = exec.CommandContext(ctx, s.Binary) //nolint:gosec // the server itself
	s.process.Env, s.process.Stderr = s.env(), os.Stderr
	if s.Log != nil {
		s.process.Stderr = s.Log
	}
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
		if err == nil && json.NewDecoder(bytes.NewReader(text)).Decode(&s.At) == nil && s.ready(ctx) {
			return nil
		}
	}
	return errors.New("the server did not become ready")
}

func (s *Server) ready(ctx context.Context) bool {
	_, err := s.admin(ctx, "/readyz")
	return err == nil
}

// Kill ends the server in the middle of whatever it does.
func (s *Server) Kill() {
	_ = s.process.Process.Kill()
	<-s.exited
}

// Stop has the server send everybody away and end.
func (s *Server) Stop() error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-s.exited
	return nil
}

// Verify has the verb verify read the store of a server that has ended, and
// returns what it found wrong.
func (s *Server) Verify(ctx context.Context) (wrong []string, err error) {
	cmd := exec.CommandContext(ctx, s.Binary, "verify") //nolint:gosec // the server itself
	var said bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env(), &said, &said
	err = cmd.Run()
	for line := range strings.Lines(said.String()) {
		if strings.HasPrefix(line, "WRONG") {
			wrong = append(wrong, strings.TrimSpace(line))
		}
	}
	if err != nil && len(wrong) == 0 {
		return nil, fmt.Errorf("verify the store: %w: %s", err, said.String())
	}
	return wrong, nil
}

// admin reads a page of the admin address.
func (s *Server) admin(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.At.Admin+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return body.String(), err
}
