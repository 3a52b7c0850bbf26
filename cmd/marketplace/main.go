// Command marketplace is the backend of the ThreeFold Cloud Marketplace.
//
// Without arguments it serves: on a machine with nothing configured, on an
// embedded store and a sandbox world, all on loopback.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // time zones of settings, also where the machine has none

	"github.com/spf13/cobra"

	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/internal/fault"
	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// Most of the heap is idle actors that live on: collecting half as
		// often takes a tenth off the processor time of a command.
		debug.SetGCPercent(200)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "marketplace:", err)
		os.Exit(1)
	}
}

// command returns the program with its verbs.
func command() *cobra.Command {
	var file string
	root := &cobra.Command{
		Use:           "marketplace",
		Short:         "The backend of the ThreeFold Cloud Marketplace",
		Long:          "Serves the marketplace. Without configuration everything runs in a sandbox on loopback.",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), file)
		},
	}
	root.PersistentFlags().StringVar(&file, "config", "", "configuration file (YAML); see configs/")
	root.AddCommand(serveCommand(&file), demoCommand(&file), rekeyCommand(&file), forgetCommand(&file), compactCommand(&file),
		backupCommand(&file), restoreCommand(&file), verifyCommand(&file), journalCommand(&file), archiveCommand(&file))
	return root
}

// serveCommand serves, and for tests may be told where to die.
func serveCommand(file *string) *cobra.Command {
	var dieAt string
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve, the same as without a verb", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dieAt != "" {
				if err := fault.Arm(dieAt); err != nil {
					return err
				}
			}
			return serve(cmd.Context(), *file)
		},
	}
	cmd.Flags().StringVar(&dieAt, "die-at", "", "end as by kill -9 at a point of the code, for example sealed#3")
	cmd.Flags().Lookup("die-at").Hidden = true
	return cmd
}

// serve runs the server until it is told to stop.
func serve(ctx context.Context, file string) error {
	c, err := configs.Load(file, os.Environ())
	if err != nil {
		return err
	}
	log, err := telemetry.Logger(os.Stderr, c.Log.Level, c.Log.Format)
	if err != nil {
		return err
	}
	m := &Main{Config: c, Log: log, Ready: func(a Addresses) { fmt.Print(banner(c, a)) }}
	if err := m.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
