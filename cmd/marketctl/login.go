package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/threefoldtech/cloud-marketplace/client"
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
	token, ttl, err := client.SignIn(ctx, k.Issuer, k.Username)
	k.Token, k.Expires = token, time.Now().Add(ttl)
	return err
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
