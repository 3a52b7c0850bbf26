package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/redisstore"
)

// offline does something with the store of a configuration, which no server may
// run on meanwhile, and compacts it afterwards: what was deleted is then not on
// the disk any more.
func offline(ctx context.Context, file string, do func(configs.Config, persistence.Store) error) error {
	return withStore(ctx, file, func(c configs.Config, s store) error {
		err := do(c, s)
		if r, is := s.(*redisstore.Store); is {
			return errors.Join(err, r.Compact(ctx))
		}
		if failed := s.Close(); failed != nil {
			return errors.Join(err, failed)
		}
		return errors.Join(err, boltstore.Compact(filepath.Join(c.Data, storeFile))) // also what was done before it failed is done
	})
}

// withStore does something with the store of a configuration, which must be
// there and which no server may run on meanwhile.
func withStore(ctx context.Context, file string, do func(configs.Config, store) error) (err error) {
	c, err := configs.Load(file, os.Environ())
	if err != nil {
		return err
	}
	s, err := openStore(ctx, c, true, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	release, err := hold(ctx, s, c, func(error) {}) // what verbs do is right beside a server, too, if it must be
	if err != nil {
		return err
	}
	defer release()
	return do(c, s)
}

// askServer has the server do something that holds the store, and writes its answer.
func askServer(ctx context.Context, c configs.Config, method, path string, to io.Writer) error {
	a, err := readListening(c.Data)
	if err != nil {
		return fmt.Errorf("another process holds the store, and it does not say where it listens: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.Admin+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the server that holds the store: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("the server refuses: %s", text)
	}
	_, err = io.Copy(to, resp.Body)
	return err
}

// compactCommand writes the store anew.
func compactCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use: "compact", Short: "Write the store anew, without what was deleted or replaced", Args: cobra.NoArgs,
		Long: "Writes the store anew, without what was deleted or replaced, and puts it in place of the old file. Stop the server first.\n" +
			"Of a Redis, the log is rewritten.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return offline(cmd.Context(), *file, func(configs.Config, persistence.Store) error { return nil })
		},
	}
}
