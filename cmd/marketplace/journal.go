package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/deployment"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// journalCommand shows what happened to one entity.
func journalCommand(file *string) *cobra.Command {
	var from reading
	cmd := &cobra.Command{
		Use: "journal KIND ID", Short: "Show what is stored of one entity: its events, its snapshots and what it is like", Args: cobra.ExactArgs(2),
		Example: "  marketplace journal user 'auth0|5f7c8ec7c33c6c004bbafe82'\n  marketplace journal node 11 --backup monday.backup",
		RunE: func(cmd *cobra.Command, args []string) error {
			return from.do(cmd.Context(), *file, func(s persistence.Store) error {
				return showJournal(cmd.Context(), cmd.OutOrStdout(), s, persistence.Entity{Kind: args[0], ID: args[1]})
			})
		},
	}
	from.flag(cmd)
	return cmd
}

// showJournal shows an entity in lines: a snapshot, or a record with its events.
// What is sealed shows as that.
func showJournal(ctx context.Context, out io.Writer, s persistence.Store, e persistence.Entity) error {
	var kind *entity.Kind
	for _, k := range actors.Kinds(deployment.Terms{}) {
		if k.Name == e.Kind {
			kind = k
		}
	}
	if kind == nil {
		return fmt.Errorf("there is no kind %q", e.Kind)
	}
	l, err := s.Load(ctx, e)
	if err != nil {
		return err
	}
	if l.Version == 0 && l.Halted == "" {
		return fmt.Errorf("there is no %s", e)
	}
	if l.Halted != "" {
		_, _ = fmt.Fprintf(out, "HALTED: %s\n", l.Halted)
	}
	for _, snapshot := range l.Snapshots {
		_, _ = fmt.Fprintf(out, "%d\tsnapshot of %d bytes\n", snapshot.Version, len(snapshot.Data))
	}
	for _, r := range l.Tail {
		if err := showRecord(out, kind, r); err != nil {
			return fmt.Errorf("version %d: %w", r.Version, err)
		}
	}
	state, err := entity.Replay(kind, e.ID, l)
	if err != nil {
		return err
	}
	return showMessage(out, fmt.Sprintf("%d\tis now", l.Version), state)
}

func showRecord(out io.Writer, kind *entity.Kind, r persistence.Record) error {
	b := &journalv1.Batch{}
	if err := proto.Unmarshal(r.Events, b); err != nil {
		return err
	}
	for _, record := range b.GetRecords() {
		at := time.UnixMilli(record.GetTimeMs()).UTC().Format("2006-01-02T15:04:05.000Z")
		if c := record.GetCommand(); c != nil {
			_, _ = fmt.Fprintf(out, "%d\t%s\tcommand %s of %s\n", r.Version, at, commandID(c.GetCommandId()), c.GetSubject())
		}
		for _, data := range record.GetEvents() {
			event, err := kind.Event(data)
			if err != nil {
				return err
			}
			if err := showMessage(out, fmt.Sprintf("%d\t%s", r.Version, at), event); err != nil {
				return err
			}
		}
	}
	return nil
}

// commandID spells a command id as clients do.
func commandID(b []byte) string {
	id, err := uuid.FromBytes(b)
	if err != nil {
		return hex.EncodeToString(b)
	}
	return id.String()
}

func showMessage(out io.Writer, head string, m proto.Message) error {
	text, err := messages.AppendJSON(nil, messages.Masked(m))
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\t%s\n", head, text)
	}
	return err
}
