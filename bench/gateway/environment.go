package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Environment is what the servers need: a binary, an issuer of tokens, a folder.
type Environment struct {
	Dir      string        // for binaries and data
	Binary   string        // the marketplace
	Issuer   string        // as tokens spell it
	JWKS     string        // where the issuer publishes its key
	Sessions int           // of a process that has sessions without sockets
	Idle     time.Duration // how long silence is measured
	Profiles string        // a folder for profiles of the marketplace; empty: none

	key    *rsa.PrivateKey
	tokens []string // of users, by number
}

const (
	audience   = "https://marketplace.threefold.io/api"
	rolesClaim = "https://cloud.threefold.io/roles"
	keyID      = "bench"
)

// open prepares everything that all rounds share, with tokens for so many users.
func (e *Environment) open(ctx context.Context, users int) (close func(), err error) {
	e.Binary = filepath.Join(e.Dir, "marketplace-with-hook")
	if err := buildOurs(ctx, e.Dir, e.Binary); err != nil {
		return nil, fmt.Errorf("build the marketplace: %w", err)
	}
	if e.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e.Issuer = "http://" + l.Addr().String() + "/"
	e.JWKS = e.Issuer + ".well-known/jwks.json"
	server := &http.Server{Handler: http.HandlerFunc(e.publish), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	return func() { _ = server.Close() }, e.mint(users)
}

//go:embed hook.go
var hook []byte

// buildOurs builds the marketplace with the hook laid over it, so that what is
// measured is the product and nothing of the bench stands in it.
func buildOurs(ctx context.Context, dir, to string) error {
	found, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/threefoldtech/cloud-marketplace").Output()
	if err != nil {
		return err
	}
	root := strings.TrimSpace(string(found))
	file := filepath.Join(dir, "hook.go")
	if err := os.WriteFile(file, bytes.Replace(hook, []byte("package gateway"), []byte("package main"), 1), 0o600); err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "cmd", "marketplace", "bench_hook.go"): file}})
	if err != nil {
		return err
	}
	named := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(named, overlay, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", named, "-o", to, "./cmd/marketplace")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	return cmd.Run()
}

// publish answers with the key that tokens are signed with.
func (e *Environment) publish(w http.ResponseWriter, _ *http.Request) {
	text := base64.RawURLEncoding.EncodeToString
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID,
		"n": text(e.key.N.Bytes()), "e": text(big.NewInt(int64(e.key.E)).Bytes()),
	}}})
}

// mint signs the tokens of all users beforehand, on all processors.
func (e *Environment) mint(users int) error {
	e.tokens = make([]string, users)
	failed := make([]error, runtime.NumCPU())
	var wait sync.WaitGroup
	for part := range failed {
		wait.Go(func() {
			for n := part; n < users; n += len(failed) {
				var err error
				if e.tokens[n], err = e.token(userName(n), "cloud-user"); err != nil {
					failed[part] = err
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(failed...)
}

// token signs one token.
func (e *Environment) token(subject, role string) (string, error) {
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": e.Issuer, "sub": subject, "aud": []string{audience, e.Issuer + "userinfo"}, "azp": "bench",
		"iat": now.Unix(), "exp": now.Add(12 * time.Hour).Unix(), rolesClaim: []string{role},
	})
	t.Header["kid"] = keyID
	return t.SignedString(e.key)
}

func userName(n int) string { return "bench|" + strconv.Itoa(n) }

// awaitKeys waits until the server knows the issuer's key.
func (c *child) awaitKeys(ctx context.Context) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.admin+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.New("the server never became ready")
}
