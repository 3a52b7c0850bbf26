// Command faults runs the real server under a load of real clients, breaks what
// it stands on again and again, and then reads back through the API what was
// acknowledged. It prints one line for each fault. Run it from the top of the
// repository:
//
//	go run ./internal/faults            # minutes
//	go run ./internal/faults -for 10m   # each fault
//
// # What counts
//
// Lost is what was acknowledged and cannot be read back. Doubled is what can be
// read back twice, or was never asked for. Inconsistent is what contradicts
// itself: totals, states that did not come to an end, and whatever the verb
// verify finds in the store afterwards. All three must be zero.
//
// Before an audience, operators speak to everybody and grant credit, 1,000 times a
// second together, and every listener has an EVENT and a STATE stream. There, lost
// is a broadcast that a listener did not hear, doubled one that came twice, and
// inconsistent whatever came in another order, a stream that was not recovered,
// and an account that shows less than was acknowledged five seconds after the
// server is back.
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

// options say how long and how hard.
type options struct {
	each  time.Duration // how long the load of each fault lasts
	users int
	pace  time.Duration // between commands of a user; 0: none
	only  string        // a regular expression of the faults
	once  int           // how many faults are suffered at once, each by a server of its own
	out   io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := options{out: os.Stdout}
	flag.DurationVar(&o.each, "for", 30*time.Second, "how long each fault is suffered")
	flag.IntVar(&o.users, "users", 200, "how many users work at once")
	flag.DurationVar(&o.pace, "pace", 0, "how long a user waits between commands")
	flag.StringVar(&o.only, "only", "", "a regular expression of the faults")
	flag.IntVar(&o.once, "at-once", 1, "how many faults are suffered at the same time, each by a server of its own")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// errFound says that something acknowledged was not as it must be.
var errFound = errors.New("what was acknowledged is not what is there")

// run suffers every fault and prints the table.
func run(ctx context.Context, o options) error {
	choose, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "faults-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary, err := rig.Build(ctx, folder)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(o.out, "| fault | store | rounds | acknowledged | of them across entities | lost | doubled | inconsistent |\n|---|---|---:|---:|---:|---:|---:|---:|")
	results := sufferAll(ctx, o, choose, binary, folder)
	wrong := false
	for i, f := range faults() {
		r := <-results[i]
		if r == nil {
			continue
		}
		if r.err != nil {
			return fmt.Errorf("%s on %s: %w", f.name, f.store(), r.err)
		}
		_, _ = fmt.Fprintf(o.out, "| %s | %s | %d | %d | %d | %d | %d | %d |\n", f.name, f.store(), r.rounds, r.acked, r.across, r.lost, r.doubled, r.inconsistent)
		for _, line := range r.details {
			_, _ = fmt.Fprintln(os.Stderr, line)
		}
		wrong = wrong || r.lost+r.doubled+r.inconsistent > 0
	}
	if wrong {
		return errFound
	}
	return nil
}

// sufferAll suffers the faults that were chosen, so many at once. Each has a
// channel for its result; nil: it was not chosen.
func sufferAll(ctx context.Context, o options, choose *regexp.Regexp, binary, folder string) []chan *result {
	turns := make(chan struct{}, max(o.once, 1))
	var results []chan *result
	for range faults() {
		results = append(results, make(chan *result, 1))
	}
	go func() {
		for i, f := range faults() {
			if !choose.MatchString(f.name) || ctx.Err() != nil {
				results[i] <- nil
				continue
			}
			turns <- struct{}{}
			go func() {
				r := suffer(ctx, o, f, binary, filepath.Join(folder, fmt.Sprint("data", i)))
				<-turns
				results[i] <- r
			}()
		}
	}()
	return results
}
