package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/client"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/rig"
	"github.com/threefoldtech/cloud-marketplace/messages"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	// speakers and speakEvery make 1,000 events a second, of which every fifth is
	// a broadcast that everybody hears, and the others are grants.
	speakers   = 10
	speakEvery = 10 * time.Millisecond
	// waiting is how many answers a speaker waits for at once.
	waiting = 100
	// currentWithin is how long a STATE stream may show less than was
	// acknowledged, once the server is back.
	currentWithin = 5 * time.Second
)

// audience is a load that listens: operators speak to all and grant credit to
// each, and everybody watches the broadcasts and their account.
type audience struct {
	operators []*client.Client
	listeners []*listener
	spoken    atomic.Int64

	mu     sync.Mutex
	said   map[string]bool // broadcasts; true: acknowledged
	faults []string
}

// listener is one person with an EVENT and a STATE stream.
type listener struct {
	id      string
	client  *client.Client
	begun   atomic.Int64
	granted atomic.Int64 // acknowledged
	shown   atomic.Int64 // by the newest view

	mu    sync.Mutex
	heard []string
	wrong []string
}

// newAudience signs everybody in and has them listen.
func newAudience(ctx context.Context, s *rig.Server, o options) (*audience, error) {
	mint, err := rig.NewMint(ctx, s)
	if err != nil {
		return nil, err
	}
	a := &audience{said: map[string]bool{}}
	for i := range speakers {
		c, err := dial(ctx, s, mint, fmt.Sprint("operator-", i), "cloud-operator")
		if err != nil {
			return nil, err
		}
		a.operators = append(a.operators, c)
	}
	for i := range max(o.users/4, 4) {
		l := &listener{id: fmt.Sprint("user-", i)}
		if l.client, err = dial(ctx, s, mint, l.id, "cloud-user"); err != nil {
			return nil, err
		}
		a.listeners = append(a.listeners, l)
		if err := l.listen(); err != nil {
			return nil, err
		}
	}
	for _, l := range a.listeners {
		for l.begun.Load() < 2 {
			if !clock.Pause(ctx, 10*time.Millisecond) {
				return nil, ctx.Err()
			}
		}
	}
	return a, nil
}

// listen watches both streams.
func (l *listener) listen() error {
	_, err := l.client.Watch("session/watch-broadcasts", &marketplacev1.WatchBroadcastsRequest{}, "", l.hear)
	if err == nil {
		_, err = l.client.Watch("cloud-user/watch-account", &marketplacev1.WatchAccountRequest{}, "", l.see)
	}
	return err
}

// hear takes what the EVENT stream says.
func (l *listener) hear(e client.Event) {
	l.note(e)
	pushed := &marketplacev1.WatchBroadcastsResponse{}
	if e.Result == nil || e.Decode(pushed) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range pushed.GetBroadcasts() {
		l.heard = append(l.heard, b.GetText())
	}
}

// see takes what the STATE stream says.
func (l *listener) see(e client.Event) {
	l.note(e)
	pushed := &marketplacev1.WatchAccountResponse{}
	if e.Result == nil || e.Decode(pushed) != nil {
		return
	}
	now, before := pushed.GetAccount().GetGrantedTotal(), l.shown.Load()
	l.shown.Store(now)
	if now < before {
		l.fault("the account fell back from %d to %d", before, now)
	}
}

// note takes what both streams say of themselves.
func (l *listener) note(e client.Event) {
	switch {
	case e.End != nil && !errors.Is(e.End, client.ErrClosed):
		l.fault("a stream ended: %v", e.End)
	case e.Begun && l.begun.Add(1) > 2 && !e.Recovered:
		l.fault("a stream was not recovered")
	}
}

func (l *listener) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, l.id+": "+fmt.Sprintf(format, args...))
}

// close sends everybody home.
func (a *audience) close() {
	for _, c := range a.operators {
		c.Close()
	}
	for _, l := range a.listeners {
		l.client.Close()
	}
}

// counts are what was acknowledged; none takes more than one entity.
func (a *audience) counts() (acked, across int) { return int(a.spoken.Load()), 0 }

