// Command soak keeps thousands of connections on the real server for as long as
// it is told, cuts a hundred of them each second, and has others ask for much and
// read nothing. Run it from the top of the repository:
//
//	go run ./internal/soak -for 10m
//
// # What must be
//
// Every listener hears each broadcast once and in order across cuts, resumes from
// its last position, and in the end sees its account as it was acknowledged. When
// all have gone, the server holds as many goroutines and descriptors and as much
// memory as it did before the same crowd had come: what it keeps for the first
// time is there by then, what grows is not.
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
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/rig"
)

// options say how long and how many.
type options struct {
	each        time.Duration // how long the soak lasts
	connections int
	churn       int // connections that are cut each second
	slow        int // connections that read nothing
	out         io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := options{out: os.Stdout}
	flag.DurationVar(&o.each, "for", 10*time.Minute, "how long the soak lasts")
	flag.IntVar(&o.connections, "connections", 5000, "how many connections listen")
	flag.IntVar(&o.churn, "churn", 100, "how many of them are cut each second")
	flag.IntVar(&o.slow, "slow", 20, "how many connections besides ask for much and read nothing")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

var (
	errLost  = errors.New("something was lost")
	errGrown = errors.New("the server holds more than before")
)

// settleWithin is how long the server may take to give back what it held.
const settleWithin = time.Minute

// run soaks a server of its own and prints what was.
func run(ctx context.Context, o options) error {
	folder, err := os.MkdirTemp("", "soak-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary, err := rig.Build(ctx, folder)
	if err != nil {
		return err
	}
	s := &rig.Server{Binary: binary, Data: filepath.Join(folder, "data"), Settings: []string{"MARKETPLACE_ACTORS_IDLE_AFTER=2s"}}
	if err := s.Start(ctx); err != nil {
		return err
	}
	defer s.Kill()
	mint, err := rig.NewMint(ctx, s)
	if err != nil {
		return err
	}
	empty, err := s.Census(ctx)
	if err != nil {
		return err
	}
	if _, err := soak(ctx, s, mint, o, o.each/10); err != nil { // what is kept for ever is kept now
		return err
	}
	start, err := s.Quiet(ctx, settleWithin)
	if err != nil {
		return err
	}
	c, err := soak(ctx, s, mint, o, o.each)
	if err != nil {
		return err
	}
	end, err := s.Settled(ctx, start, settleWithin)
	if err != nil {
		return err
	}
	return c.report(ctx, empty, start, end)
}

// soak has a crowd come, listen for a while and go.
func soak(ctx context.Context, s *rig.Server, mint *rig.Mint, o options, lasts time.Duration) (*crowd, error) {
	c, err := newCrowd(ctx, s, mint, o)
	if err != nil {
		return nil, err
	}
	return c, c.play(ctx, lasts)
}

// report prints what was, and says what is wrong with it.
func (c *crowd) report(ctx context.Context, empty, start, end rig.Census) error {
	slow, err := c.server.Metric(ctx, `marketplace_closes_total{code="4000"}`)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(c.options.out, "%d connections for %v, %d cut and resumed, %.0f sent away as too slow, %d streams ended by the server and resumed\n",
		c.options.connections, c.options.each, c.cuts.Load(), slow, c.ended.Load())
	_, _ = fmt.Fprintf(c.options.out, "%d broadcasts and %d grants acknowledged, %d broadcasts heard, %d wrong\n", c.said.Load(), c.granted.Load(), c.heard.Load(), c.faults.Load())
	_, _ = fmt.Fprintf(c.options.out, "\n| when | goroutines | descriptors | sessions | heap, MiB |\n|---|---:|---:|---:|---:|\n")
	for _, line := range []struct {
		when string
		rig.Census
	}{{"before anybody came", empty}, {"start, after a crowd has come and gone", start}, {"with all connections", c.full}, {"end", end}} {
		_, _ = fmt.Fprintf(c.options.out, "| %s | %d | %d | %d | %.1f |\n", line.when, line.Goroutines, line.Descriptors, line.Sessions, float64(line.Heap)/(1<<20))
	}
	for _, w := range c.wrong {
		fmt.Fprintln(os.Stderr, w)
	}
	if c.faults.Load() > 0 {
		err = errors.Join(err, errLost)
	}
	if !end.Within(start) {
		err = errors.Join(err, errGrown)
	}
	return err
}
