package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
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
	// dollar is in USD/7.
	dollar = 10_000_000
	// live is how many deployments a user has at once.
	live = 3
	// answerWithin is how long a command may go unanswered, faults included.
	answerWithin = 2 * time.Minute
)

var spec = &marketplacev1.Spec{Vcpus: 1, MemoryMib: 256, DiskGib: 1}

// crowd is many users, and an operator who gives them credit.
type crowd struct {
	options   options
	users     []*user
	operators []*client.Client
	nodes     []uint32
	acked     atomic.Int64
	across    atomic.Int64 // of them, what takes more than one entity
}

// user is one person and what was acknowledged to them.
type user struct {
	crowd    *crowd
	id       string
	client   *client.Client
	operator *client.Client
	random   *mathrand.Rand
	count    int
	moves    map[string]int64 // grants and transfers by their note
	received map[string]int64 // what others were told that they sent here
	mu       sync.Mutex       // guards received
	revision uint64
	created  map[string]bool // deployments; true: to be cancelled yet
	faults   []string
}

// newCrowd signs everybody in.
func newCrowd(ctx context.Context, s *rig.Server, o options) (*crowd, error) {
	mint, err := rig.NewMint(ctx, s)
	if err != nil {
		return nil, err
	}
	c := &crowd{options: o}
	for i := range 8 {
		cl, err := dial(ctx, s, mint, fmt.Sprint("operator-", i), "cloud-operator")
		if err != nil {
			return nil, err
		}
		c.operators = append(c.operators, cl)
	}
	for i := range o.users {
		u := &user{
			crowd: c, id: fmt.Sprint("user-", i), operator: c.operators[i%len(c.operators)], random: mathrand.New(mathrand.NewPCG(uint64(i), 1)), //nolint:gosec // a load
			moves: map[string]int64{}, received: map[string]int64{}, created: map[string]bool{},
		}
		if u.client, err = dial(ctx, s, mint, u.id, "cloud-user"); err != nil {
			return nil, err
		}
		c.users = append(c.users, u)
	}
	return c, c.findNodes(ctx)
}

// dial signs somebody in, who comes back soon whenever the server is away.
func dial(ctx context.Context, s *rig.Server, mint *rig.Mint, subject string, roles ...string) (*client.Client, error) {
	return client.Dial(ctx, client.Config{
		URL: "ws://" + s.At.API + "/ws", MaxPause: 200 * time.Millisecond,
		Token: func(context.Context) (string, error) { return mint.Token(subject, roles...) },
	})
}

// counts are what was acknowledged, and how much of it takes more than one entity.
func (c *crowd) counts() (acked, across int) { return int(c.acked.Load()), int(c.across.Load()) }

// back is nothing to people who do not listen.
func (c *crowd) back(context.Context) {}

// findNodes waits until the server knows the grid.
func (c *crowd) findNodes(ctx context.Context) error {
	for clock.Pause(ctx, 100*time.Millisecond) {
		found := &marketplacev1.FindNodesResponse{}
		if err := c.users[0].client.Call(ctx, "cloud-user/find-nodes", &marketplacev1.FindNodesRequest{Spec: spec, PageSize: 200}, found); err != nil {
			return err
		}
		if len(found.GetNodes()) == 200 {
			for _, n := range found.GetNodes() {
				c.nodes = append(c.nodes, n.GetNode().GetNodeId())
			}
			return nil
		}
	}
	return ctx.Err()
}

// close sends everybody home. It may be called more than once.
func (c *crowd) close() {
	for _, cl := range c.operators {
		cl.Close()
	}
	for _, u := range c.users {
		u.client.Close()
	}
}

// work has everybody work until ctx ends, and waits until all is answered.
func (c *crowd) work(ctx context.Context) {
	var all sync.WaitGroup
	for _, u := range c.users {
		all.Go(func() {
			u.grant(ctx, 1_000*dollar)
			for ctx.Err() == nil {
				u.step(ctx)
				if c.options.pace > 0 {
					clock.Pause(ctx, c.options.pace)
				}
			}
		})
	}
	all.Wait()
}

// step does one thing: 40 % money, 30 % deployments, 20 % settings, 10 % reads.
func (u *user) step(ctx context.Context) {
	switch n := u.random.IntN(100); {
	case n < 25:
		u.grant(ctx, 1+u.random.Int64N(dollar))
	case n < 40:
		u.transfer(ctx)
	case n < 55:
		u.create(ctx)
	case n < 70:
		u.cancelOne(ctx)
	case n < 90:
		u.settle(ctx)
	default:
		u.look(ctx)
	}
}

