// Package gateway measures the gateway of the marketplace beside peers: a
// minimal server on the library centrifuge, as it comes and with its pool of
// write buffers, and a bare epoll server, which does nothing but write and is
// the ceiling.
//
// Every server is a process of its own and new for each round; rounds
// alternate. What a server costs is the processor time of its process. The load
// is one thread of the bench, the same for all. The marketplace is the binary,
// not a copy of its wiring; peers are this program, started again.
//
// # Fairness
//
// The peers do what a connection needs and nothing else: they keep no journal,
// check no schema, have no limits for a client, and centrifuge's connections
// have no actor unless they read. Where the marketplace writes to the disk
// before it pushes, that is in its figures.
package gateway

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// Options say how much is measured.
type Options struct {
	Connections int           // of memory, pushes to all and connecting
	Crowd       int           // of bursts and events
	Sessions    int           // without sockets
	Rounds      int           // of each
	For         time.Duration // a measurement takes, after a warm-up of a quarter of it
	Only        []string      // tables; all if empty
	Profiles    string        // a folder for profiles of the marketplace; empty: none
}

// table is one of the bench's tables.
type table struct {
	name    string
	servers []string
	measure func(ctx context.Context, env *Environment, server string, o Options) (map[string]float64, error)
	print   func(r results, o Options)
}

var tables = []table{
	{"memory", []string{marketplace, library, pooled, ceiling}, measureMemory, printMemory},
	{"push", []string{marketplace, library, pooled, ceiling, wideCeiling}, measurePush, printPush},
	{"burst", []string{marketplace, library, ceiling}, measureBurst, printBurst},
	{"read", []string{marketplace, library, noSocket}, measureRead, printRead},
	{"connect", []string{marketplace, library, pooled}, measureConnect, printConnect},
	{"events", []string{marketplace}, measureEvents, printEvents},
	{"sessions", []string{sessions}, nil, printSessions},
}

// Run measures and prints.
func Run(ctx context.Context, dir string, o Options) error {
	raiseFiles()
	own, err := os.MkdirTemp(dir, "gateway-")
	if err != nil {
		return err
	}
	env := &Environment{Dir: own, Sessions: o.Sessions, Idle: min(2*o.For, idleAtMost), Profiles: o.Profiles}
	done, err := env.open(ctx, max(o.Connections, o.Crowd, 64))
	if err != nil {
		return err
	}
	defer done()
	for _, t := range tables {
		if len(o.Only) > 0 && !slices.Contains(o.Only, t.name) {
			continue
		}
		r := results{}
		for round := range o.Rounds {
			for _, server := range t.servers {
				fmt.Fprintf(os.Stderr, "%s, round %d: %s\n", t.name, round+1, server)
				if err := t.round(ctx, env, server, o, r); err != nil {
					return fmt.Errorf("%s of %s: %w", t.name, server, err)
				}
			}
		}
		t.print(r, o)
	}
	return nil
}

// round adds one round's figures of a server.
func (t table) round(ctx context.Context, env *Environment, server string, o Options, r results) error {
	if t.measure == nil {
		ours, bare, err := measureSessions(ctx, env, 10)
		r.add(marketplace, ours)
		r.add(ceiling, bare)
		return err
	}
	f, err := t.measure(ctx, env, server, o)
	r.add(server, f)
	return err
}

// idleAtMost is two pulses of the marketplace's renewals.
const idleAtMost = 10 * time.Second

// raiseFiles allows as many open files as the system lets this process have;
// what it starts inherits that.
func raiseFiles() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	}
}

// with runs a measurement on a server and the load on it.
func with(ctx context.Context, env *Environment, table, server string, measure func(*crowd) (map[string]float64, error)) (map[string]float64, error) {
	c, err := gather(ctx, env, table, server)
	if err != nil {
		return nil, err
	}
	f, err := measure(c)
	if stopped := c.leave(); err == nil {
		err = stopped
	}
	return f, err
}

func measureMemory(ctx context.Context, env *Environment, server string, o Options) (map[string]float64, error) {
	return with(ctx, env, "memory", server, func(c *crowd) (map[string]float64, error) { return c.memory(o.Connections) })
}

func measurePush(ctx context.Context, env *Environment, server string, o Options) (map[string]float64, error) {
	return with(ctx, env, "push", server, func(c *crowd) (map[string]float64, error) {
		if err := c.enter(0, o.Connections, c.everything); err != nil {
			return nil, err
		}
		time.Sleep(time.Second)
		return c.single(20)
	})
}

func measureBurst(ctx context.Context, env *Environment, server string, o Options) (map[string]float64, error) {
	return with(ctx, env, "burst", server, func(c *crowd) (map[string]float64, error) {
		if err := c.enter(0, o.Crowd, c.everything); err != nil {
			return nil, err
		}
		time.Sleep(time.Second)
		return c.burst(5, overlapping)
	})
}

// The load of a read, and how many pushes of a burst overlap.
const (
	readers, readDepth = 64, 16
	overlapping        = 100
	eventRate          = 2000
)

func measureRead(ctx context.Context, env *Environment, server string, o Options) (map[string]float64, error) {
	if server == noSocket {
		return readsWithoutSocket(ctx, env, readers, readDepth, o.For)
	}
	return with(ctx, env, "read", server, func(c *crowd) (map[string]float64, error) {
		if err := c.enter(0, readers, c.account); err != nil {
			return nil, err
		}
		return c.reads(readDepth, o.For)
	})
}

func measureConnect(ctx context.Context, env *Environment, server string, o Options) (map[string]float64, error) {
	return with(ctx, env, "connect", server, func(c *crowd) (map[string]float64, error) { return c.connects(o.For) })
}

func measureEvents(ctx context.Context, env *Environment, server string, o Options) (map[string]float64, error) {
	return with(ctx, env, "events", server, func(c *crowd) (map[string]float64, error) {
		if err := c.enter(0, o.Crowd, c.account); err != nil {
			return nil, err
		}
		time.Sleep(time.Second)
		return c.events(eventRate, o.For)
	})
}
