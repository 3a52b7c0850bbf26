package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/threefoldtech/cloud-marketplace/actors/deployment"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/internal/keyring"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// keyFile is the key of a sandbox, in its data folder.
const keyFile = "sealing.key"

// openRing reads the keys that are configured. A sandbox without one makes one.
func openRing(c configs.Config) (*keyring.Ring, error) {
	file := c.Sealing.KeyFile
	if file == "" {
		file = filepath.Join(c.Data, keyFile)
		if err := makeKey(file); err != nil {
			return nil, fmt.Errorf("make the key that seals: %w", err)
		}
	}
	current, err := readKey(file)
	if err != nil {
		return nil, err
	}
	var previous [][]byte
	for _, f := range c.Sealing.PreviousFiles {
		key, err := readKey(f)
		if err != nil {
			return nil, err
		}
		previous = append(previous, key)
	}
	return keyring.New(current, previous...)
}

// makeKey writes a new key unless there is one. It appears whole or not at all:
// half a key, or another, would lose what is sealed.
func makeKey(file string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := base64.StdEncoding.EncodeToString(keyring.NewKey()) + "\n"
	f, err := os.CreateTemp(filepath.Dir(file), keyFile+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) { // never in place of another's
		return err
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func readKey(file string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, fmt.Errorf("read the key that seals: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != keyring.Size {
		return nil, fmt.Errorf("%s does not hold a key: %d bytes in base64", file, keyring.Size)
	}
	return key, nil
}

// rekeyCommand wraps every data key anew.
func rekeyCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use: "rekey", Short: "Wrap the keys of all accounts and deployments with sealing.key_file", Args: cobra.NoArgs,
		Long: "Wraps the keys of all accounts and deployments with the key of sealing.key_file. Those of sealing.previous_files\n" +
			"may be thrown away afterwards. Stop the server first. What was done stays done: it may be run again at any time.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return offline(cmd.Context(), *file, func(c configs.Config, store persistence.Store) error {
				ring, err := openRing(c)
				if err != nil {
					return err
				}
				changed, all, err := rekey(cmd.Context(), store, ring)
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%d of %d keys were wrapped anew\n", changed, all)
				return err
			})
		},
	}
}

// rekey wraps every data key with the current key of the ring, and says how
// many it was and how many there are. The error names those that no key unwraps.
func rekey(ctx context.Context, store persistence.Store, ring *keyring.Ring) (changed, all int, err error) {
	err = eachKey(ctx, store, func(k persistence.EntityKey) error {
		all++
		if ring.Current(k.Key) {
			return nil
		}
		key, err := ring.Unwrap(k.Entity.String(), k.Key)
		if err != nil {
			return err
		}
		if _, err = store.SwapKey(ctx, k.Entity, k.Key, ring.Wrap(k.Entity.String(), key)); err == nil {
			changed++
		}
		return err
	})
	return changed, all, err
}

// eachKey does something with every data key. The error names those with which
// it failed.
func eachKey(ctx context.Context, store persistence.Store, do func(persistence.EntityKey) error) error {
	var faults []error
	for cursor, done := "", false; !done; done = cursor == "" {
		page, next, err := store.Keys(ctx, cursor, 1000)
		if err != nil {
			return errors.Join(append(faults, err)...)
		}
		cursor = next
		for _, k := range page {
			if err := do(k); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", k.Entity, err))
			}
		}
	}
	return errors.Join(faults...)
}

// forgetCommand deletes what opens the sealed values of an account.
func forgetCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use: "forget USER", Short: "Delete the keys of an account and its deployments, so that nobody can open what is sealed there", Args: cobra.ExactArgs(1),
		Long: "Deletes the keys of an account and of its deployments. What is sealed there cannot be opened any more, by nobody and\n" +
			"for ever, but from a copy of the old file, such as a backup; the books and the rest of the journal stay. Stop the server first.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return offline(cmd.Context(), *file, func(_ configs.Config, store persistence.Store) error {
				deleted, err := forget(cmd.Context(), store, args[0])
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%d keys of %s were deleted\n", deleted, args[0])
				return err
			})
		},
	}
}

// forget deletes the keys of a user and of every deployment that ever was the
// user's, and says how many.
func forget(ctx context.Context, store persistence.Store, user string) (deleted int, err error) {
	kind := deployment.Kind(deployment.Terms{})
	err = eachKey(ctx, store, func(k persistence.EntityKey) error {
		theirs, err := belongs(ctx, store, kind, k.Entity, user)
		if err != nil {
			return fmt.Errorf("whose it is cannot be read: %w", err)
		}
		if !theirs {
			return nil
		}
		if _, err = store.SwapKey(ctx, k.Entity, k.Key, nil); err == nil {
			deleted++
		}
		return err
	})
	return deleted, err
}

// belongs says whether an entity is a user's, or the user.
func belongs(ctx context.Context, store persistence.Store, deployments *entity.Kind, e persistence.Entity, user string) (bool, error) {
	if e.Kind != deployments.Name {
		return e == persistence.Entity{Kind: "user", ID: user}, nil
	}
	l, err := store.Load(ctx, e)
	if err != nil {
		return false, err
	}
	if l.Version == 0 && l.Halted != "" {
		return false, errors.New(l.Halted)
	}
	state, err := entity.Replay(deployments, e.ID, l)
	if err != nil {
		return false, err
	}
	d, ok := state.(*journalv1.DeploymentState)
	return ok && d.GetUserId() == user, nil
}
