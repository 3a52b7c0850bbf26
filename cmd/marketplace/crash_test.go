package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/deployment"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	"github.com/threefoldtech/cloud-marketplace/client"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

const (
	crashRounds = 5
	granters    = 8
	deployers   = 4
)

// crash is a server under load that is killed again and again.
type crash struct {
	t       *testing.T
	server  child
	mu      sync.Mutex
	granted map[string]int64 // what was acknowledged, by user
	sent    map[string]int64 // and of that, what was transferred to bob
	created []string         // deployments that were acknowledged
	alice   *client.Client
	olga    *client.Client
}

// TestCrash kills the real binary at random under load. Every command is asked
// until it is answered; then the books must hold exactly what was answered,
// every deployment must have come to an end, and nothing may be left held.
func TestCrash(t *testing.T) {
	c := &crash{t: t, server: child{data: filepath.Join(t.TempDir(), "data")}, granted: map[string]int64{}, sent: map[string]int64{}}
	ctx := t.Context()
	if err := c.server.start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.server.stop() }()
	c.alice, c.olga = c.connect("alice"), c.connect("olga")
	defer c.alice.Close()
	defer c.olga.Close()
	if err := c.grant(ctx, "sandbox|alice", 1_000_000_000); err != nil {
		t.Fatal(err)
	}
	c.findNodes(ctx)
	load, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	for i := range granters {
		wait.Go(func() { c.keepGranting(load, fmt.Sprintf("user-%d", i)) })
	}
	for i := range deployers {
		wait.Go(func() { c.keepDeploying(load, i) })
	}
	for round := range crashRounds {
		time.Sleep(time.Duration(200+rand.IntN(800)) * time.Millisecond)
		if err := c.server.kill(); err != nil {
			t.Fatal(err)
		}
		if err := c.server.start(ctx); err != nil {
			t.Fatalf("after kill %d: %v", round+1, err)
		}
	}
	time.Sleep(500 * time.Millisecond)
	stop()
	wait.Wait()
	c.settle(ctx)
	if err := c.server.stop(); err != nil {
		t.Fatal(err)
	}
	c.verify(ctx)
}

func (c *crash) connect(who string) *client.Client {
	cl, err := client.Dial(c.t.Context(), client.Config{URL: "ws://" + c.server.addresses.API + "/ws", Token: c.server.tokens(who), MaxPause: 200 * time.Millisecond})
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// grant gives credit and notes it once it is acknowledged.
func (c *crash) grant(ctx context.Context, user string, amount int64) error {
	err := c.olga.Call(ctx, "cloud-operator/grant-credit", &marketplacev1.GrantCreditRequest{UserId: user, Amount: amount}, &marketplacev1.GrantCreditResponse{})
	if err == nil {
		c.mu.Lock()
		c.granted[user] += amount
		c.mu.Unlock()
	}
	return err
}

// transfer moves credit to bob and notes it once it is acknowledged.
func (c *crash) transfer(ctx context.Context, user string, amount int64) error {
	req := &marketplacev1.TransferCreditRequest{FromUserId: user, ToUserId: "sandbox|bob", Amount: amount}
	err := c.olga.Call(ctx, "cloud-operator/transfer-credit", req, &marketplacev1.TransferCreditResponse{})
	if err == nil {
		c.mu.Lock()
		c.sent[user] += amount
		c.mu.Unlock()
	}
	return err
}

// keepGranting grants, and transfers some of it, until told to stop; what was
// begun is waited for, so that everything asked is answered.
func (c *crash) keepGranting(ctx context.Context, user string) {
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		if err := c.grant(limited, user, int64(1+rand.IntN(100))); err != nil {
			c.t.Errorf("grant to %s: %v", user, err)
		} else if err := c.transfer(limited, user, 1); err != nil {
			c.t.Errorf("transfer of %s: %v", user, err)
		}
		cancel()
		time.Sleep(100 * time.Millisecond) // the server takes 100 requests a second of a connection
	}
}

func (c *crash) findNodes(ctx context.Context) {
	for found := (&marketplacev1.FindNodesResponse{}); found.GetTotal() < 1000; time.Sleep(100 * time.Millisecond) {
		if err := c.alice.Call(ctx, "cloud-user/find-nodes", &marketplacev1.FindNodesRequest{Spec: demoSpec, PageSize: 1}, found); err != nil {
			c.t.Fatal(err)
		}
	}
}

