package main

import (
	"context"
	"sync"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// settleWithin is how long everything may take to come to an end.
const settleWithin = 2 * time.Minute

// readBack ends what runs and compares what can be read with what was acknowledged.
func (c *crowd) readBack(ctx context.Context, r *result) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, u := range c.users {
		all.Go(func() {
			own := result{}
			u.readBack(ctx, &own)
			mu.Lock()
			defer mu.Unlock()
			r.lost, r.doubled, r.inconsistent = r.lost+own.lost, r.doubled+own.doubled, r.inconsistent+own.inconsistent
			for _, d := range own.details {
				r.detail("%s: %s", u.id, d)
			}
		})
	}
	all.Wait()
}

func (u *user) readBack(ctx context.Context, r *result) {
	for id, yet := range u.created {
		if yet {
			u.cancel(ctx, id)
		}
	}
	account := u.quiet(ctx, r)
	if account == nil {
		return
	}
	u.compareMoves(ctx, r, account)
	charged := u.compareDeployments(ctx, r)
	if account.GetUsedTotal() != charged {
		r.wrong("paid %d for deployments that cost %d", account.GetUsedTotal(), charged)
	}
	switch got := account.GetSettings().GetRevision(); {
	case got < u.revision:
		r.lost += int(u.revision - got) //nolint:gosec // few
		r.detail("settings at revision %d of %d", got, u.revision)
	case got > u.revision:
		r.doubled += int(got - u.revision) //nolint:gosec // few
		r.detail("settings at revision %d of %d", got, u.revision)
	}
	for _, f := range u.faults {
		r.wrong("%s", f)
	}
}

// quiet waits until nothing of the user's is under way.
func (u *user) quiet(ctx context.Context, r *result) *marketplacev1.Account {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	account := &marketplacev1.GetAccountResponse{}
	for clock.Pause(ctx, 100*time.Millisecond) {
		if u.command(ctx, u.client, "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, account) != nil {
			continue
		}
		want := int64(0)
		u.mu.Lock()
		for _, amount := range u.received {
			want += amount
		}
		u.mu.Unlock()
		a := account.GetAccount()
		if a.GetLiveDeployments() == 0 && a.GetHeld() == 0 && a.GetReceivedTotal() >= want {
			return a
		}
	}
	r.wrong("it did not come to an end: %v", account.GetAccount())
	return nil
}

// compareMoves reads every transaction.
func (u *user) compareMoves(ctx context.Context, r *result, account *marketplacev1.Account) {
	seen, sum := map[string]int{}, int64(0)
	page := &marketplacev1.ListTransactionsResponse{}
	for token, done := "", false; !done; done = token == "" {
		page.Reset()
		if err := u.command(ctx, u.client, "cloud-user/list-transactions", &marketplacev1.ListTransactionsRequest{PageSize: 500, PageToken: token}, page); err != nil {
			r.wrong("transactions cannot be read: %v", err)
			return
		}
		for _, t := range page.GetTransactions() {
			sum += t.GetAmount()
			if t.GetType() != marketplacev1.TransactionType_TRANSACTION_TYPE_USAGE {
				u.compareMove(r, t, seen)
			}
		}
		token = page.GetNextPageToken()
	}
	if sum != account.GetCredit() {
		r.wrong("transactions make %d, the credit is %d", sum, account.GetCredit())
	}
	for note := range u.moves {
		if seen[note] == 0 {
			r.lost++
			r.detail("%s was acknowledged and is not there", note)
		}
	}
	for note := range u.received {
		if seen[note] == 0 {
			r.lost++
			r.detail("%s was acknowledged to its sender and is not there", note)
		}
	}
}

// compareMove compares one transaction with what was acknowledged under its note.
func (u *user) compareMove(r *result, t *marketplacev1.Transaction, seen map[string]int) {
	seen[t.GetNote()]++
	amount, known := u.moves[t.GetNote()]
	if !known {
		amount, known = u.received[t.GetNote()]
	}
	switch {
	case seen[t.GetNote()] > 1, !known:
		r.doubled++
		r.detail("%s is there %d times, acknowledged: %t", t.GetNote(), seen[t.GetNote()], known)
	case amount != t.GetAmount():
		r.wrong("%s is of %d, acknowledged was %d", t.GetNote(), t.GetAmount(), amount)
	}
}

// compareDeployments reads every deployment and returns what they cost.
func (u *user) compareDeployments(ctx context.Context, r *result) int64 {
	charged := int64(0)
	for id := range u.created {
		detail := &marketplacev1.GetDeploymentResponse{}
		if err := u.command(ctx, u.client, "cloud-user/deployment-detail", &marketplacev1.GetDeploymentRequest{DeploymentId: id}, detail); err != nil {
			r.lost++
			r.detail("deployment %s: %v", id, err)
			continue
		}
		charged += detail.GetDeployment().GetCharged()
		if s := detail.GetDeployment().GetState(); s != marketplacev1.DeploymentState_DEPLOYMENT_STATE_DELETED && s != marketplacev1.DeploymentState_DEPLOYMENT_STATE_FAILED {
			r.wrong("deployment %s is %v", id, s)
		}
	}
	return charged
}
