// Command bench measures what the way through socket and actor costs: durable
// commands a second as a share of what the store alone can do with the same
// commits, and the server's CPU time for each command. It also measures entities
// without a socket, and the reading of topics.
//
// Server, store and load generator share the machine. Rounds alternate, so
// that a machine whose speed drifts slows both; medians are printed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/threefoldtech/cloud-marketplace/bench/gateway"
)

// shape is one form of load: connections, and requests in flight on each.
type shape struct {
	connections, depth int
	goalRatio          float64 // of the store alone, with one commit in flight for each connection
	goalCPU            float64 // microseconds of the server for each command
}

var shapes = []shape{{64, 16, 0.90, 50}, {1000, 1, 0.35, 120}}

func main() {
	gateway.Peer(os.Args)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rounds := flag.Int("rounds", 3, "how often each is measured")
	length := flag.Duration("for", 8*time.Second, "how long each measurement takes, after a warm-up of a quarter of it")
	only := flag.String("only", "", "measure one table: server, entities, topics, stores or gateway; without it, all but gateway")
	sockets := socketFlags()
	flag.Parse()
	sockets.Rounds, sockets.For = *rounds, *length
	if err := run(ctx, *only, *rounds, *length, *sockets); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// socketFlags are the flags of the table of the gateway.
func socketFlags() *gateway.Options {
	o := &gateway.Options{}
	flag.IntVar(&o.Connections, "connections", 15_000, "gateway: idle connections, and those that a push goes to")
	flag.IntVar(&o.Crowd, "crowd", 5_000, "gateway: connections of bursts and events")
	flag.IntVar(&o.Sessions, "sessions", 100_000, "gateway: sessions without sockets")
	flag.StringVar(&o.Profiles, "profiles", "", "gateway: a folder for profiles of the marketplace; the figures are then not for a table")
	flag.Func("part", "gateway: parts to measure, by comma: memory, push, burst, read, connect, events, sessions", func(parts string) error {
		o.Only = strings.Split(parts, ",")
		return nil
	})
	return o
}

// figures are what one measurement gave.
type figures struct {
	rate, cpu float64 // commands or commits a second; server's microseconds for each
	p50, p99  time.Duration
}

func run(ctx context.Context, only string, rounds int, length time.Duration, sockets gateway.Options) error {
	dir, err := os.MkdirTemp("", "marketplace-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Printf("%s, %d processors, %d rounds of %v each\n\n", runtime.Version(), runtime.NumCPU(), rounds, length)
	tables := []struct {
		name    string
		measure func() error
	}{
		{"server", func() error { return commands(ctx, dir, rounds, length) }},
		{"entities", func() error { return entities(ctx, dir, rounds, length) }},
		{"topics", func() error { return topics(ctx, dir, rounds) }},
		{"stores", func() error { return stores(ctx, dir, rounds, length) }},
		{"gateway", func() error { return gateway.Run(ctx, dir, sockets) }},
	}
	known := only == ""
	for _, t := range tables {
		if only != "" && only != t.name || only == "" && t.name == "gateway" { // that takes longer than all others
			continue
		}
		known = true
		if err := t.measure(); err != nil {
			return err
		}
	}
	if !known {
		return fmt.Errorf("no table is called %q", only)
	}
	return nil
}

// commands measures the whole way against the store alone.
func commands(ctx context.Context, dir string, rounds int, length time.Duration) error {
	binary := filepath.Join(dir, "marketplace")
	if err := build(ctx, binary); err != nil {
		return err
	}
	fmt.Println("| connections × in flight | commands/s | p50 | p99 | server CPU µs/command | store alone, commits/s | ratio | goals: ratio, CPU |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for n, s := range shapes {
		var through, alone []figures
		for round := range rounds {
			data := filepath.Join(dir, fmt.Sprintf("data-%d-%d", n, round))
			f, err := throughServer(ctx, binary, data, s, length)
			if err != nil {
				return err
			}
			through = append(through, f)
			sample, err := sampleCommit(ctx, filepath.Join(data, "marketplace.db"), s.connections)
			if err != nil {
				return err
			}
			if f, err = storeAlone(ctx, filepath.Join(dir, fmt.Sprintf("alone-%d-%d.db", n, round)), sample, s.connections, length); err != nil {
				return err
			}
			alone = append(alone, f)
			if err := os.RemoveAll(data); err != nil {
				return err
			}
		}
		print(s, through, alone)
	}
	return nil
}

func print(s shape, through, alone []figures) {
	var ratios []float64
	for i := range through {
		ratios = append(ratios, through[i].rate/alone[i].rate)
	}
	rate := func(f figures) float64 { return f.rate }
	fmt.Printf("| %d × %d | %.0f | %v | %v | %.1f | %.0f | %.2f (%.2f…%.2f) | ≥ %.2f, ≤ %.0f |\n", s.connections, s.depth,
		median(through, rate), mid(through, func(f figures) time.Duration { return f.p50 }), mid(through, func(f figures) time.Duration { return f.p99 }),
		median(through, func(f figures) float64 { return f.cpu }), median(alone, rate),
		middle(ratios), slices.Min(ratios), slices.Max(ratios), s.goalRatio, s.goalCPU)
}

func median(all []figures, of func(figures) float64) float64 {
	values := make([]float64, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	return middle(values)
}

func mid(all []figures, of func(figures) time.Duration) time.Duration {
	return time.Duration(median(all, func(f figures) float64 { return float64(of(f)) })).Round(100 * time.Microsecond)
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
