package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// demoSpec is the machine that alice wants.
var demoSpec = &marketplacev1.Spec{Vcpus: 2, MemoryMib: 4096, DiskGib: 100}

const (
	// drops is how many small grants olga makes while the server is killed.
	drops = 30
	drop  = 1000
)

// grant has olga give alice credit, and counts what was acknowledged.
func (d *demo) grant(ctx context.Context, amount int64, note string) error {
	ctx, cancel := context.WithTimeout(ctx, sceneLimit)
	defer cancel()
	err := d.olga.Call(ctx, "cloud-operator/grant-credit", &marketplacev1.GrantCreditRequest{UserId: d.now().account.GetUserId(), Amount: amount, Note: note}, &marketplacev1.GrantCreditResponse{})
	if err == nil {
		d.granted += amount
		d.commands++
	}
	return err
}

// credit has olga give alice credit for nearly eight days.
func (d *demo) credit(ctx context.Context) error {
	if err := d.until(ctx, "the account", func(h *heard) bool { return h.account != nil }); err != nil {
		return err
	}
	if err := d.grant(ctx, 24_000_000, "welcome"); err != nil {
		return err
	}
	if err := d.until(ctx, "the credit", func(h *heard) bool { return h.account.GetCredit() == d.granted }); err != nil {
		return err
	}
	d.say("olga, an operator, grants her %s. Her socket says so at once.", dollars(d.granted))
	return nil
}

// find looks for a node, once the recorded grid is known to the end.
func (d *demo) find(ctx context.Context) error {
	found := &marketplacev1.FindNodesResponse{}
	for began, known := time.Now(), uint32(0); known == 0 || known != nodesOf(found); time.Sleep(200 * time.Millisecond) {
		if time.Since(began) > sceneLimit {
			return errors.New("no node was found")
		}
		known = nodesOf(found)
		if err := d.alice.Call(ctx, "cloud-user/find-nodes", &marketplacev1.FindNodesRequest{Spec: demoSpec, Country: "Belgium", PageSize: 3}, found); err != nil {
			return err
		}
	}
	d.say("She looks for 2 processors, 4 GiB and 100 GiB of disk in Belgium: %d nodes of the recorded grid have room.", found.GetTotal())
	for _, n := range found.GetNodes() {
		d.say("  node %d, %s, farm %s: %s an hour", n.GetNode().GetNodeId(), n.GetNode().GetCity(), n.GetNode().GetFarmName(), dollars(n.GetHourlyPrice()))
	}
	for _, e := range found.GetExcluded() {
		d.say("  %d others failed at: %s", e.GetNodes(), e.GetCondition())
	}
	d.hear(func(h *heard) {
		h.deployment = &marketplacev1.Deployment{NodeId: found.GetNodes()[0].GetNode().GetNodeId()}
	})
	return nil
}

// nodesOf is how many nodes a search has looked at.
func nodesOf(found *marketplacev1.FindNodesResponse) uint32 {
	n := found.GetTotal()
	for _, e := range found.GetExcluded() {
		n += e.GetNodes()
	}
	return n
}

// deploy creates the machine and hears every step.
func (d *demo) deploy(ctx context.Context) error {
	node := d.now().deployment.GetNodeId()
	quote := &marketplacev1.QuoteDeploymentResponse{}
	if err := d.alice.Call(ctx, "cloud-user/quote-deployment", &marketplacev1.QuoteDeploymentRequest{Spec: demoSpec, NodeId: node}, quote); err != nil {
		return err
	}
	created := &marketplacev1.CreateDeploymentResponse{}
	d.say("She deploys on node %d for %s an hour (%s a month), and not a cent more.", node, dollars(quote.GetHourlyPrice()), dollars(quote.GetMonthlyPrice()))
	if err := d.alice.Call(ctx, "cloud-user/create-deployment", &marketplacev1.CreateDeploymentRequest{
		Name: "web", Spec: demoSpec, NodeId: node, MaxHourlyPrice: quote.GetHourlyPrice(),
	}, created); err != nil {
		return err
	}
	d.commands++
	if err := d.watchDeployment(created.GetDeploymentId()); err != nil {
		return err
	}
	return d.until(ctx, "the machine", func(h *heard) bool {
		return h.deployment.GetState() == marketplacev1.DeploymentState_DEPLOYMENT_STATE_RUNNING
	})
}

