package deployment

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/story"
	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// outside is what a deployment asks things of: it does them or refuses, says so
// at once, later, twice, or when nobody wants to know any more.
type outside struct {
	t *testing.T
	r *rand.Rand
	a *story.Actor[*state, *event]

	reserved, contract bool     // what is there
	said               []answer // every answer that was ever on its way
	kind               bool     // it does what it is asked, and refuses nothing
}

type answer struct {
	task    string
	result  proto.Message
	refusal *messages.Error
}

func (o *outside) refuses(reason marketplacev1.ErrorReason) *messages.Error {
	if o.kind || o.r.IntN(10) > 0 {
		return nil
	}
	return messages.Refuse(reason, "no")
}

// do does a task, for the first time or again.
func (o *outside) do(task entity.Task) answer {
	a := answer{task: task.ID}
	switch task.Do.(type) {
	case *taskv1.SettleDeploymentRequest:
		if a.refusal = o.refuses(marketplacev1.ErrorReason_ERROR_REASON_INSUFFICIENT_BALANCE); a.refusal == nil {
			covered := o.r.IntN(3) > 0
			a.result = &taskv1.SettleDeploymentResponse{Covered: covered, Missing: map[bool]int64{false: 1 + o.r.Int64N(9)}[covered]}
		}
	case *taskv1.ReserveCapacityRequest:
		if a.refusal = o.refuses(marketplacev1.ErrorReason_ERROR_REASON_CAPACITY_LOST); a.refusal == nil || o.reserved {
			o.reserved, a = true, answer{task: task.ID, result: &taskv1.ReserveCapacityResponse{Certified: o.r.IntN(8) == 0}}
		}
	case *taskv1.ReleaseCapacityRequest:
		if a.refusal = o.refuses(marketplacev1.ErrorReason_ERROR_REASON_NODE_OFFLINE); a.refusal == nil {
			o.reserved, a.result = false, &taskv1.ReleaseCapacityResponse{}
		}
	case *taskv1.CreateContract:
		if a.refusal = o.refuses(marketplacev1.ErrorReason_ERROR_REASON_GRID_REFUSED); a.refusal == nil || o.contract {
			o.contract, a = true, answer{task: task.ID, result: &taskv1.ContractCreated{ContractId: 42}}
		}
	case *taskv1.DeployWorkload:
		if a.refusal = o.refuses(marketplacev1.ErrorReason_ERROR_REASON_GRID_REFUSED); a.refusal == nil {
			a.result = &taskv1.WorkloadDeployed{Address: "100.64.0.1"}
		}
	case *taskv1.CancelContract:
		if a.refusal = o.refuses(marketplacev1.ErrorReason_ERROR_REASON_GRID_REFUSED); a.refusal == nil {
			o.contract, a.result = false, &taskv1.ContractCancelled{}
		}
	default:
		o.t.Fatalf("nobody does %T", task.Do)
	}
	o.said = append(o.said, a)
	return a
}

// step does one thing that may happen.
func (o *outside) step() {
	o.a.Now = o.a.Now.Add(time.Duration(o.r.Int64N(int64(4*time.Minute))) + time.Duration(o.r.IntN(2))*time.Duration(o.r.Int64N(int64(3*time.Hour))))
	o.a.Now = o.a.Now.Truncate(time.Millisecond)
	switch n := o.r.IntN(20); {
	case n == 0 && o.r.IntN(4) == 0:
		o.a.Ask("ann", &marketplacev1.CancelDeploymentRequest{DeploymentId: "web"})
	case n < 3:
		o.a.Ask(entity.System, &taskv1.RecheckCreditRequest{DeploymentId: "web", Statement: o.r.Uint64N(o.a.State.GetStatement() + 2)})
	case n < 8:
		o.a.Woken()
	case n < 10 && len(o.said) > 0: // an old answer, again
		old := o.said[o.r.IntN(len(o.said))]
		if !wanted(o.a, old.task) {
			o.a.Done(old.task, old.result, old.refusal)
		}
	default:
		tasks := o.a.Tasks()
		if len(tasks) == 0 {
			return
		}
		got := o.do(tasks[o.r.IntN(len(tasks))])
		if o.r.IntN(5) > 0 { // else the answer is lost on its way, and it is asked again
			o.a.Done(got.task, got.result, got.refusal)
		}
	}
}

