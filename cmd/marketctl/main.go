// Command marketctl talks to a marketplace from the command line. It knows the
// schema and nothing else: every method of it can be called, watched and described.
//
// Data goes to standard output, talk to standard error. It exits with 0 when
// all went well, 2 for wrong usage, 3 when the access token is missing or
// refused, 4 when what was named does not exist, 5 when the request was refused
// for another reason, and 1 for everything else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/code"

	"github.com/threefoldtech/cloud-marketplace/client"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

// The exit codes.
const (
	exitOther    = 1
	exitUsage    = 2
	exitToken    = 3
	exitNotFound = 4
	exitRefused  = 5
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && !interrupted {
		fmt.Fprintln(os.Stderr, "marketctl:", err)
		os.Exit(exitCode(err))
	}
}

// usageError says that the command line makes no sense.
type usageError struct{ error }

// errNotSignedIn says that there is no access token to be had.
var errNotSignedIn = errors.New("not signed in: marketctl login NAME, or give a token with --token or MARKETPLACE_TOKEN")

func exitCode(err error) int {
	var usage usageError
	var refusal *messages.Error
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errNotSignedIn), errors.Is(err, client.ErrNotSignedIn):
		return exitToken
	case errors.As(err, &refusal):
		switch messages.Rule(refusal.Reason).GetCode() { //nolint:exhaustive // the rest are refusals
		case code.Code_UNAUTHENTICATED:
			return exitToken
		case code.Code_NOT_FOUND:
			return exitNotFound
		default:
			return exitRefused
		}
	}
	return exitOther
}

// command returns the program with its verbs.
func command() *cobra.Command {
	s := &settings{}
	root := &cobra.Command{
		Use: "marketctl", Short: "Talk to a ThreeFold Cloud Marketplace", SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVar(&s.server, "server", envOr("MARKETPLACE_URL", "ws://127.0.0.1:8080/ws"), "URL of the marketplace's WebSocket")
	flags.StringVar(&s.issuer, "issuer", envOr("MARKETPLACE_ISSUER", "http://127.0.0.1:8090/"), "URL of the sandbox's issuer")
	flags.StringVarP(&s.token, "token", "t", os.Getenv("MARKETPLACE_TOKEN"), "access token, in place of the one that login keeps")
	root.AddCommand(loginCommand(s), callCommand(s), watchCommand(s), methodsCommand(), describeCommand())
	return root
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// args holds a verb to a number of arguments.
func args(atLeast, atMost int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < atLeast || len(args) > atMost {
			return usageError{fmt.Errorf("usage: %s", cmd.UseLine())}
		}
		return nil
	}
}
