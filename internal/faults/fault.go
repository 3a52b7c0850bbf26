package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
	"github.com/threefoldtech/cloud-marketplace/internal/rig"
)

// fault is something that breaks, and how often.
type fault struct {
	name   string
	redis  bool          // on Redis; otherwise on the embedded store
	every  time.Duration // from one round to the next, about
	strike func(w *world, ctx context.Context) error
	gather func(ctx context.Context, s *rig.Server, o options) (load, error)
}

func (f fault) store() string {
	if f.redis {
		return "Redis"
	}
	return "bbolt"
}

// load is what the server is asked to do meanwhile.
type load interface {
	work(ctx context.Context)                // until ctx ends and all is answered
	back(ctx context.Context)                // the server is back
	readBack(ctx context.Context, r *result) // compares what was acknowledged with what is there
	counts() (acked, across int)
	close() // may be called more than once
}

// users are people who do things.
func users(ctx context.Context, s *rig.Server, o options) (load, error) {
	return newCrowd(ctx, s, o)
}

// listeners are people who listen.
func listeners(ctx context.Context, s *rig.Server, o options) (load, error) {
	return newAudience(ctx, s, o)
}

// faults are all that the table has lines for.
func faults() []fault {
	return []fault{
		{"kill -9 of the server", false, 1200 * time.Millisecond, (*world).killServer, users},
		{"kill -9 of the server, before an audience", false, 1500 * time.Millisecond, (*world).killServer, listeners},
		{"kill -9 of the server, before an audience", true, 1500 * time.Millisecond, (*world).killServer, listeners},
		{"kill -9 of the server", true, 1200 * time.Millisecond, (*world).killServer, users},
		{"kill -9 of Redis", true, 800 * time.Millisecond, (*world).killRedis, users},
		{"kill -9 of server and Redis", true, 1500 * time.Millisecond, (*world).killBoth, users},
		{"answers of Redis cut off", true, 50 * time.Millisecond, (*world).cutAnswers, users},
		{"scripts of Redis flushed", true, 50 * time.Millisecond, (*world).flushScripts, users},
		{"memory of Redis full", true, 500 * time.Millisecond, (*world).fillMemory, users},
		{"stall of Redis for 5 s", true, 1500 * time.Millisecond, (*world).stall, users},
	}
}

func (w *world) killServer(ctx context.Context) error {
	w.server.Kill()
	if err := w.server.Start(ctx); err != nil {
		return err
	}
	w.load.back(ctx)
	return nil
}

func (w *world) killRedis(context.Context) error {
	w.redis.Kill()
	return w.redis.Start() //nolint:contextcheck // it outlives the call
}

func (w *world) killBoth(ctx context.Context) error {
	if rand.IntN(2) == 0 { //nolint:gosec // chance, not secrecy
		w.redis.Kill()
		w.server.Kill()
	} else {
		w.server.Kill()
		w.redis.Kill()
	}
	if err := w.redis.Start(); err != nil { //nolint:contextcheck // it outlives the call
		return err
	}
	return w.server.Start(ctx)
}

func (w *world) cutAnswers(context.Context) error {
	w.proxy.CutNext()
	return nil
}

func (w *world) flushScripts(ctx context.Context) error {
	return redistest.Command(ctx, w.redis.Addr, "SCRIPT", "FLUSH")
}

func (w *world) fillMemory(ctx context.Context) error {
	if err := redistest.Command(ctx, w.redis.Addr, "CONFIG", "SET", "maxmemory", "1mb"); err != nil {
		return err
	}
	clock.Pause(ctx, 200*time.Millisecond)
	return redistest.Command(ctx, w.redis.Addr, "CONFIG", "SET", "maxmemory", "0")
}

func (w *world) stall(ctx context.Context) error {
	w.redis.Signal(syscall.SIGSTOP)
	clock.Pause(ctx, 5*time.Second)
	w.redis.Signal(syscall.SIGCONT)
	return nil
}

// world is a server, what it stands on, and its users.
type world struct {
	server *rig.Server
	redis  *redistest.Server // nil on the embedded store
	proxy  *redistest.Proxy
	load   load
}

// result is a line of the table.
type result struct {
	rounds, acked, across, lost, doubled, inconsistent int
	details                                            []string
	err                                                error // it could not be suffered to its end
}

// suffer runs a load under a fault, and reads back.
func suffer(ctx context.Context, o options, f fault, binary, data string) *result {
	r := &result{}
	w := &world{server: &rig.Server{Binary: binary, Data: data, Settings: settings}}
	if f.redis {
		if r.err = w.startRedis(ctx, data+"-redis"); r.err != nil {
			return r
		}
		defer w.redis.Kill()
		defer w.proxy.Close()
	}
	if r.err = w.server.Start(ctx); r.err != nil {
		return r
	}
	defer w.server.Kill()
	crowd, err := f.gather(ctx, w.server, o)
	if err != nil {
		r.err = err
		return r
	}
	defer crowd.close()
	w.load = crowd
	w.strikeAll(ctx, o, f, r)
	r.acked, r.across = crowd.counts()
	if r.err == nil {
		crowd.readBack(ctx, r)
		crowd.close() // they would go on knocking at the door
		r.err = r.verify(ctx, w.server)
	}
	return r
}

// startRedis starts a Redis with a proxy before it.
func (w *world) startRedis(ctx context.Context, folder string) error {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	var err error
	if w.redis, err = redistest.New(ctx, folder, redistest.Durable()...); err != nil {
		return err
	}
	if err := w.redis.Start(); err != nil { //nolint:contextcheck // it outlives the call
		return err
	}
	if w.proxy, err = redistest.StartProxy(w.redis.Addr); err != nil { //nolint:contextcheck // it outlives the call
		w.redis.Kill()
		return err
	}
	w.server.Settings = append(slices.Clone(settings), "MARKETPLACE_STORE_REDIS_URL=redis://"+w.proxy.Addr)
	return nil
}

// strikeAll has everybody work while the fault strikes, and waits until all that
// was asked is answered.
func (w *world) strikeAll(ctx context.Context, o options, f fault, r *result) {
	load, stop := context.WithTimeout(ctx, o.each)
	defer stop()
	var working sync.WaitGroup
	working.Go(func() { w.load.work(load) })
	for r.err == nil && clock.Pause(load, f.every/2+time.Duration(rand.Int64N(int64(f.every)))) { //nolint:gosec // chance, not secrecy
		r.err = f.strike(w, ctx)
		r.rounds++
	}
	if w.proxy != nil {
		w.proxy.Heal()
	}
	stop()
	working.Wait()
}

// settings are of a server that is held to no pace, and bills an hour each second.
var settings = []string{
	"MARKETPLACE_SANDBOX_TIME_SCALE=3600", "MARKETPLACE_ACTORS_SCAN_EVERY=50ms",
	"MARKETPLACE_GATEWAY_RATE=100000", "MARKETPLACE_GATEWAY_BURST=1000000", "MARKETPLACE_GATEWAY_IN_FLIGHT=10000",
}

// verify stops the server and has its store read.
func (r *result) verify(ctx context.Context, s *rig.Server) error {
	if err := s.Stop(); err != nil {
		return err
	}
	wrong, err := s.Verify(ctx)
	for _, line := range wrong {
		r.wrong("verify: %s", line)
	}
	return err
}

// wrong notes a contradiction.
func (r *result) wrong(format string, args ...any) {
	r.inconsistent++
	r.detail(format, args...)
}

// detail keeps what to look at first.
func (r *result) detail(format string, args ...any) {
	if len(r.details) < 20 {
		r.details = append(r.details, fmt.Sprintf(format, args...))
	}
}
