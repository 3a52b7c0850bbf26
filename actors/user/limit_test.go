package user

import (
	"errors"
	"strconv"
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

// TestLimit fills an account with as many deployments as it may have. One that
// is gone makes room; those that are there are not held up.
func TestLimit(t *testing.T) {
	s, now := &state{}, story.Begin
	ask := func(req proto.Message) error {
		now = now.Add(time.Second)
		events, _, err := user{}.Decide(s, req, entity.Env{Now: now, ID: "ann", Subject: entity.System, Fresh: "fresh"})
		for _, e := range events {
			user{}.Apply(s, e)
		}
		return err
	}
	settle := func(n int, statement uint64, to marketplacev1.DeploymentState, hold int64) error {
		return ask(&taskv1.SettleDeploymentRequest{
			UserId: "ann", DeploymentId: "d" + strconv.Itoa(n), Statement: statement, State: to, Hold: hold, MeteredUntilTime: timestamppb.New(now),
		})
	}
	if err := ask(&marketplacev1.GrantCreditRequest{UserId: "ann", Amount: 2 * maxDeployments}); err != nil {
		t.Fatal(err)
	}
	const (
		requested = marketplacev1.DeploymentState_DEPLOYMENT_STATE_REQUESTED
		deleted   = marketplacev1.DeploymentState_DEPLOYMENT_STATE_DELETED
	)
	for n := range maxDeployments {
		if err := settle(n, 1, requested, 1); err != nil {
			t.Fatalf("deployment %d: %v", n, err)
		}
	}
	full := messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_LIMIT_REACHED, "")
	if err := settle(maxDeployments, 1, requested, 1); !errors.Is(err, full) {
		t.Fatalf("one too many: %v", err)
	}
	if err := settle(3, 2, requested, 2); err != nil {
		t.Fatalf("one that is there: %v", err)
	}
	if err := settle(maxDeployments+1, 3, deleted, 0); err != nil {
		t.Fatalf("one that is gone before it was heard of: %v", err)
	}
	if err := settle(3, 3, deleted, 0); err != nil {
		t.Fatal(err)
	}
	if err := settle(maxDeployments, 1, requested, 1); err != nil {
		t.Fatalf("after one is gone: %v", err)
	}
	if live := account("ann", s).GetLiveDeployments(); live != maxDeployments {
		t.Fatalf("%d deployments are live", live)
	}
}