// command asks until it is answered, under one command id; what is about the
// moment only is asked again.
func (u *user) command(ctx context.Context, by *client.Client, method string, req, resp proto.Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	defer cancel()
	id := messages.NewCommandID()
	for {
		err := by.Command(ctx, method, id, req, resp)
		var refusal *messages.Error
		if errors.As(err, &refusal) && messages.Rule(refusal.Reason).GetRetry() && clock.Pause(ctx, 20*time.Millisecond) {
			continue
		}
		if err != nil && !errors.As(err, &refusal) {
			u.fault("%s was not answered: %v", method, err)
		}
		return err
	}
}

func (u *user) fault(format string, args ...any) {
	u.faults = append(u.faults, u.id+": "+fmt.Sprintf(format, args...))
}

// note names something for ever.
func (u *user) note() string {
	u.count++
	return fmt.Sprintf("%s/%d", u.id, u.count)
}

func (u *user) grant(ctx context.Context, amount int64) {
	note := u.note()
	if u.command(ctx, u.operator, "cloud-operator/grant-credit", &marketplacev1.GrantCreditRequest{UserId: u.id, Amount: amount, Note: note}, &marketplacev1.GrantCreditResponse{}) == nil {
		u.moves[note] = amount
		u.crowd.acked.Add(1)
	}
}

func (u *user) transfer(ctx context.Context) {
	to := u.crowd.users[u.random.IntN(len(u.crowd.users))]
	if to == u {
		return
	}
	note, amount := u.note(), 1+u.random.Int64N(1000)
	req := &marketplacev1.TransferCreditRequest{FromUserId: u.id, ToUserId: to.id, Amount: amount, Note: note}
	if u.command(ctx, u.operator, "cloud-operator/transfer-credit", req, &marketplacev1.TransferCreditResponse{}) == nil {
		u.moves[note] = -amount
		to.mu.Lock()
		to.received[note] = amount
		to.mu.Unlock()
		u.crowd.acked.Add(1)
		u.crowd.across.Add(1)
	}
}

func (u *user) create(ctx context.Context) {
	alive := 0
	for _, yet := range u.created {
		if yet {
			alive++
		}
	}
	if alive >= live {
		u.cancelOne(ctx)
		return
	}
	created := &marketplacev1.CreateDeploymentResponse{}
	req := &marketplacev1.CreateDeploymentRequest{
		Name: "w", Spec: spec, NodeId: u.crowd.nodes[u.random.IntN(len(u.crowd.nodes))], MaxHourlyPrice: dollar,
	}
	if u.command(ctx, u.client, "cloud-user/create-deployment", req, created) == nil {
		u.created[created.GetDeploymentId()] = true
		u.crowd.acked.Add(1)
		u.crowd.across.Add(1)
	}
}

func (u *user) cancelOne(ctx context.Context) {
	for id, yet := range maps.All(u.created) {
		if yet {
			u.cancel(ctx, id)
			return
		}
	}
	u.settle(ctx)
}

// cancel ends a deployment; that it has ended already is as good.
func (u *user) cancel(ctx context.Context, id string) {
	err := u.command(ctx, u.client, "cloud-user/cancel-deployment", &marketplacev1.CancelDeploymentRequest{DeploymentId: id}, &marketplacev1.CancelDeploymentResponse{})
	var refusal *messages.Error
	if err == nil || errors.As(err, &refusal) {
		u.created[id] = false
	}
	if err == nil {
		u.crowd.acked.Add(1)
		u.crowd.across.Add(1)
	}
}

// settle changes the settings. Their revision counts how often that was done.
func (u *user) settle(ctx context.Context) {
	req := &marketplacev1.UpdateSettingsRequest{Settings: &marketplacev1.Settings{Revision: u.revision, DisplayName: fmt.Sprint("n", u.revision+1)}}
	resp := &marketplacev1.UpdateSettingsResponse{}
	if err := u.command(ctx, u.client, "cloud-user/update-settings", req, resp); err != nil {
		u.fault("settings after revision %d: %v", u.revision, err)
		return
	}
	u.revision++
	if resp.GetRevision() != u.revision {
		u.fault("the settings are at revision %d, %d changes were acknowledged", resp.GetRevision(), u.revision)
	}
	u.crowd.acked.Add(1)
}

// look reads what was written last.
func (u *user) look(ctx context.Context) {
	account := &marketplacev1.GetAccountResponse{}
	if u.command(ctx, u.client, "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, account) != nil {
		return
	}
	if got := account.GetAccount().GetSettings().GetRevision(); got != u.revision {
		u.fault("a read shows revision %d, acknowledged is %d", got, u.revision)
	}
	u.crowd.acked.Add(1)
}
