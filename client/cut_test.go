package client_test

import (
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/client"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestCutAtRandomPoints gives credit and says things over a network that breaks
// all the time. Every command is done once and answered once, and the watches
// tell everything once, in order.
func TestCutAtRandomPoints(t *testing.T) {
	network := newCutter(t, marketplace(t))
	speaker, listener := dial(t, network.Addr().String(), "olga"), dial(t, network.Addr().String(), "olga")

	const each, callers = 40, 4
	said := make(chan string, each*callers)
	_, err := listener.Watch("session/watch-broadcasts", &marketplacev1.WatchBroadcastsRequest{}, "", func(e client.Event) {
		r := &marketplacev1.WatchBroadcastsResponse{}
		switch {
		case errors.Is(e.End, client.ErrClosed): // the end of the test
		case e.End != nil:
			t.Errorf("the watch ended: %v", e.End)
		case e.Begun:
			if !e.Recovered {
				t.Error("something was missed")
			}
		case e.Decode(r) == nil:
			for _, b := range r.GetBroadcasts() {
				said <- b.GetText()
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	credits := make(chan int64, 10_000)
	if _, err := listener.Watch("cloud-user/watch-account", &marketplacev1.WatchAccountRequest{}, "", func(e client.Event) {
		r := &marketplacev1.WatchAccountResponse{}
		if e.Result != nil && e.Decode(r) == nil {
			credits <- r.GetAccount().GetCredit()
		}
	}); err != nil {
		t.Fatal(err)
	}
	<-credits // the watches have begun, so that nothing is said before

	var wait sync.WaitGroup
	var mu sync.Mutex
	answers := map[int64]bool{}
	for n := range callers {
		wait.Go(func() {
			for i := range each {
				granted := &marketplacev1.GrantCreditResponse{}
				if err := speaker.Call(t.Context(), "cloud-operator/grant-credit", &marketplacev1.GrantCreditRequest{UserId: "olga", Amount: 1}, granted); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if answers[granted.GetCredit()] {
					t.Errorf("two grants were answered with %d", granted.GetCredit())
				}
				answers[granted.GetCredit()] = true
				mu.Unlock()
				if err := speaker.Call(t.Context(), "cloud-operator/broadcast", &marketplacev1.SendBroadcastRequest{Text: strconv.Itoa(n*each + i), Severity: marketplacev1.Severity_SEVERITY_INFO}, nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	network.whole.Store(true)

	var heard []int
	for range each * callers {
		n, err := strconv.Atoi(within(t, said, "a broadcast"))
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, n)
	}
	for n := range callers { // what one caller said in turn is heard in turn
		own := slices.DeleteFunc(slices.Clone(heard), func(v int) bool { return v/each != n })
		if len(own) != each || !slices.IsSorted(own) {
			t.Errorf("of caller %d was heard %v", n, own)
		}
	}
	last := int64(-1)
	for last != each*callers {
		credit := within(t, credits, "the last state of the account")
		if credit < last {
			t.Errorf("the account went back from %d to %d", last, credit)
		}
		last = credit
	}
	account := &marketplacev1.GetAccountResponse{}
	if err := speaker.Call(t.Context(), "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, account); err != nil || account.GetAccount().GetCredit() != each*callers {
		t.Errorf("the credit is %d, not %d: %v", account.GetAccount().GetCredit(), each*callers, err)
	}
	if len(said) != 0 || network.cuts.Load() < 10 {
		t.Errorf("%d more broadcasts, %d cuts", len(said), network.cuts.Load())
	}
}
