package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

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
				now, err := (&Main{Config: c}).domain()
				if err != nil {
					return err
				}
				return moveOld(cmd.Context(), cmd.OutOrStdout(), c, s, now)
			})
			if !errors.Is(err, persistence.ErrLocked) {
				return err
			}
			c, err := configs.Load(*file, os.Environ())
			if err != nil {
				return err
			}
			return askServer(cmd.Context(), c, http.MethodPost, "/archive", cmd.OutOrStdout())
		},
	}
}

// moveOld does it, and tells what was done.
func moveOld(ctx context.Context, out io.Writer, c configs.Config, s persistence.Store, domain clock.Clock) error {
	moved, err := archive.Run(ctx, s, actors.Lists(), filepath.Join(c.Data, archiveFolder), domain.Now())
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

// archive moves old items away for an operator.
func (m *Main) archive(w http.ResponseWriter, r *http.Request) {
	if err := moveOld(r.Context(), w, m.Config, m.store, m.clock); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// keepArchiving moves old items away now and then, until ctx ends.
func (m *Main) keepArchiving(ctx context.Context) {
	for clock.Pause(ctx, m.Config.Store.ArchiveEvery) {
		var said bytes.Buffer
		if err := moveOld(ctx, &said, m.Config, m.store, m.clock); err != nil {
			m.Log.ErrorContext(ctx, "ALARM: lists not archived", slog.Any("error", err))
			continue
		}
		m.Log.InfoContext(ctx, "lists archived", slog.String("done", strings.TrimSpace(said.String())))
	}
}
