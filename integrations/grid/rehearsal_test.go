package grid

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// do hands a task to whoever does its kind.
func do(t *testing.T, r *Rehearsal, ctx context.Context, task proto.Message) (proto.Message, error) { //nolint:revive // t first, as in every helper
	t.Helper()
	execute := r.Executors()[nameOf(task)]
	if execute == nil {
		t.Fatalf("nobody does %s", nameOf(task))
	}
	return execute(ctx, "task-1", task)
}

func created(t *testing.T, r *Rehearsal, deployment string) uint64 {
	t.Helper()
	done, err := do(t, r, t.Context(), &taskv1.CreateContract{DeploymentId: deployment, NodeId: 7})
	if err != nil {
		t.Fatal(err)
	}
	return done.(*taskv1.ContractCreated).GetContractId()
}

func TestRehearsalForgetsAndAnswersAlike(t *testing.T) {
	seen := map[uint64]bool{}
	for i := range 1000 {
		id := fmt.Sprintf("deployment-%d", i)
		contract := created(t, &Rehearsal{StepDelay: -1}, id)
		if contract == 0 || contract >= 1<<53 || seen[contract] {
			t.Fatalf("%s: contract %d", id, contract)
		}
		seen[contract] = true
		for ipv4, network := range map[bool]string{true: "100.64.0.0/10", false: "2001:db8::/32"} {
			task := &taskv1.DeployWorkload{DeploymentId: id, NodeId: 7, ContractId: contract, Spec: &marketplacev1.Spec{PublicIpv4: ipv4}, Name: "web"}
			var first string
			for range 2 {
				done, err := do(t, &Rehearsal{StepDelay: -1}, t.Context(), task)
				if err != nil {
					t.Fatal(err)
				}
				text := done.(*taskv1.WorkloadDeployed).GetAddress()
				if address, err := netip.ParseAddr(text); err != nil || !netip.MustParsePrefix(network).Contains(address) || first != "" && first != text {
					t.Fatalf("%s is at %s, before at %s, want one of %s: %v", id, text, first, network, err)
				}
				first = text
			}
		}
		if again := created(t, &Rehearsal{StepDelay: -1}, id); again != contract {
			t.Fatalf("%s: contract %d, then %d", id, contract, again)
		}
		for _, contract := range []uint64{contract, 0} {
			if _, err := do(t, &Rehearsal{StepDelay: -1}, t.Context(), &taskv1.CancelContract{DeploymentId: id, ContractId: contract}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRehearsalRefuses(t *testing.T) {
	r := &Rehearsal{StepDelay: -1}
	refused := &messages.Error{Reason: marketplacev1.ErrorReason_ERROR_REASON_GRID_REFUSED}
	for _, task := range []proto.Message{
		&taskv1.CreateContract{}, &taskv1.DeployWorkload{ContractId: 1}, &taskv1.CancelContract{},
		&taskv1.DeployWorkload{DeploymentId: "d", ContractId: created(t, r, "e")},
	} {
		if _, err := do(t, r, t.Context(), task); !errors.Is(err, refused) {
			t.Errorf("%v: %v", task, err)
		}
	}
	if _, err := r.Executors()["marketplace.task.v1.CreateContract"](t.Context(), "task-1", &taskv1.CancelContract{DeploymentId: "d"}); !errors.Is(err, refused) {
		t.Errorf("another task: %v", err)
	}
}

func TestRehearsalFailsOnDemand(t *testing.T) {
	refusal := messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_GRID_UNAVAILABLE, "the relay is away")
	r := &Rehearsal{StepDelay: -1, Fail: func(task proto.Message) error {
		if w, ok := task.(*taskv1.DeployWorkload); ok && w.GetName() == "unlucky" {
			return refusal
		}
		return nil
	}}
	contract := created(t, r, "d")
	for name, want := range map[string]error{"unlucky": refusal, "lucky": nil} {
		done, err := do(t, r, t.Context(), &taskv1.DeployWorkload{DeploymentId: "d", ContractId: contract, Name: name})
		if !errors.Is(err, want) || (err == nil) != (done != nil) {
			t.Errorf("%s: %v, %v", name, done, err)
		}
	}
}

func TestRehearsalTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		created(t, &Rehearsal{}, "d")
		created(t, &Rehearsal{StepDelay: time.Second}, "d")
		if took := time.Since(start); took != 1300*time.Millisecond {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for _, delay := range []time.Duration{0, time.Hour, -1} { // the third when the time is over already
			if _, err := do(t, &Rehearsal{StepDelay: delay}, ctx, &taskv1.CancelContract{DeploymentId: "d"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("delay %v: %v", delay, err)
			}
		}
	})
}
