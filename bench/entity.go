package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/engine"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// How much the measurements of entities do.
const (
	idleUsers    = 20_000
	storedUsers  = 1_000
	storedEvents = 200 // a snapshot at 100, and 100 events after it
	wakeUps      = 100_000
	wakeSpread   = time.Minute
)

// entities measures the actors without sockets.
func entities(ctx context.Context, dir string, rounds int, length time.Duration) error {
	fmt.Println("\n| entities, no socket | figure | goal |\n|---|---|---|")
	var ratios []float64
	for round := range rounds {
		f, err := throughActors(ctx, filepath.Join(dir, fmt.Sprintf("actors-%d.db", round)), 1000, length)
		if err != nil {
			return err
		}
		s, err := sampleCommit(ctx, filepath.Join(dir, fmt.Sprintf("actors-%d.db", round)), 1000)
		if err != nil {
			return err
		}
		alone, err := storeAlone(ctx, filepath.Join(dir, fmt.Sprintf("beside-%d.db", round)), s, 1000, length)
		if err != nil {
			return err
		}
		ratios = append(ratios, f.rate/alone.rate)
	}
	fmt.Printf("| commands of 1,000 users, one in flight each, as a share of the store alone | %.2f (%.2f…%.2f) | ≥ 0.75 |\n", middle(ratios), slices.Min(ratios), slices.Max(ratios))
	size, err := idleSize(ctx, filepath.Join(dir, "idle.db"))
	if err != nil {
		return err
	}
	fmt.Printf("| memory of an idle entity beyond its state, with one remembered command, bytes | %d | ≤ 2,500 |\n", size)
	took, err := recoveries(ctx, filepath.Join(dir, "stored.db"))
	if err != nil {
		return err
	}
	fmt.Printf("| recovery from a snapshot and %d events, p50 / p99 | %v / %v | < 1 ms / < 10 ms |\n", storedEvents/2, percentile(took, 0.50), percentile(took, 0.99))
	late, err := lateness(ctx, filepath.Join(dir, "wakes.db"))
	if err != nil {
		return err
	}
	fmt.Printf("| lateness of %d wake-ups due within %v, p50 / p99 | %v / %v | p99 ≤ 1 s |\n", wakeUps, wakeSpread, percentile(late, 0.50), percentile(late, 0.99))
	return nil
}

func percentile(all []time.Duration, p float64) time.Duration {
	slices.Sort(all)
	return all[int(float64(len(all)-1)*p)].Round(10 * time.Microsecond)
}

// grantTo is the request of an operator who grants credit.
func grantTo(user int) (*clusterv1.Request, error) {
	m := messages.ByPath("cloud-operator/grant-credit")
	payload, err := proto.Marshal(&marketplacev1.GrantCreditRequest{UserId: userName(user), Amount: 1, Note: "bench"})
	return &clusterv1.Request{Kind: m.Actor, Id: userName(user), Method: m.Name, Payload: payload, Subject: "olga", CommandId: messages.NewCommandID()}, err
}

// caller is whatever answers requests.
type caller interface {
	Call(req *clusterv1.Request, timeout time.Duration, done func(*clusterv1.Response))
}

// grants keeps one grant in flight for each user until over, or until each was given enough.
func grants(to caller, users, enough int, over *atomic.Bool, answered *atomic.Int64) error {
	var wait sync.WaitGroup
	var failed atomic.Value
	for user := range users {
		wait.Add(1)
		var next func(n int)
		next = func(n int) {
			req, err := grantTo(user)
			if err != nil || over.Load() || n == enough {
				wait.Done()
				return
			}
			to.Call(req, time.Minute, func(r *clusterv1.Response) {
				if r.GetError() != nil {
					failed.Store(messages.FromStatus(r.GetError()))
					over.Store(true)
				}
				answered.Add(1)
				next(n + 1)
			})
		}
		next(0)
	}
	wait.Wait()
	if err, ok := failed.Load().(*messages.Error); ok {
		return err
	}
	return nil
}

// throughActors measures commands through engine, entity and store.
func throughActors(ctx context.Context, file string, users int, length time.Duration) (f figures, err error) {
	err = withSystem(ctx, file, func(s *actors.System) error {
		var over atomic.Bool
		var answered atomic.Int64
		ended := make(chan error, 1)
		go func() { ended <- grants(s, users, -1, &over, &answered) }()
		time.Sleep(length / 4)
		began, from := time.Now(), answered.Load()
		time.Sleep(length)
		f.rate = float64(answered.Load()-from) / time.Since(began).Seconds()
		over.Store(true)
		return <-ended
	})
	return f, err
}

func withSystem(ctx context.Context, file string, do func(*actors.System) error) (err error) {
	store, err := boltstore.Open(file, boltstore.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	s, err := actors.Start(ctx, actors.Config{Store: store, IdleAfter: time.Hour})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop(ctx)) }()
	return do(s)
}

// idleSize is what the heap grows by for each idle user who was granted credit
// once, less what such a state takes by itself.
func idleSize(ctx context.Context, file string) (size int64, err error) {
	err = withSystem(ctx, file, func(s *actors.System) error {
		before := heap()
		if err := grants(s, idleUsers, 1, new(atomic.Bool), new(atomic.Int64)); err != nil {
			return err
		}
		size = (heap() - before) / idleUsers
		return nil
	})
	if err != nil {
		return 0, err
	}
	// The state after one grant.
	grown := heap()
	states := make([]*journalv1.UserState, idleUsers)
	for i := range states {
		states[i] = &journalv1.UserState{UserId: userName(i), AsOfTime: timestamppb.Now(), Book: &journalv1.Book{Asset: "USD/7", Accounts: map[string]*journalv1.LedgerAccount{
			"granted": {Debits: 1}, "credit": {Credits: 1},
		}}}
	}
	size -= (heap() - grown) / idleUsers
	runtime.KeepAlive(states)
	return size, nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what had finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far below
}

