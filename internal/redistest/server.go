// Package redistest runs redis-server for tests: the real one, on a port of its
// own, with its log in a folder of the test.
//
// A test that needs it fails where it is not installed; tools/need installs it.
package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take to begin or end.
const patience = 30 * time.Second

// Server is a redis-server that can be killed and started again.
type Server struct {
	// Addr is its host and port, the same after a restart.
	Addr string
	// Dir is where it keeps its log.
	Dir string

	args []string
	run  *exec.Cmd
	end  chan struct{} // closed when it has ended
}

// Durable are the settings of a server that loses nothing, as the store wants it.
func Durable() []string {
	return []string{"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--stream-node-max-bytes", "512"}
}

// New returns a server that does not run yet. Settings are as on the command line
// of redis-server; later ones hold.
func New(ctx context.Context, dir string, settings ...string) (*Server, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--daemonize", "no", "--logfile", filepath.Join(dir, "redis.log")}, settings...)
	return &Server{Addr: net.JoinHostPort("127.0.0.1", port), Dir: dir, args: args}, nil
}

// Start runs a durable server, with settings over it, until the test ends.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := New(t.Context(), t.TempDir(), append(Durable(), settings...)...)
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// Start begins the server and waits until it answers, if only that it is loading.
func (s *Server) Start() error {
	s.run = exec.CommandContext(context.Background(), "redis-server", s.args...) //nolint:gosec // our own arguments
	// It dies with the test, however that ends.
	s.run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.run.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	s.end = make(chan struct{})
	go func(run *exec.Cmd, end chan struct{}) {
		_ = run.Wait() // killed, mostly
		close(end)
	}(s.run, s.end)
	deadline := time.After(patience) //nolint:forbidigo // A wait, not a reading of the clock.
	for {
		if s.answers() {
			return nil
		}
		select {
		case <-s.end:
			text, _ := os.ReadFile(filepath.Join(s.Dir, "redis.log"))
			return fmt.Errorf("redis-server ended: %s", tail(string(text)))
		case <-deadline:
			s.Kill()
			return errors.New("redis-server does not answer")
		case <-time.After(5 * time.Millisecond): //nolint:forbidigo // A wait, not a reading of the clock.
		}
	}
}

// tail returns the last lines of a text.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// answers says whether the server says anything.
func (s *Server) answers() bool {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", s.Addr)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second)) //nolint:forbidigo // a limit for the kernel
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	_, err = bufio.NewReader(c).ReadString('\n')
	return err == nil
}

// Kill ends the server at once, as a crash does, and waits for that.
func (s *Server) Kill() { s.Signal(syscall.SIGKILL); <-s.end }

// Signal sends a signal to the server: SIGSTOP and SIGCONT make it stall.
func (s *Server) Signal(sig syscall.Signal) { _ = s.run.Process.Signal(sig) }

// Command has a server do one thing, and returns what it refuses.
func Command(ctx context.Context, addr string, words ...string) error {
	c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience)) //nolint:forbidigo // a limit for the kernel
	text := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, w := range words {
		text = fmt.Appendf(text, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := c.Write(text); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && strings.HasPrefix(line, "-") {
		err = errors.New(strings.TrimSpace(line[1:]))
	}
	return err
}
