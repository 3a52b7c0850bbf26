package main

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
)

// fault is something that breaks, and how often.
type fault struct {
	name   string
	redis  bool          // on Redis; otherwise on the embedded store
	every  time.Duration // from one round to the next, about
	strike func(w *world, ctx context.Context) error
}

func (f fault) store() string {
	if f.redis {
		return "Redis"
	}
	return "bbolt"
}

// faults are all that the table has lines for.
func faults() []fault {
	return []fault{
		{"kill -9 of the server", false, 1200 * time.Millisecond, (*world).killServer},
		{"kill -9 of the server", true, 1200 * time.Millisecond, (*world).killServer},
		{"kill -9 of Redis", true, 800 * time.Millisecond, (*world).killRedis},
		{"kill -9 of server and Redis", true, 1500 * time.Millisecond, (*world).killBoth},
		{"answers of Redis cut off", true, 50 * time.Millisecond, (*world).cutAnswers},
		{"scripts of Redis flushed", true, 50 * time.Millisecond, (*world).flushScripts},
		{"memory of Redis full", true, 500 * time.Millisecond, (*world).fillMemory},
		{"stall of Redis for 5 s", true, 1500 * time.Millisecond, (*world).stall},
	}
}

func (w *world) killServer(ctx context.Context) error {
	w.server.kill()
	return w.server.start(ctx)
}

func (w *world) killRedis(context.Context) error {
	w.redis.Kill()
	return w.redis.Start() //nolint:contextcheck // it outlives the call
}

func (w *world) killBoth(ctx context.Context) error {
	if rand.IntN(2) == 0 { //nolint:gosec // chance, not secrecy
		w.redis.Kill()
		w.server.kill()
	} else {
		w.server.kill()
		w.redis.Kill()
	}
	if err := w.redis.Start(); err != nil { //nolint:contextcheck // it outlives the call
		return err
	}
	return w.server.start(ctx)
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
	server *server
	redis  *redistest.Server // nil on the embedded store
	proxy  *redistest.Proxy
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
	w := &world{server: &server{binary: binary, data: data}}
	if f.redis {
		if r.err = w.startRedis(ctx, data+"-redis"); r.err != nil {
			return r
		}
		defer w.redis.Kill()
		defer w.proxy.Close()
	}
	if r.err = w.server.start(ctx); r.err != nil {
		return r
	}
	defer w.server.kill()
	crowd, err := newCrowd(ctx, w.server, o)
	if err != nil {
		r.err = err
		return r
	}
	defer crowd.close()
	w.strikeAll(ctx, o, f, crowd, r)
	r.acked, r.across = int(crowd.acked.Load()), int(crowd.across.Load())
	if r.err == nil {
		crowd.readBack(ctx, r)
		crowd.close() // they would go on knocking at the door
		r.err = w.server.verify(ctx, r)
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
	w.server.redis = "redis://" + w.proxy.Addr
	return nil
}

// strikeAll has everybody work while the fault strikes, and waits until all that
// was asked is answered.
func (w *world) strikeAll(ctx context.Context, o options, f fault, crowd *crowd, r *result) {
	load, stop := context.WithTimeout(ctx, o.each)
	defer stop()
	var working sync.WaitGroup
	working.Go(func() { crowd.work(load) })
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
