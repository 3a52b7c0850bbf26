//go:build long

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/fault"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestKillMatrix lets the real binary die at every point in turn, while people
// grant, transfer, deploy, are billed and cancel, early and late in it. Each time it is
// started again and must come to an end that agrees with what was answered.
func TestKillMatrix(t *testing.T) {
	for _, point := range fault.Points() {
		for _, pass := range []int{1, 6} {
			name := fmt.Sprintf("%s#%d", point, pass)
			t.Run(name, func(t *testing.T) { dieOnce(t, name) })
		}
	}
}

// dieOnce loads the grid, then serves until the process dies at the point, and
// goes on with one that does not.
func dieOnce(t *testing.T, point string) {
	c := &crash{t: t, server: child{data: filepath.Join(t.TempDir(), "data")}, granted: map[string]int64{}, sent: map[string]int64{}}
	ctx := t.Context()
	if err := c.server.start(ctx); err != nil {
		t.Fatal(err)
	}
	c.alice, c.olga = c.connect("alice"), c.connect("olga")
	defer func() { _ = c.server.stop() }()
	defer c.alice.Close()
	defer c.olga.Close()
	c.findNodes(ctx)
	if err := c.server.stop(); err != nil {
		t.Fatal(err)
	}
	c.server.dieAt = point
	if err := c.server.start(ctx); err != nil {
		c.server.dieAt = "" // it died before it was ready: that is a moment, too
		if err := c.server.start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var wait sync.WaitGroup
	wait.Go(func() { c.oneOfEach(ctx) })
	select {
	case <-c.server.exited:
	case <-time.After(10 * time.Second):
		t.Log("the point was not passed so often; the process is killed in place of that")
		if err := c.server.kill(); err != nil {
			t.Fatal(err)
		}
	}
	c.server.dieAt = ""
	if err := c.server.start(ctx); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	c.settle(ctx)
	if err := c.server.stop(); err != nil {
		t.Fatal(err)
	}
	c.verify(ctx)
}

// oneOfEach grants, transfers, deploys, waits to be billed and cancels, asking each until
// it is answered.
func (c *crash) oneOfEach(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.grant(ctx, "sandbox|alice", 1_000_000_000); err != nil {
		c.t.Errorf("grant: %v", err)
		return
	}
	for range 3 {
		if err := c.transfer(ctx, "sandbox|alice", 1_000_000); err != nil {
			c.t.Errorf("transfer: %v", err)
			return
		}
	}
	created := &marketplacev1.CreateDeploymentResponse{}
	if err := c.alice.Call(ctx, "cloud-user/create-deployment", &marketplacev1.CreateDeploymentRequest{Name: "web", Spec: demoSpec, NodeId: 2, MaxHourlyPrice: 200_000}, created); err != nil {
		c.t.Errorf("create: %v", err)
		return
	}
	c.created = append(c.created, created.GetDeploymentId())
	account := &marketplacev1.GetAccountResponse{}
	for account.GetAccount().GetUsedTotal() == 0 {
		if err := c.alice.Call(ctx, "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, account); err != nil {
			c.t.Errorf("while waiting to be billed: %v", err)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.cancel(ctx, created.GetDeploymentId())
}
