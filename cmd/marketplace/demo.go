package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/threefoldtech/cloud-marketplace/configs"
)

// demoScale is how fast the demo's hours pass: ten a second.
const demoScale = 36_000

// demoCommand plays the main job with a real server, a real socket and a real kill.
func demoCommand() *cobra.Command {
	var data string
	var asJSON, exit bool
	cmd := &cobra.Command{
		Use: "demo", Short: "Play the main job in under a minute, then keep serving", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			narration := cmd.OutOrStdout()
			if asJSON {
				narration = cmd.ErrOrStderr()
			}
			return playDemo(cmd.Context(), data, narration, func(s *Summary) error {
				if !asJSON {
					return nil
				}
				text, err := json.MarshalIndent(s, "", "  ")
				if err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), string(text))
				}
				return err
			}, exit)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "folder for the data; must not exist yet (a temporary one, removed at the end, if not given)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the summary as JSON on standard output, and the narration on standard error")
	cmd.Flags().BoolVar(&exit, "exit", false, "end after the summary in place of serving on")
	return cmd
}

// playDemo plays, sums up from the store, and serves on unless told not to.
func playDemo(ctx context.Context, data string, narration io.Writer, tell func(*Summary) error, exit bool) error {
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
	d := newDemo(data, narration)
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
	if exit {
		return nil
	}
	return d.serveOn(ctx)
}

// serveOn serves what the demo left, at the usual places and the usual pace.
func (d *demo) serveOn(ctx context.Context) error {
	c := configs.Default()
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