// wanted says whether the actor wants a task now. An answer to such a task is
// the outside's last, so an older one does not overtake it.
func wanted(a *story.Actor[*state, *event], id string) bool {
	for _, task := range a.Tasks() {
		if task.ID == id {
			return true
		}
	}
	return false
}

// TestRandom lets a deployment live in a world in which anything may happen at
// any time, and holds it to its promises: nothing is left over outside, and
// every millisecond is charged once.
func TestRandom(t *testing.T) {
	ends := map[phase]int{}
	for seed := range uint64(24) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			o := &outside{t: t, r: r, a: story.New[*state, *event](t, "deployment", "web", deployment{terms})}
			o.a.Ask("ann", &marketplacev1.CreateDeploymentRequest{
				Name: "web", NodeId: 7, MaxHourlyPrice: 150_000, Spec: &marketplacev1.Spec{Vcpus: 2, MemoryMib: 4096, DiskGib: 99},
			})
			var before int64
			for n := range 400 {
				o.kind = n > 200
				if n == 300 && o.a.State.GetDeployment().GetState() < ending {
					o.a.Ask("ann", &marketplacev1.CancelDeploymentRequest{DeploymentId: "web"})
				}
				o.step()
				o.check(before)
				before = o.a.State.GetDeployment().GetCharged()
				if t.Failed() {
					return
				}
			}
			if len(o.a.Tasks()) > 0 {
				t.Errorf("in the end it still wants %v", o.a.Tasks())
			}
			ends[o.a.State.GetDeployment().GetState()]++
		})
	}
	if ends[deleted] < 3 || ends[failed] < 3 || len(ends) != 2 {
		t.Errorf("the lives ended as %v", ends)
	}
}

// check holds a deployment to its promises.
func (o *outside) check(before int64) {
	o.t.Helper()
	s := o.a.State
	d := s.GetDeployment()
	if d.GetCharged() < before {
		o.t.Fatalf("charged fell from %d to %d", before, d.GetCharged())
	}
	if over := d.GetState() == deleted || d.GetState() == failed; over && (!undone(s) || o.reserved || o.contract) {
		o.t.Fatalf("it is %v, and left a contract (%t) or capacity (%t) behind: %v", d.GetState(), o.contract, o.reserved, s)
	}
	if d.GetState() == failed && d.GetCharged() > 0 {
		o.t.Fatalf("it never ran and was charged %d", d.GetCharged())
	}
	if s.GetSettled() > s.GetStatement() || len(d.GetSteps()) > maxSteps {
		o.t.Fatalf("statement %d, heard %d, %d steps", s.GetStatement(), s.GetSettled(), len(d.GetSteps()))
	}
	for _, step := range d.GetSteps() {
		if step.GetState() == running && !s.GetRan() {
			o.t.Fatal("it ran, and does not know it")
		}
	}
}

// TestNothingIsLostByRounding meters random intervals, and compares what is
// charged with what one look at the whole time gives.
func TestNothingIsLostByRounding(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		hourly := 1 + r.Int64N(100_000_000_000)
		s := &state{Deployment: &marketplacev1.Deployment{State: running, HourlyPrice: hourly, MeteredUntilTime: timestamppb.New(story.Begin)}}
		now := story.Begin
		for range 200 {
			now = now.Add(time.Duration(r.Int64N(int64(2 * time.Hour))).Truncate(time.Millisecond))
			for _, e := range meter(s, now) {
				deployment{}.Apply(s, e)
			}
		}
		all := new(big.Int).Mul(big.NewInt(hourly), big.NewInt(now.Sub(story.Begin).Milliseconds()))
		want, rest := all.QuoRem(all, big.NewInt(3_600_000), new(big.Int))
		if want.Int64() != s.GetDeployment().GetCharged() || rest.Int64() != s.GetChargeRemainder() {
			t.Fatalf("%d an hour for %s: charged %d and %d left, want %v and %v", hourly, now.Sub(story.Begin), s.GetDeployment().GetCharged(), s.GetChargeRemainder(), want, rest)
		}
	}
}
