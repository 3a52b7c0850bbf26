// Command attacks runs the real server and does to it what somebody would who
// means it harm: forged tokens through every door, frames that are none, floods,
// silence, other sites' pages, fields that nobody may set. It prints one line for
// each attack as a table in Markdown. Run it from the top of the repository:
//
//	go run ./internal/attacks
//
// # What holds
//
// An attack is held when the server answers as docs/PROTOCOL.md says it does.
// Meanwhile honest clients work, who must notice nothing: each broadcast reaches
// them once and in order, each call is answered. Afterwards the server must hold
// as many goroutines and descriptors and as much memory as before.
//
// A line that is known not to hold says why; it counts as wrong when it begins to
// hold, so that the list of what is known stays true.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/rig"
)

// options say how long and which.
type options struct {
	flood time.Duration // how long a flood lasts that nothing ends
	long  bool          // attacks that take most of a minute, too
	only  string        // a regular expression of the attacks
	out   io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := options{out: os.Stdout, long: true}
	flag.DurationVar(&o.flood, "flood", 5*time.Second, "how long a flood lasts that nothing ends")
	flag.StringVar(&o.only, "only", "", "a regular expression of the attacks")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "attacks:", err)
		os.Exit(1)
	}
}

// errFound says that something was not as it should be, or not as it was known to be.
var errFound = errors.New("the table has lines that are wrong")

// run attacks a server of its own and prints the table.
func run(ctx context.Context, o options) error {
	choose, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "attacks-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary, err := rig.Build(ctx, folder)
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s := &rig.Server{Binary: binary, Data: filepath.Join(folder, "data"), Log: log, Settings: []string{
		"MARKETPLACE_LOG_LEVEL=debug", "MARKETPLACE_ACTORS_IDLE_AFTER=2s",
	}}
	if err := s.Start(ctx); err != nil {
		return err
	}
	defer s.Kill()
	f, err := newField(ctx, s, o)
	if err != nil {
		return err
	}
	defer f.close()
	return f.play(ctx, choose)
}