// work has the operators speak until ctx ends, and waits for the answers.
func (a *audience) work(ctx context.Context) {
	var all sync.WaitGroup
	for i, c := range a.operators {
		all.Go(func() {
			var answers sync.WaitGroup
			turns := make(chan struct{}, waiting)
			for n := i; clock.Pause(ctx, speakEvery); n++ {
				turns <- struct{}{}
				answers.Go(func() {
					a.speak(ctx, c, i, n)
					<-turns
				})
			}
			answers.Wait()
		})
	}
	all.Wait()
}

// speak says one thing.
func (a *audience) speak(ctx context.Context, by *client.Client, speaker, n int) {
	if n%5 == 0 {
		text := fmt.Sprintf("%d/%d", speaker, n)
		a.mark(text, false)
		req := &marketplacev1.SendBroadcastRequest{Text: text, Severity: marketplacev1.Severity_SEVERITY_INFO}
		if a.ask(ctx, by, "cloud-operator/broadcast", req, &marketplacev1.SendBroadcastResponse{}) {
			a.mark(text, true)
		}
		return
	}
	to := a.listeners[(n*speakers+speaker)%len(a.listeners)]
	req := &marketplacev1.GrantCreditRequest{UserId: to.id, Amount: 1}
	if a.ask(ctx, by, "cloud-operator/grant-credit", req, &marketplacev1.GrantCreditResponse{}) {
		to.granted.Add(1)
	}
}

func (a *audience) mark(text string, acknowledged bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said[text] = acknowledged
}

// ask asks until it is answered, under one command id.
func (a *audience) ask(ctx context.Context, by *client.Client, method string, req, resp proto.Message) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	id := messages.NewCommandID()
	for {
		err := by.Command(ctx, method, id, req, resp)
		var refusal *messages.Error
		switch {
		case err == nil:
			a.spoken.Add(1)
			return true
		case errors.As(err, &refusal) && messages.Rule(refusal.Reason).GetRetry() && clock.Pause(ctx, 20*time.Millisecond):
		default:
			a.mu.Lock()
			a.faults = append(a.faults, fmt.Sprintf("%s: %v", method, err))
			a.mu.Unlock()
			return false
		}
	}
}

// back waits until every account shows what was acknowledged when the server
// came back. Who is not told in time is noted.
func (a *audience) back(ctx context.Context) {
	want := map[*listener]int64{}
	for _, l := range a.listeners {
		want[l] = l.granted.Load()
	}
	for waited := time.Duration(0); len(want) > 0; waited += 20 * time.Millisecond {
		for l, granted := range want {
			if l.shown.Load() >= granted {
				delete(want, l)
			} else if waited > currentWithin {
				l.fault("the account shows %d, acknowledged %v ago were %d", l.shown.Load(), currentWithin, granted)
				delete(want, l)
			}
		}
		if !clock.Pause(ctx, 20*time.Millisecond) {
			return
		}
	}
}

// readBack compares what was heard with what was said.
func (a *audience) readBack(ctx context.Context, r *result) {
	a.back(ctx)
	a.settle(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	order := ""
	for i, l := range a.listeners {
		l.mu.Lock()
		times := map[string]int{}
		for _, text := range l.heard {
			times[text]++
		}
		for text, acknowledged := range a.said {
			if n := times[text]; n > 1 {
				r.doubled++
				r.detail("%s heard %s %d times", l.id, text, n)
			} else if acknowledged && n == 0 {
				r.lost++
				r.detail("%s did not hear %s", l.id, text)
			}
		}
		if all := strings.Join(l.heard, " "); i == 0 {
			order = all
		} else if all != order {
			r.wrong("%s heard things in another order", l.id)
		}
		if l.shown.Load() != l.granted.Load() {
			r.wrong("the account of %s shows %d, acknowledged are %d", l.id, l.shown.Load(), l.granted.Load())
		}
		a.faults = append(a.faults, l.wrong...)
		l.mu.Unlock()
	}
	for _, f := range a.faults {
		r.wrong("%s", f)
	}
}

// settle waits until nobody has heard anything new for a while.
func (a *audience) settle(ctx context.Context) {
	for last, quiet := -1, 0; quiet < 10 && clock.Pause(ctx, 100*time.Millisecond); quiet++ {
		heard := 0
		for _, l := range a.listeners {
			l.mu.Lock()
			heard += len(l.heard)
			l.mu.Unlock()
		}
		if heard != last {
			last, quiet = heard, 0
		}
	}
}
