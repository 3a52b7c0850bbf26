package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/audit"
	"github.com/threefoldtech/cloud-marketplace/actors/deployment"
	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/backup"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/redisstore"
)

// errFaults says that an audit found something.
var errFaults = errors.New("it contradicts itself")

// backupCommand writes everything of a store into one file.
func backupCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write everything that is stored into a file, also while the server works", Args: cobra.ExactArgs(1),
		Long: "Writes everything that is stored, as of one moment, into a file, and verifies it. The server may work meanwhile.\n" +
			"The key that seals (sealing.key_file) is not in it: keep that elsewhere.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := configs.Load(*file, os.Environ())
			if err != nil {
				return err
			}
			return makeBackup(cmd.Context(), cmd.OutOrStdout(), c, args[0])
		},
	}
}

// makeBackup writes a backup beside its name first. It gets the name when it was
// verified; what fails stays beside it, for a person to look at.
func makeBackup(ctx context.Context, out io.Writer, c configs.Config, name string) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s is there already", name), err)
	}
	part := name + ".part"
	f, err := os.OpenFile(filepath.Clean(part), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = readBackup(ctx, c, f)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := withBackup(ctx, part, func(s persistence.Store) error { return tellAudit(ctx, out, s) }); err != nil {
		return fmt.Errorf("no backup was made: what was read lies in %s: %w", part, err)
	}
	if err := os.Rename(part, name); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%s is a backup; keep the key that seals (%s) elsewhere\n", name, keyName(c))
	return nil
}

// keyName is the file of the key that seals.
func keyName(c configs.Config) string {
	if c.Sealing.KeyFile != "" {
		return c.Sealing.KeyFile
	}
	return filepath.Join(c.Data, keyFile)
}

// readBackup reads a backup from the store, or from the server that holds it.
func readBackup(ctx context.Context, c configs.Config, w io.Writer) error {
	s, err := openStore(ctx, c, true, slog.New(slog.DiscardHandler))
	if errors.Is(err, persistence.ErrLocked) {
		return askServer(ctx, c, http.MethodGet, "/backup", w) // cut short, it has no tail
	}
	if err != nil {
		return err
	}
	return errors.Join(backup.Write(ctx, w, s, clock.Real{}.Now()), s.Close())
}

// sendBackup writes a backup to an operator.
func (m *Main) sendBackup(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := backup.Write(r.Context(), w, m.store, clock.Real{}.Now()); err != nil {
		m.Log.ErrorContext(r.Context(), "backup not sent", slog.Any("error", err))
		panic(http.ErrAbortHandler) //nolint:forbidigo // the way to tell the other end that there is no more
	}
}

// withBackup makes a store of a backup, beside it, and does something with that.
func withBackup(ctx context.Context, name string, do func(persistence.Store) error) (err error) {
	folder, err := os.MkdirTemp(filepath.Dir(name), ".reading-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	path := filepath.Join(folder, storeFile)
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := boltstore.Restore(path, backup.Read(f)); err != nil {
		return err
	}
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	return errors.Join(ctx.Err(), do(s), s.Close())
}

// tellAudit tells what an audit saw, and what it found.
func tellAudit(ctx context.Context, out io.Writer, s persistence.Store) error {
	r, err := audit.Verify(ctx, s, actors.Kinds(deployment.Terms{}))
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%d entities with %d records and %d snapshots, %d list items, %d messages, %d wake-ups\n",
		r.Entities, r.Records, r.Snapshots, r.Items, r.Messages, r.Wakes)
	for _, h := range r.Halted {
		_, _ = fmt.Fprintf(out, "HALTED: %s\n", h)
	}
	for _, fault := range r.Faults {
		_, _ = fmt.Fprintf(out, "WRONG: %s\n", fault)
	}
	if len(r.Faults) > 0 {
		return fmt.Errorf("%w in %d places", errFaults, len(r.Faults))
	}
	_, _ = fmt.Fprintln(out, "nothing is wrong")
	return nil
}

// restoreCommand makes a store of a backup.
func restoreCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Make a store of a backup, where there is none", Args: cobra.ExactArgs(1),
		Long: "Makes a store of a backup. It refuses where there is a store that holds something: move that away first. Stop the\n" +
			"server first. The history gets a new name, so that clients begin anew; what came after the backup is gone.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := configs.Load(*file, os.Environ())
			if err != nil {
				return err
			}
			return restore(cmd.Context(), cmd.OutOrStdout(), c, args[0])
		},
	}
}

func restore(ctx context.Context, out io.Writer, c configs.Config, name string) error {
	f, err := os.Open(filepath.Clean(name))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	head, err := backup.Check(f) // all of it, before anything is made of it
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := restoreParts(ctx, c, f); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "the store is that of %s\n", time.UnixMilli(head.GetTimeMs()).UTC().Format(time.DateTime))
	s, err := openStore(ctx, c, true, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(tellAudit(ctx, out, s), s.Close())
}

// restoreParts fills the store that is configured.
func restoreParts(ctx context.Context, c configs.Config, from io.Reader) error {
	if c.Store.Redis.URL == "" {
		if err := os.MkdirAll(c.Data, 0o700); err != nil {
			return err
		}
		return boltstore.Restore(filepath.Join(c.Data, storeFile), backup.Read(from))
	}
	options, err := redisOptions(c.Store.Redis)
	if err != nil {
		return fmt.Errorf("store.redis: %w", err)
	}
	return redisstore.Restore(ctx, redisstore.Options{Redis: options, Tag: c.Store.Redis.Tag, AcceptLoss: c.Store.Redis.AcceptLoss}, backup.Read(from))
}

// reading is where a verb reads from that only looks: the store, or a backup.
type reading struct{ backup string }

func (r *reading) flag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.backup, "backup", "", "look at a backup in place of the store; the server may then work")
}

func (r *reading) do(ctx context.Context, file string, look func(persistence.Store) error) error {
	if r.backup != "" {
		return withBackup(ctx, r.backup, look)
	}
	err := withStore(ctx, file, func(_ configs.Config, s store) error { return look(s) })
	if errors.Is(err, persistence.ErrLocked) {
		return fmt.Errorf("%w: stop the server, or look at a backup with --backup", err)
	}
	return err
}

// verifyCommand looks for contradictions.
func verifyCommand(file *string) *cobra.Command {
	var from reading
	cmd := &cobra.Command{
		Use: "verify", Short: "Look for anything that contradicts itself in what is stored", Args: cobra.NoArgs,
		Long: "Reads everything that is stored and names what contradicts itself: journals, snapshots, lists, topics, wake-ups,\n" +
			"books, and what entities say of each other. Stop the server first, or verify a backup.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return from.do(cmd.Context(), *file, func(s persistence.Store) error { return tellAudit(cmd.Context(), cmd.OutOrStdout(), s) })
		},
	}
	from.flag(cmd)
	return cmd
}
