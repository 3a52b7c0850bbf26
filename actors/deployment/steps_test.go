package deployment

import (
	"strconv"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/actors/story"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestStepsAreBounded goes in and out of the credit grace until the first steps
// are not shown any more. The grace is a new one each time.
func TestStepsAreBounded(t *testing.T) {
	a := story.New[*state, *event](t, "deployment", "web", deployment{terms})
	a.Ask("ann", &marketplacev1.CreateDeploymentRequest{Name: "web", NodeId: 7, MaxHourlyPrice: 150_000, Spec: &marketplacev1.Spec{Vcpus: 2, MemoryMib: 4096, DiskGib: 100}})
	a.Done("web/settle/1", &taskv1.SettleDeploymentResponse{Covered: true}, nil)
	a.Done("web/reserve", &taskv1.ReserveCapacityResponse{}, nil)
	a.Done("web/contract", &taskv1.ContractCreated{ContractId: 42}, nil)
	a.Done("web/workload", &taskv1.WorkloadDeployed{Address: "100.64.0.1"}, nil)
	for n := range 2 * maxSteps {
		a.Now = a.Now.Add(time.Minute)
		covered := n%2 == 1
		a.Done("web/settle/"+strconv.FormatUint(a.State.GetStatement(), 10), &taskv1.SettleDeploymentResponse{Covered: covered, Missing: map[bool]int64{false: 7}[covered]}, nil)
		d := a.State.GetDeployment()
		if !covered && !d.GetGraceEndTime().AsTime().Equal(a.Now.Add(terms.CreditGrace)) {
			t.Fatalf("the grace that begins at %s ends at %s", a.Now, d.GetGraceEndTime().AsTime())
		}
		if want := min(maxSteps, 5+n+1); len(d.GetSteps()) != want || d.GetSteps()[want-1].GetState() != d.GetState() {
			t.Fatalf("%d steps are shown, want %d; the last is %v and it is %v", len(d.GetSteps()), want, d.GetSteps()[len(d.GetSteps())-1], d.GetState())
		}
	}
	if first := a.State.GetDeployment().GetSteps()[0]; !first.GetTime().AsTime().Equal(a.Now.Add(-(maxSteps - 1) * time.Minute)) {
		t.Errorf("the oldest step shown is %v", first)
	}
}

// TestPriceWithoutEnd meters nothing when price and time cannot be multiplied,
// rather than something wrong.
func TestPriceWithoutEnd(t *testing.T) {
	s := &state{Deployment: &marketplacev1.Deployment{State: running, HourlyPrice: 1 << 62}}
	if events := meter(s, story.Begin); len(events) > 0 {
		t.Errorf("56 years at 2^62 an hour are %v", events)
	}
}
