package engine_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
)

// TestCalls answers once: with the answer, with a timeout, or with a sentence.
func TestCalls(t *testing.T) {
	w := newWorld(t, time.Minute)
	if r := wait(t, w.ask("a", "answer", time.Minute)); string(r.GetPayload()) != "a" {
		t.Errorf("answered with %v", r)
	}
	twice := w.ask("a", "answer twice", time.Minute)
	wait(t, twice)
	eventually(t, "the second answer is counted as late", func() bool { return w.Stats().Late == 1 })
	begun := time.Now()
	kept := w.ask("a", "keep", 300*time.Millisecond)
	if r := wait(t, kept); reason(r) != "ACTOR_TIMEOUT" || time.Since(begun) < 300*time.Millisecond {
		t.Errorf("without an answer: %v after %v", r, time.Since(begun))
	}
	wait(t, w.ask("a", "answer what was kept", time.Minute))
	eventually(t, "the late answer is counted", func() bool { return w.Stats().Late == 2 })
	if len(twice)+len(kept) != 0 {
		t.Error("a call was answered twice")
	}
	answer := make(chan *clusterv1.Response, 1)
	w.Call(&clusterv1.Request{Kind: "nobody", Id: "a"}, time.Minute, func(r *clusterv1.Response) { answer <- r })
	if r := wait(t, answer); reason(r) != "ACTOR_UNAVAILABLE" {
		t.Errorf("a kind that is none: %v", r)
	}
	w.Call(&clusterv1.Request{Kind: "reader", Id: "x"}, time.Minute, func(r *clusterv1.Response) { answer <- r })
	if r := wait(t, answer); string(r.GetPayload()) != "x" {
		t.Errorf("a read model: %v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Ask(ctx, &clusterv1.Request{Kind: "player", Id: "a", Method: "keep"}, time.Minute); err == nil {
		t.Error("who does not want to wait any more waits")
	}
}

// TestBouncesUntilTheDeadline asks again for as long as there is time, each
// time more rarely.
func TestBouncesUntilTheDeadline(t *testing.T) {
	w := newWorld(t, time.Minute)
	begun := time.Now()
	if r := wait(t, w.ask("a", "bounce", 700*time.Millisecond)); reason(r) != "ACTOR_TIMEOUT" {
		t.Errorf("answered with %v", r)
	}
	if passed := time.Since(begun); passed < 400*time.Millisecond || passed > 5*time.Second {
		t.Errorf("gave up after %v", passed)
	}
	if n := w.Stats().Bounces; n < 5 || n > 20 {
		t.Errorf("asked %d times", n)
	}
	if r := wait(t, w.ask("b", "bounce and leave", 300*time.Millisecond)); reason(r) != "ACTOR_TIMEOUT" || w.born.Load() < 3 {
		t.Errorf("answered with %v after %d incarnations", r, w.born.Load()-1)
	}
}

// TestAttemptsAreNumbered takes the answer to an attempt that was given up for
// what it is, however much the next one looks like it.
func TestAttemptsAreNumbered(t *testing.T) {
	w := newWorld(t, time.Minute)
	if r := wait(t, w.ask("a", "bounce at first, then say so late", time.Minute)); string(r.GetPayload()) != "a" || w.Stats().Late != 1 {
		t.Errorf("answered with %v, %d late", r, w.Stats().Late)
	}
}

// TestNothingIsLostBehindAStop has many callers ask actors that stop themselves
// at random: every call is answered, once, and no two incarnations of an id are
// in the directory at once.
func TestNothingIsLostBehindAStop(t *testing.T) {
	for _, children := range []bool{false, true} {
		w := newWorld(t, time.Minute)
		w.children = children
		methods := []string{"answer", "answer", "answer", "answer and leave", "answer and poison"}
		var callers sync.WaitGroup
		var answered atomic.Int64
		for range 8 {
			callers.Go(func() {
				for range 100 {
					var open []<-chan *clusterv1.Response
					for range 5 {
						open = append(open, w.ask(strconv.Itoa(rand.N(6)), methods[rand.N(len(methods))], 30*time.Second))
					}
					for _, a := range open {
						r := <-a
						if r.GetError() != nil || len(a) != 0 {
							t.Errorf("answered with %v, and %d more times", r, len(a))
						}
						answered.Add(1)
					}
				}
			})
		}
		callers.Wait()
		if answered.Load() != 4000 || w.born.Load() < 100 || w.twice() || w.Stats().Late != 0 {
			t.Errorf("%d answers, %d incarnations, two at once %v, %+v", answered.Load(), w.born.Load(), w.twice(), w.Stats())
		}
	}
}

// TestPanic stops an actor that fails, never restarts it, and asks what waited
// behind it again of the next.
func TestPanic(t *testing.T) {
	w := newWorld(t, time.Minute)
	wait(t, w.ask("a", "answer", time.Minute))
	bad := w.ask("a", "panic", 500*time.Millisecond)
	var behind []<-chan *clusterv1.Response
	for range 20 {
		behind = append(behind, w.ask("a", "answer", 10*time.Second))
	}
	for _, a := range behind {
		if r := wait(t, a); r.GetError() != nil {
			t.Fatal(r.GetError())
		}
	}
	if r := wait(t, bad); reason(r) != "ACTOR_TIMEOUT" {
		t.Errorf("what failed is answered with %v", r)
	}
	if n := w.born.Load(); n != 2 {
		t.Errorf("there were %d incarnations, not 2", n)
	}
}

// TestSweeper asks those to go that nobody uses, and nobody else.
func TestSweeper(t *testing.T) {
	w := newWorld(t, 1500*time.Millisecond)
	for i := range 50 {
		wait(t, w.ask(strconv.Itoa(i), "answer", time.Minute))
	}
	used := true
	eventually(t, "all but one are gone", func() bool {
		used = reason(wait(t, w.ask("0", "answer", time.Minute))) == "" && used
		return w.Stats().Live == 1
	})
	if !used || w.born.Load() != 50 {
		t.Errorf("there were %d incarnations, not 50", w.born.Load())
	}
}

// TestStop stops everyone, also those it was asked for a moment ago, answers
// what is open, and makes nobody any more.
func TestStop(t *testing.T) {
	w := newWorld(t, time.Minute)
	w.children = true
	var open []<-chan *clusterv1.Response
	for i := range 300 {
		method := []string{"keep", "bounce", "answer and leave"}[i%3]
		open = append(open, w.ask(strconv.Itoa(i%40), method, time.Hour))
	}
	if err := w.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	born := w.born.Load()
	for i, a := range open {
		if r := wait(t, a); r.GetError() != nil && reason(r) != "ACTOR_TIMEOUT" {
			t.Errorf("call %d: %v", i, r)
		}
	}
	if r := wait(t, w.ask("new", "answer", time.Hour)); reason(r) != "ACTOR_UNAVAILABLE" {
		t.Errorf("after the stop: %v", r)
	}
	if n := w.born.Load(); n != born || w.Stats().Live != 0 {
		t.Errorf("%d actors were made after the stop, %d live", n-born, w.Stats().Live)
	}
	if err := w.Stop(context.Background()); err != nil {
		t.Errorf("once more: %v", err)
	}
}
