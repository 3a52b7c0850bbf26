package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// settings are what every verb needs.
type settings struct{ server, issuer, token string }

// kept is what login leaves for the other verbs. It holds no secret but the
// token: the sandbox's issuer asks for no password.
type kept struct {
	Issuer   string    `json:"issuer"`
	Username string    `json:"username"`
	Token    string    `json:"token"`
	Expires  time.Time `json:"expires"`
}

const (
	issuerTimeout = 10 * time.Second
	answerLimit   = 1 << 20
	// renewBefore is how long a kept token must still be good for.
	renewBefore = 30 * time.Second
)

func loginCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use: "login NAME", Short: "Sign in at the sandbox's issuer as alice, bob or olga", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k := kept{Issuer: s.issuer, Username: args[0]}
			if err := k.renew(cmd.Context()); err != nil {
				return err
			}
			if err := k.keep(); err != nil {
				return err
			}
			cmd.PrintErrf("signed in as %s\n", args[0])
			return nil
		},
	}
}

// access returns an access token: the one that was given, else the kept one,
// renewed when it is about to end.
func (s *settings) access(ctx context.Context) (string, error) {
	if s.token != "" {
		return s.token, nil
	}
	k, err := load()
	if err != nil {
		return "", err
	}
	if time.Until(k.Expires) > renewBefore {
		return k.Token, nil
	}
	if err := k.renew(ctx); err != nil {
		return "", err
	}
	return k.Token, k.keep()
}

// renew gets a new token from the sandbox's issuer.
func (k *kept) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
	defer cancel()
	form := url.Values{"grant_type": {"password"}, "username": {k.Username}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(k.Issuer, "/")+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("sign in at %s: %w", k.Issuer, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("sign in at %s: %w", k.Issuer, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return fmt.Errorf("sign in at %s: %w", k.Issuer, err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.AccessToken == "" {
		return fmt.Errorf("%w: %s says %s %s", errNotSignedIn, k.Issuer, resp.Status, answer.Description)
	}
	k.Token, k.Expires = answer.AccessToken, time.Now().Add(time.Duration(answer.ExpiresIn)*time.Second)
	return nil
}

// file is where login keeps the token.
func file() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the folder for settings: %w", err)
	}
	return filepath.Join(dir, "marketctl", "login.json"), nil
}

func load() (kept, error) {
	name, err := file()
	if err != nil {
		return kept{}, err
	}
	text, err := os.ReadFile(filepath.Clean(name))
	if errors.Is(err, fs.ErrNotExist) {
		return kept{}, errNotSignedIn
	}
	var k kept
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err != nil {
		return kept{}, fmt.Errorf("read %s: %w", name, err)
	}
	return k, nil
}

func (k *kept) keep() error {
	name, err := file()
	if err != nil {
		return err
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	return nil
}
