package apicheck

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/client"
)

// server is the real program in its sandbox, as a process of its own.
type server struct {
	API    string `json:"api"`
	Admin  string `json:"admin"`
	Issuer string `json:"issuer"`
	tokens map[string]string
}

// startServer builds the program, starts it on free ports and waits until it is ready.
func startServer(t *testing.T) *server {
	t.Helper()
	program := filepath.Join(t.TempDir(), "marketplace")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../..", "-o", program, "./cmd/marketplace")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data := filepath.Join(t.TempDir(), "data")
	run := exec.CommandContext(t.Context(), program, "serve")
	run.Stderr = os.Stderr
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	run.WaitDelay = 20 * time.Second
	const free = "127.0.0.1:0"
	run.Env = append(os.Environ(), "MARKETPLACE_DATA="+data, "MARKETPLACE_LOG_LEVEL=error", "MARKETPLACE_SANDBOX_STEP_DELAY=0s",
		"MARKETPLACE_GATEWAY_DRAIN=100ms", "MARKETPLACE_LISTEN_API="+free, "MARKETPLACE_LISTEN_ADMIN="+free,
		"MARKETPLACE_SANDBOX_ISSUER="+free, "MARKETPLACE_SANDBOX_GRIDPROXY="+free)
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	s := &server{tokens: map[string]string{}}
	limit := time.After(30 * time.Second)
	for !s.ready(t.Context(), data) {
		select {
		case err := <-ended:
			t.Fatalf("the server ended at once: %v", err)
		case <-limit:
			t.Fatal("the server did not become ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
	return s
}

// ready reads where the server listens and asks whether it is ready.
func (s *server) ready(ctx context.Context, data string) bool {
	text, err := os.ReadFile(filepath.Join(data, "listening.json"))
	if err != nil || json.Unmarshal(text, s) != nil {
		return false
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Admin+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// token signs a person in, once.
func (s *server) token(t *testing.T, who string) string {
	t.Helper()
	if who != "" && s.tokens[who] == "" {
		token, _, err := client.SignIn(t.Context(), s.Issuer, who)
		if err != nil {
			t.Fatal(err)
		}
		s.tokens[who] = token
	}
	return s.tokens[who]
}
