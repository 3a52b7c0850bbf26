package user

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	"github.com/threefoldtech/cloud-marketplace/actors/story"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// guest is a deployment as it speaks of itself: its last statement is true, and
// it may repeat any earlier one.
type guest struct {
	said []*taskv1.SettleDeploymentRequest
}

// next says something new: it begins, runs, costs, is in its grace, ends.
func (g *guest) next(r *rand.Rand, id string, now time.Time) *taskv1.SettleDeploymentRequest {
	s := &taskv1.SettleDeploymentRequest{
		UserId: "ann", DeploymentId: id, Statement: 1, Name: id, NodeId: 7,
		State: marketplacev1.DeploymentState_DEPLOYMENT_STATE_REQUESTED, Hold: 1 + r.Int64N(500), MeteredUntilTime: timestamppb.New(now),
	}
	if len(g.said) > 0 {
		last := g.said[len(g.said)-1]
		s.Statement, s.State = last.GetStatement()+1+r.Uint64N(2), marketplacev1.DeploymentState_DEPLOYMENT_STATE_RUNNING
		s.Charged, s.HourlyPrice, s.Hold = last.GetCharged()+r.Int64N(300), 100, 100
		switch n := r.IntN(20); {
		case last.GetState() == marketplacev1.DeploymentState_DEPLOYMENT_STATE_ENDING || n == 0:
			s.State, s.Hold, s.HourlyPrice = marketplacev1.DeploymentState_DEPLOYMENT_STATE_DELETED, 0, 0
		case n == 1:
			s.State, s.HourlyPrice = marketplacev1.DeploymentState_DEPLOYMENT_STATE_ENDING, 0
		case n < 5:
			s.State = marketplacev1.DeploymentState_DEPLOYMENT_STATE_CREDIT_GRACE
		}
	}
	g.said = append(g.said, s)
	return s
}

func (g *guest) gone() bool { return len(g.said) > 0 && ended(g.said[len(g.said)-1].GetState()) }

// TestRandom has operators give credit and deployments say what they like, in
// any order and more than once, and holds the account to its promises.
func TestRandom(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			a := story.New[*state, *event](t, "user", "ann", user{})
			guests := map[string]*guest{}
			var usedBefore int64
			for range 200 {
				a.Now = a.Now.Add(time.Duration(r.Int64N(int64(12 * time.Hour))))
				switch id := "d" + strconv.Itoa(r.IntN(6)+6*int(a.Now.Sub(story.Begin)/(60*24*time.Hour))); r.IntN(8) {
				case 0:
					a.Ask("olga", &marketplacev1.GrantCreditRequest{UserId: "ann", Amount: 1 + r.Int64N(3000)})
				case 1:
					a.Ask("ann", &marketplacev1.UpdateSettingsRequest{Settings: &marketplacev1.Settings{Revision: r.Uint64N(3)}})
				case 2:
					if g := guests[id]; g != nil { // again, or late
						a.Ask(entity.System, g.said[r.IntN(len(g.said))])
					}
				default:
					g := guests[id]
					if g == nil {
						g = &guest{}
					}
					if g.gone() {
						continue
					}
					if o := a.Ask(entity.System, g.next(r, id, a.Now)); o.Err == nil {
						guests[id] = g
					}
				}
				check(t, a)
				if now := usage(a.State); now < usedBefore {
					t.Fatalf("used fell from %d to %d", usedBefore, now)
				} else {
					usedBefore = now
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

func usage(s *state) int64 { return s.GetBook().GetAccounts()[used].GetCredits() }

// check holds an account to its promises.
func check(t *testing.T, a *story.Actor[*state, *event]) {
	t.Helper()
	s := a.State
	if err := ledger.Verify(s.GetBook()); err != nil {
		t.Fatal(err)
	}
	var held, charged int64
	for id, d := range s.GetDeployments() {
		hold := s.GetBook().GetHolds()[id].GetAmount()
		if hold > d.GetWanted() || ended(d.GetState()) && hold > 0 {
			t.Fatalf("%s is %v, wants %d held, and %d are", id, d.GetState(), d.GetWanted(), hold)
		}
		held += hold
		charged += d.GetCharged()
	}
	if got := ledger.Held(s.GetBook(), credit); got != held {
		t.Fatalf("%d are held, deployments have %d", got, held)
	}
	if got := usage(s); got < charged {
		t.Fatalf("%d are used, deployments say %d", got, charged)
	}
	if again := tell(s, runwayOf(s), entity.Env{}); len(again) > 0 {
		t.Fatalf("what was told does not fit the state after it: %v", again)
	}
	var sum int64
	rows := a.List("transactions")
	for _, row := range rows {
		sum += row.(*marketplacev1.Transaction).GetAmount()
	}
	if len(rows) > 0 && (sum != listed(s) || sum != rows[len(rows)-1].(*marketplacev1.Transaction).GetCreditAfter()) {
		t.Fatalf("transactions add up to %d, the credit is %d with what is not listed, the last row says %v", sum, listed(s), rows[len(rows)-1])
	}
}