// keepDeploying deploys and sometimes cancels at once.
func (c *crash) keepDeploying(ctx context.Context, worker int) {
	for n := 0; ctx.Err() == nil; n++ {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		created := &marketplacev1.CreateDeploymentResponse{}
		err := c.alice.Call(limited, "cloud-user/create-deployment", &marketplacev1.CreateDeploymentRequest{
			Name: fmt.Sprintf("w%d-%d", worker, n), Spec: demoSpec, NodeId: uint32(1 + worker), MaxHourlyPrice: 200_000,
		}, created)
		if err != nil {
			c.t.Errorf("create: %v", err)
		} else {
			c.mu.Lock()
			c.created = append(c.created, created.GetDeploymentId())
			c.mu.Unlock()
			if n%3 == 0 {
				c.cancel(limited, created.GetDeploymentId())
			}
		}
		cancel()
		time.Sleep(150 * time.Millisecond)
	}
}

// cancel ends a deployment; that it has ended already is as good.
func (c *crash) cancel(ctx context.Context, id string) {
	_ = c.alice.Call(ctx, "cloud-user/cancel-deployment", &marketplacev1.CancelDeploymentRequest{DeploymentId: id}, &marketplacev1.CancelDeploymentResponse{})
}

// settle cancels what runs and waits until everything has ended and was booked.
func (c *crash) settle(ctx context.Context) {
	for _, id := range c.created {
		c.cancel(ctx, id)
		time.Sleep(15 * time.Millisecond)
	}
	account := &marketplacev1.GetAccountResponse{}
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err := c.alice.Call(ctx, "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, account); err != nil {
			c.t.Fatal(err)
		}
		if account.GetAccount().GetLiveDeployments() == 0 && account.GetAccount().GetHeld() == 0 {
			return
		}
	}
	c.t.Errorf("not everything came to an end: %v", account.GetAccount())
}

// verify reads the store and holds it against what was acknowledged.
func (c *crash) verify(ctx context.Context) {
	store, err := boltstore.Open(filepath.Join(c.server.data, storeFile), boltstore.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	defer store.Close()
	r := &reader{ctx: ctx, store: store, kinds: map[string]*entity.Kind{}}
	for _, k := range actors.Kinds(deployment.Terms{}) {
		r.kinds[k.Name] = k
	}
	s := &Summary{Positions: map[string]string{}}
	var sent, underWay int64
	for user, want := range c.granted {
		m, err := r.state(s, "user", user)
		if err != nil {
			c.t.Fatal(err)
		}
		book := m.(*journalv1.UserState).GetBook()
		if err := ledger.Verify(book); err != nil {
			c.t.Errorf("%s: %v", user, err)
		}
		if got := -ledger.Balance(book, "granted"); got != want {
			c.t.Errorf("%s was granted %d, acknowledged were %d", user, got, want)
		}
		var open int64
		for _, t := range m.(*journalv1.UserState).GetOutgoing()["sandbox|bob"].GetOpen() {
			open += t.GetAmount()
		}
		if out := ledger.Balance(book, "sent"); out+open != c.sent[user] {
			c.t.Errorf("%s sent %d, and %d are on their way; acknowledged were %d", user, out, open, c.sent[user])
		}
		sent, underWay = sent+ledger.Balance(book, "sent"), underWay+open
	}
	bob, err := r.state(s, "user", "sandbox|bob")
	if err != nil {
		c.t.Fatal(err)
	}
	if got := -ledger.Balance(bob.(*journalv1.UserState).GetBook(), "received"); got < sent || got > sent+underWay {
		c.t.Errorf("bob received %d; %d were sent, and %d are on their way", got, sent, underWay)
	}
	m, err := r.state(s, "user", "sandbox|alice")
	if err != nil {
		c.t.Fatal(err)
	}
	var charged int64
	for _, id := range c.created {
		d, err := r.state(s, "deployment", id)
		if err != nil {
			c.t.Fatal(err)
		}
		v := d.(*journalv1.DeploymentState)
		charged += v.GetDeployment().GetCharged()
		if p := v.GetDeployment().GetState(); p != marketplacev1.DeploymentState_DEPLOYMENT_STATE_DELETED && p != marketplacev1.DeploymentState_DEPLOYMENT_STATE_FAILED {
			c.t.Errorf("deployment %s is %v", id, p)
		}
	}
	if used := ledger.Balance(m.(*journalv1.UserState).GetBook(), "used"); used != charged {
		c.t.Errorf("alice paid %d, her deployments cost %d", used, charged)
	}
	for n := 1; n <= deployers; n++ {
		held, err := r.state(s, "node", strconv.Itoa(n))
		if err != nil {
			c.t.Fatal(err)
		}
		if left := held.(*journalv1.NodeState).GetReservations(); len(left) > 0 {
			c.t.Errorf("node %d still holds %v", n, left)
		}
	}
	c.t.Logf("%d kills, %d deployments, %d users", crashRounds, len(c.created), len(c.granted))
}
