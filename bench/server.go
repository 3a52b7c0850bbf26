package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/threefoldtech/cloud-marketplace/client"
)

func build(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", to, "./cmd/marketplace")
	cmd.Dir, cmd.Stderr = "..", os.Stderr
	return cmd.Run()
}

// server is the real binary as a process of its own.
type server struct {
	process *exec.Cmd
	exited  chan error
	api     string
	issuer  string
}

// startServer starts the binary with limits that a single client of the bench does not meet.
func startServer(ctx context.Context, binary, data string) (*server, error) {
	s := &server{process: exec.CommandContext(ctx, binary), exited: make(chan error, 1)}
	s.process.Stderr = os.Stderr
	s.process.Env = append(os.Environ(), "MARKETPLACE_DATA="+data, "MARKETPLACE_LOG_LEVEL=error",
		"MARKETPLACE_LISTEN_API=127.0.0.1:0", "MARKETPLACE_LISTEN_ADMIN=127.0.0.1:0",
		"MARKETPLACE_SANDBOX_ISSUER=127.0.0.1:0", "MARKETPLACE_SANDBOX_GRIDPROXY=127.0.0.1:0",
		"MARKETPLACE_GATEWAY_RATE=100000", "MARKETPLACE_GATEWAY_BURST=1000000", "MARKETPLACE_SANDBOX_TOKEN_TTL=1h")
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	go func() { s.exited <- s.process.Wait() }()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(data, "listening.json"))
		if err != nil {
			continue
		}
		var at struct {
			API    string `json:"api"`
			Issuer string `json:"issuer"`
		}
		if json.Unmarshal(text, &at) == nil {
			s.api, s.issuer = at.API, at.Issuer
			return s, nil
		}
	}
	return nil, errors.Join(errors.New("the server did not start"), s.stop())
}

func (s *server) stop() error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return <-s.exited
}

// cpu is how much processor time the server has used.
func (s *server) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	// After the name in parentheses: user time is field 14, system time 15, in hundredths of a second.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// token signs an operator in at the sandbox's issuer.
func (s *server) token(ctx context.Context) (string, error) {
	token, _, err := client.SignIn(ctx, s.issuer, "olga")
	return token, err
}

// throughServer measures commands through socket and actor: each connection
// grants credit to a user of its own.
func throughServer(ctx context.Context, binary, data string, s shape, length time.Duration) (f figures, err error) {
	srv, err := startServer(ctx, binary, data)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	token, err := srv.token(ctx)
	if err != nil {
		return f, err
	}
	l := &load{stopped: make(chan struct{})}
	for i := range s.connections {
		c, err := dial(ctx, srv.api, token, i)
		if err != nil {
			return f, err
		}
		l.conns = append(l.conns, c)
	}
	l.start(s.depth)
	time.Sleep(length / 4)
	before, err := srv.cpu()
	if err != nil {
		return f, err
	}
	began, from := time.Now(), l.answered.Load()
	l.measuring.Store(true)
	time.Sleep(length)
	l.measuring.Store(false)
	took, done := time.Since(began), l.answered.Load()-from
	after, err := srv.cpu()
	if err != nil {
		return f, err
	}
	if err := l.stop(); err != nil {
		return f, err
	}
	f.rate = float64(done) / took.Seconds()
	f.cpu = float64((after - before).Microseconds()) / float64(done)
	f.p50, f.p99 = l.percentile(0.50), l.percentile(0.99)
	return f, nil
}