// recoveries measures how long the first answer of a user takes who is not in
// memory, one after another.
func recoveries(ctx context.Context, file string) (took []time.Duration, err error) {
	err = withSystem(ctx, file, func(s *actors.System) error {
		return grants(s, storedUsers, storedEvents, new(atomic.Bool), new(atomic.Int64))
	})
	if err != nil {
		return nil, err
	}
	read := messages.ByPath("cloud-user/get-account")
	err = withSystem(ctx, file, func(s *actors.System) error {
		for user := range storedUsers {
			began, answer := time.Now(), make(chan *clusterv1.Response, 1)
			s.Call(&clusterv1.Request{Kind: "user", Id: userName(user), Method: read.Name, Subject: userName(user)}, time.Minute, func(r *clusterv1.Response) { answer <- r })
			if r := <-answer; r.GetError() != nil {
				return messages.FromStatus(r.GetError())
			}
			took = append(took, time.Since(began))
		}
		return nil
	})
	return took, err
}

// sleeper is a kind whose grants say when it wants to be woken, in
// milliseconds of Unix time.
type sleeper struct {
	mu   *sync.Mutex
	late *[]time.Duration
}

type (
	tally = marketplacev1.Account
	event = journalv1.UserEvent
)

func (sleeper) Decide(_ *tally, req proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	g, ok := req.(*marketplacev1.GrantCreditRequest)
	if !ok {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "not known")
	}
	e := &event{EventTime: timestamppb.New(env.Now), Event: &journalv1.UserEvent_CreditGranted{CreditGranted: &journalv1.CreditGranted{UserId: env.ID, Amount: g.GetAmount()}}}
	return []*event{e}, &marketplacev1.GrantCreditResponse{}, nil
}

func (s sleeper) Woken(t *tally, env entity.Env) []*event {
	if t.GetRunOutTime() == nil || env.Now.Before(t.GetRunOutTime().AsTime()) {
		return nil
	}
	s.mu.Lock()
	*s.late = append(*s.late, env.Now.Sub(t.GetRunOutTime().AsTime()))
	s.mu.Unlock()
	return []*event{{EventTime: timestamppb.New(env.Now), Event: &journalv1.UserEvent_RunwayRecovered{RunwayRecovered: &journalv1.RunwayRecovered{}}}}
}

func (sleeper) Apply(t *tally, e *event) {
	t.RunOutTime = nil
	if g := e.GetCreditGranted(); g != nil {
		t.RunOutTime = timestamppb.New(time.UnixMilli(g.GetAmount()))
	}
}

func (sleeper) Wake(t *tally) time.Time {
	if t.GetRunOutTime() == nil {
		return time.Time{}
	}
	return t.GetRunOutTime().AsTime()
}

func (sleeper) TaskDone(*tally, entity.Done, entity.Env) []*event { return nil }
func (sleeper) Tasks(string, *tally) []entity.Task                { return nil }
func (sleeper) View(string, *tally, string) proto.Message {
	return &marketplacev1.WatchAccountResponse{}
}
func (sleeper) Owner(*tally) string                                        { return "" }
func (sleeper) Announce(string, *tally, *event) (none entity.Announcement) { return none }

// lateness measures how long after its time each of many entities was woken.
func lateness(ctx context.Context, file string) (late []time.Duration, err error) {
	store, err := boltstore.Open(file, boltstore.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var mu sync.Mutex
	kind := entity.Define("user", marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_NOT_FOUND, entity.Behavior[*tally, *event](sleeper{&mu, &late}))
	rt := entity.NewRuntime(entity.Config{Store: store})
	e, err := engine.Start(engine.Config{IdleAfter: 10 * time.Second}, []engine.Kind{rt.Kind(kind)}, nil)
	if err != nil {
		return nil, err
	}
	rt.Start(e)
	defer func() {
		rt.Stop()
		err = errors.Join(err, e.Stop(ctx))
	}()
	begins := time.Now().Add(30 * time.Second) // by then all are stored
	if err := alarms(ctx, e, begins); err != nil {
		return nil, err
	}
	if !time.Now().Before(begins) {
		return nil, errors.New("the wake-ups were not stored in time")
	}
	for deadline := begins.Add(2 * wakeSpread); ; time.Sleep(100 * time.Millisecond) {
		mu.Lock()
		n := len(late)
		mu.Unlock()
		if n == wakeUps {
			return late, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d were woken", n, wakeUps)
		}
	}
}

// alarms stores wake-ups that are spread evenly from a moment on.
func alarms(ctx context.Context, e *engine.Engine, begins time.Time) error {
	m := messages.ByPath("cloud-operator/grant-credit")
	inFlight := make(chan struct{}, 1000)
	var wait sync.WaitGroup
	var failed atomic.Int64
	for n := range wakeUps {
		at := begins.Add(time.Duration(n) * wakeSpread / wakeUps)
		payload, err := proto.Marshal(&marketplacev1.GrantCreditRequest{UserId: userName(n), Amount: at.UnixMilli()})
		if err != nil {
			return err
		}
		inFlight <- struct{}{}
		wait.Add(1)
		e.Call(&clusterv1.Request{Kind: "user", Id: userName(n), Method: m.Name, Payload: payload, Subject: "olga", CommandId: messages.NewCommandID()}, time.Minute, func(r *clusterv1.Response) {
			if r.GetError() != nil {
				failed.Add(1)
			}
			<-inFlight
			wait.Done()
		})
	}
	wait.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d wake-ups were refused", n)
	}
	return ctx.Err()
}
