package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/threefoldtech/cloud-marketplace/client"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/rig"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	// perUser is how many connections listen for one person.
	perUser = 5
	// speakEvery is from one broadcast to the next, grantEvery from one grant.
	speakEvery = 250 * time.Millisecond
	grantEvery = 20 * time.Millisecond
	// comeWithin is how long all may take until they listen, catchUp until they
	// have heard everything in the end.
	comeWithin = 3 * time.Minute
	catchUp    = 30 * time.Second
)

// crowd is everybody who listens, and an operator.
type crowd struct {
	options   options
	server    *rig.Server
	operator  *client.Client
	users     []*user
	listeners []*listener
	full      rig.Census // with all connections

	said, granted, heard, cuts, ended, faults atomic.Int64
	mu                                        sync.Mutex
	wrong                                     []string
}

// user is one person.
type user struct {
	id, token string
	granted   atomic.Int64 // the total that was acknowledged last
}

// newCrowd makes everybody; nobody is there yet.
func newCrowd(ctx context.Context, s *rig.Server, mint *rig.Mint, o options) (*crowd, error) {
	c := &crowd{options: o, server: s}
	for i := range o.connections/perUser + 1 {
		u := &user{id: fmt.Sprint("user-", i)}
		var err error
		if u.token, err = mint.Token(u.id, "cloud-user"); err != nil {
			return nil, err
		}
		c.users = append(c.users, u)
	}
	for i := range o.connections + o.slow {
		c.listeners = append(c.listeners, &listener{
			crowd: c, user: c.users[i%len(c.users)], slow: i >= o.connections, address: fmt.Sprintf("127.2.%d.%d", i/250, i%250+1),
		})
	}
	var err error
	c.operator, err = client.Dial(ctx, client.Config{
		URL: "ws://" + s.At.API + "/ws", Token: func(context.Context) (string, error) { return mint.Token("operator", "cloud-operator") },
	})
	return c, err
}

// fault notes what must not be.
func (c *crowd) fault(format string, args ...any) {
	c.faults.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wrong) < 20 {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

// play has everybody come, listen and go.
func (c *crowd) play(ctx context.Context, lasts time.Duration) error {
	defer c.operator.Close()
	life, quit := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer quit()
	for _, l := range c.listeners {
		all.Go(func() { l.live(life) })
		_ = clock.Pause(ctx, time.Millisecond) // they do not come all at once
	}
	if err := c.await(ctx, comeWithin, func(l *listener) bool { return l.begun.Load() }); err != nil {
		return fmt.Errorf("not everybody came: %w", err)
	}
	var err error
	if c.full, err = c.server.Census(ctx); err != nil {
		return err
	}
	c.work(ctx, lasts)
	for _, l := range c.listeners {
		l.wake()
	}
	if err := c.await(ctx, catchUp, (*listener).current); err != nil {
		for _, l := range c.listeners {
			if !l.current() {
				c.fault("%s heard up to %d of %d and sees %d of %d", l.address, l.last.Load(), c.said.Load(), l.shown.Load(), l.user.granted.Load())
			}
		}
	}
	return nil
}

// await waits until something is true of all.
func (c *crowd) await(ctx context.Context, within time.Duration, of func(*listener) bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, l := range c.listeners {
		for !of(l) {
			if !clock.Pause(ctx, 10*time.Millisecond) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// work speaks, grants and cuts for a while.
func (c *crowd) work(ctx context.Context, lasts time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { c.speak(ctx) })
	all.Go(func() { c.grant(ctx) })
	all.Go(func() { c.churn(ctx) })
	all.Wait()
}

// churn cuts so many connections a second, whose listeners come back.
func (c *crowd) churn(ctx context.Context) {
	began, cut := clock.Real{}.Now(), 0
	for clock.Pause(ctx, 10*time.Millisecond) {
		due := int(clock.Real{}.Now().Sub(began).Seconds() * float64(c.options.churn))
		for ; cut < due; cut++ {
			for !c.listeners[rand.IntN(c.options.connections)].cut() && clock.Pause(ctx, time.Millisecond) { //nolint:gosec // chance, not secrecy; whoever is away is passed over
			}
		}
	}
}

// speak says one number after the other to everybody.
func (c *crowd) speak(ctx context.Context) {
	for clock.Pause(ctx, speakEvery) {
		req := &marketplacev1.SendBroadcastRequest{Text: strconv.FormatInt(c.said.Load()+1, 10), Severity: marketplacev1.Severity_SEVERITY_INFO}
		if err := c.operator.Call(context.WithoutCancel(ctx), "cloud-operator/broadcast", req, &marketplacev1.SendBroadcastResponse{}); err != nil {
			c.fault("a broadcast was refused: %v", err)
			return
		}
		c.said.Add(1)
	}
}

// grant gives credit to one after the other.
func (c *crowd) grant(ctx context.Context) {
	for i := 0; clock.Pause(ctx, grantEvery); i++ {
		u, granted := c.users[i%len(c.users)], &marketplacev1.GrantCreditResponse{}
		req := &marketplacev1.GrantCreditRequest{UserId: u.id, Amount: 1}
		if err := c.operator.Call(context.WithoutCancel(ctx), "cloud-operator/grant-credit", req, granted); err != nil {
			c.fault("a grant was refused: %v", err)
			return
		}
		u.granted.Store(granted.GetCredit())
		c.granted.Add(1)
	}
}
