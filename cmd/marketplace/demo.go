package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/threefoldtech/cloud-marketplace/configs"
)

// demoScale is how fast the demo's hours pass: ten a second.
const demoScale = 36_000

// demoCommand plays the main job with a real server, a real socket and a real kill.
func demoCommand(file *string) *cobra.Command {
	var data string
	var asJSON, exit bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Play the main job in under a minute, then keep serving", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := configs.Load(*file, os.Environ())
			if err != nil {
				return err
			}
			if !exit {
				if err := free(cmd.Context(), c); err != nil {
					return err
				}
			}
			narration := cmd.OutOrStdout()
			if asJSON {
				narration = cmd.ErrOrStderr()
			}
			return playDemo(cmd.Context(), *file, data, narration, func(s *Summary) error {
				if !asJSON {
					return nil
				}
				text, err := json.MarshalIndent(s, "", "  ")
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
				}
				return err
			}, func(ctx context.Context, d *demo) error {
				if exit {
					return nil
				}
				return d.serveOn(ctx, c)
			})
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "folder for the data; must not exist yet (a temporary one, removed at the end, if not given)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the summary as JSON on standard output, and the narration on standard error")
	cmd.Flags().BoolVar(&exit, "exit", false, "end after the summary in place of serving on")
	return cmd
}

// free says which of the addresses that are served on in the end is taken: it
// is better heard before the story than after it.
func free(ctx context.Context, c configs.Config) error {
	for _, address := range []string{c.Listen.API, c.Listen.Admin, c.World.Issuer, c.World.GridProxy} {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("the demo serves on when it is over, which --exit prevents: %w", err)
		}
		_ = l.Close()
	}
	return nil
}

// playDemo plays, sums up from the store, and goes on with what then is to happen.
func playDemo(ctx context.Context, file, data string, narration io.Writer, tell func(*Summary) error, then func(context.Context, *demo) error) error {
	if data == "" {
		dir, err := os.MkdirTemp("", "marketplace-demo-")
		if err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		data = filepath.Join(dir, "data")
	}
	if _, err := os.Stat(data); err == nil {
		return fmt.Errorf("%s exists already: the demo begins with a fresh folder", data)
	}
	d := newDemo(file, data, narration)
	err := d.play(ctx)
	d.close()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d.say("The server is stopped. What it left behind is read from its store:")
	s, err := d.sumUp(ctx)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d.tellSummary(s)
	if err := tell(s); err != nil {
		return err
	}
	if !s.OK() {
		return errors.New("demo: what the store says is not what was heard; see the checks above")
	}
	return then(ctx, d)
}

// serveOn serves what the demo left, at the configured places and pace.
func (d *demo) serveOn(ctx context.Context, c configs.Config) error {
	c.Data = d.data
	m := &Main{Config: c, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), Ready: func(a Addresses) {
		_, _ = fmt.Fprint(d.narration, banner(c, a))
		d.say("Serving on, with what the demo left. Stop with Ctrl-C.")
	}}
	if err := m.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// say tells one line of the story.
func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.narration, "%6.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}