// bill sees the balance fall.
func (d *demo) bill(ctx context.Context) error {
	price := d.now().deployment.GetHourlyPrice()
	for _, hours := range []int64{10, 20, 30} {
		if err := d.until(ctx, "the hours", func(h *heard) bool { return h.account.GetUsedTotal() >= hours*price }); err != nil {
			return err
		}
		a := d.now().account
		d.say("  push: %d hours billed, %s left, lasts until %s", a.GetUsedTotal()/price, dollars(a.GetAvailable()), a.GetRunOutTime().AsTime().Format("2 January 15:04"))
	}
	return nil
}

// killed kills the server while olga goes on granting.
func (d *demo) killed(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		for i := range drops {
			if err := d.grant(ctx, drop, fmt.Sprintf("drop %d", i)); err != nil {
				done <- fmt.Errorf("grant during the kill: %w", err)
				return
			}
		}
		done <- nil
	}()
	time.Sleep(30 * time.Millisecond) // into the middle of it
	d.say("kill -9 of the server, while olga is granting small sums one after another.")
	if err := d.server.kill(); err != nil {
		return err
	}
	d.kills++
	if err := d.server.start(ctx); err != nil {
		return err
	}
	d.say("It is started again. Clients come back by themselves and ask again what was not answered.")
	if err := <-done; err != nil {
		return err
	}
	if err := d.until(ctx, "every grant to be in the account", func(h *heard) bool { return h.account.GetGrantedTotal() == d.granted }); err != nil {
		return err
	}
	if err := d.until(ctx, "the streams to go on", func(h *heard) bool { return h.resumed+h.broken >= 4 }); err != nil {
		return err
	}
	d.say("All %d grants were made, each once. %d of 4 streams went on without a loss.", drops, d.now().resumed)
	return nil
}

// warned waits for the warnings down to the last hours.
func (d *demo) warned(ctx context.Context) error {
	d.say("Her credit shortens.")
	return d.until(ctx, "the warning of the last six hours", func(h *heard) bool {
		n := len(h.notifications)
		return n > 0 && h.notifications[n-1].GetRunwayLevel() >= marketplacev1.RunwayLevel_RUNWAY_LEVEL_SIX_HOURS
	})
}

// broadcast has olga speak to everyone and help alice out.
func (d *demo) broadcast(ctx context.Context) error {
	if err := d.olga.Call(ctx, "cloud-operator/broadcast", &marketplacev1.SendBroadcastRequest{
		Text: "Maintenance of the gateway tonight at 22:00 UTC. Nothing to do for you.", Severity: marketplacev1.Severity_SEVERITY_INFO,
	}, &marketplacev1.SendBroadcastResponse{}); err != nil {
		return err
	}
	d.commands++
	if err := d.until(ctx, "the broadcast", func(h *heard) bool { return len(h.broadcasts) == 1 }); err != nil {
		return err
	}
	if err := d.grant(ctx, 50_000_000, "goodwill"); err != nil {
		return err
	}
	d.say("olga grants her %s more; the warnings are over.", dollars(50_000_000))
	return d.until(ctx, "the recovery", func(h *heard) bool {
		return h.account.GetRunwayLevel() == marketplacev1.RunwayLevel_RUNWAY_LEVEL_UNSPECIFIED && h.account.GetGrantedTotal() == d.granted
	})
}

// end cancels the machine and waits until everything is settled.
func (d *demo) end(ctx context.Context) error {
	d.say("She cancels the machine.")
	if err := d.alice.Call(ctx, "cloud-user/cancel-deployment", &marketplacev1.CancelDeploymentRequest{DeploymentId: d.now().deployment.GetDeploymentId()}, &marketplacev1.CancelDeploymentResponse{}); err != nil {
		return err
	}
	d.commands++
	return d.until(ctx, "the end", func(h *heard) bool {
		return h.deployment.GetState() == marketplacev1.DeploymentState_DEPLOYMENT_STATE_DELETED && h.account.GetHeld() == 0 &&
			h.account.GetLiveDeployments() == 0 && h.account.GetUsedTotal() == h.deployment.GetCharged()
	})
}
