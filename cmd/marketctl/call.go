package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/threefoldtech/cloud-marketplace/client"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

// dial connects as whoever is signed in.
func (s *settings) dial(ctx context.Context) (*client.Client, error) {
	return client.Dial(ctx, client.Config{URL: s.server, Token: s.access, Log: slog.New(slog.DiscardHandler)})
}

// params returns the parameters that an argument gives: JSON, or @ and a file,
// or - for standard input.
func params(args []string) (json.RawMessage, error) {
	text := []byte("{}")
	var err error
	switch {
	case len(args) < 2:
	case args[1] == "-":
		text, err = io.ReadAll(os.Stdin)
	case strings.HasPrefix(args[1], "@"):
		text, err = os.ReadFile(args[1][1:])
	default:
		text = []byte(args[1])
	}
	if err != nil {
		return nil, fmt.Errorf("read the parameters: %w", err)
	}
	if !json.Valid(text) {
		return nil, usageError{fmt.Errorf("the parameters are not JSON: %s", text)}
	}
	return text, nil
}

func callCommand(s *settings) *cobra.Command {
	var commandID string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "call METHOD [JSON | @FILE | -]", Short: "Call a method and print its answer", Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if m := messages.ByPath(args[0]); m != nil && m.Streams() {
				return usageError{fmt.Errorf("%s is a stream: watch it with marketctl watch", args[0])}
			}
			p, err := params(args)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			c, err := s.dial(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			if commandID == "" {
				commandID = messages.NewCommandID()
			}
			answer, err := c.Raw(ctx, args[0], commandID, p)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), answer)
		},
	}
	cmd.Flags().StringVar(&commandID, "command-id", "", "command id (UUIDv7), to ask again for what was asked before")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for the answer")
	return cmd
}

func watchCommand(s *settings) *cobra.Command {
	var after string
	cmd := &cobra.Command{
		Use: "watch METHOD [JSON | @FILE | -]", Short: "Print what a stream says until interrupted", Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if m := messages.ByPath(args[0]); m != nil && !m.Streams() {
				return usageError{fmt.Errorf("%s is no stream: ask it with marketctl call", args[0])}
			}
			p, err := params(args)
			if err != nil {
				return err
			}
			c, err := s.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			over := make(chan error, 1)
			_, err = c.WatchRaw(args[0], p, after, func(e client.Event) {
				switch {
				case e.End != nil:
					over <- e.End
				case e.Begun:
					cmd.PrintErrf("watching after %s, nothing missed: %t\n", e.Position, e.Recovered)
				default:
					if err := printJSON(cmd.OutOrStdout(), e.Result); err != nil {
						over <- err
					}
				}
			})
			if err != nil {
				return err
			}
			select {
			case err := <-over:
				return err
			case <-cmd.Context().Done():
				return nil
			}
		},
	}
	cmd.Flags().StringVar(&after, "after", "", "position to go on from")
	return cmd
}

// printJSON prints JSON for people to read.
func printJSON(w io.Writer, text json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}
