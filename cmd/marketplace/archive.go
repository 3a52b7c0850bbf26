package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/archive"
	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// archiveFolder is where archives lie, in the data folder.
const archiveFolder = "archive"

// archiveCommand moves old items of lists into a file.
func archiveCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use: "archive", Short: "Move old items of long lists into a file in the data folder, also while the server works", Args: cobra.NoArgs,
		Long: "Moves items of long lists into a file of the folder archive in the data folder: of each list the newest 1,000 stay,\n" +
			"and of transactions whatever is younger than a year, of the rest whatever is younger than 30 days. A transaction stays\n" +
			"in the list that stands for those moved away, with their sum, the file and its checksum.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := withStore(cmd.Context(), *file, func(c configs.Config, s store) error {
				return moveOld(cmd.Context(), cmd.OutOrStdout(), c, s)
			})
			if !errors.Is(err, persistence.ErrLocked) {
				return err
			}
			c, err := configs.Load(*file, os.Environ())
			if err != nil {
				return err
			}
			return askToArchive(cmd.Context(), cmd.OutOrStdout(), c)
		},
	}
}

// moveOld does it, and tells what was done.
func moveOld(ctx context.Context, out io.Writer, c configs.Config, s persistence.Store) error {
	moved, err := archive.Run(ctx, s, actors.Lists(), filepath.Join(c.Data, archiveFolder), clock.Real{}.Now())
	if err != nil {
		return err
	}
	if moved.File == "" {
		_, err = fmt.Fprintln(out, "no list is long and old enough")
		return err
	}
	_, err = fmt.Fprintf(out, "%d items of %d lists are now in %s\n", moved.Items, moved.Lists, moved.File)
	return err
}

// askToArchive has the server do it that holds the store.
func askToArchive(ctx context.Context, out io.Writer, c configs.Config) error {
	a, err := readListening(c.Data)
	if err != nil {
		return fmt.Errorf("another process holds the store, and it does not say where it listens: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.Admin+"/archive", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the server to archive: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the server does not archive: %s", text)
	}
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

// archive moves old items away for an operator.
func (m *Main) archive(w http.ResponseWriter, r *http.Request) {
	if err := moveOld(r.Context(), w, m.Config, m.store); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
