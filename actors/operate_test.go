package actors

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	overloaded = marketplacev1.ErrorReason_ERROR_REASON_OVERLOADED
	timeout    = marketplacev1.ErrorReason_ERROR_REASON_ACTOR_TIMEOUT
	wrongState = marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE
	forgotten  = marketplacev1.ErrorReason_ERROR_REASON_COMMAND_ID_EXPIRED
	silence    = marketplacev1.ErrorReason_ERROR_REASON_INTERNAL // here: no answer at all
	done       = marketplacev1.ErrorReason_ERROR_REASON_UNSPECIFIED
)

// TestRunCommand asks actors that answer now, later, or not at all. Every try is
// the same request, in the name of the person.
func TestRunCommand(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []marketplacev1.ErrorReason // the last is repeated
		want    *taskv1.CommandDone         // nil: the actor's refusal
		took    time.Duration
	}{
		{"at once", []marketplacev1.ErrorReason{done}, &taskv1.CommandDone{}, 0},
		{"later", []marketplacev1.ErrorReason{overloaded, timeout, done}, &taskv1.CommandDone{}, 2 * time.Second},
		{"refused", []marketplacev1.ErrorReason{overloaded, wrongState}, nil, time.Second},
		{"never", []marketplacev1.ErrorReason{overloaded}, &taskv1.CommandDone{Reason: "OVERLOADED", Message: "no"}, 2 * time.Minute},
		{"unknown", []marketplacev1.ErrorReason{timeout, overloaded}, &taskv1.CommandDone{Reason: "OVERLOADED", Message: "no", Unknown: true}, 2 * time.Minute},
		{"forgotten", []marketplacev1.ErrorReason{timeout, forgotten}, &taskv1.CommandDone{Reason: "COMMAND_ID_EXPIRED", Message: "no", Unknown: true}, time.Second},
		{"silent", []marketplacev1.ErrorReason{silence}, &taskv1.CommandDone{Reason: "ACTOR_TIMEOUT", Message: "user ann did not answer", Unknown: true}, 2 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var first *clusterv1.Request
				o := &operator{call: func(req *clusterv1.Request, _ time.Duration, answer func(*clusterv1.Response)) {
					if strings.HasSuffix(req.GetMethod(), "GetAccess") {
						answer(&clusterv1.Response{})
						return
					}
					if first == nil {
						first = req
					}
					if !proto.Equal(req, first) {
						t.Errorf("another request: %v", req)
					}
					reason := c.answers[0]
					c.answers = c.answers[min(1, len(c.answers)-1):]
					switch reason {
					case silence:
					case done:
						answer(&clusterv1.Response{})
					default:
						answer(&clusterv1.Response{Error: messages.Refuse(reason, "no").Status()})
					}
				}}
				begun := time.Now()
				got, err := o.run(t.Context(), "task", suspendAnn(t))
				if c.want == nil {
					if messages.AsError(err).Reason != wrongState {
						t.Errorf("got %v, %v", got, err)
					}
				} else if err != nil || !proto.Equal(got, c.want) {
					t.Errorf("got %v, %v", got, err)
				}
				if took := time.Since(begun); took != c.took {
					t.Errorf("it took %s", took)
				}
				req := &marketplacev1.SuspendUserRequest{}
				if err := proto.Unmarshal(first.GetPayload(), req); err != nil || req.GetUserId() != "ann" || req.GetNote() != "fraud" || first.GetSubject() != "olga" || first.GetCommandId() != "c1" {
					t.Errorf("asked %v: %v", first, err)
				}
			})
		})
	}
}

// suspendAnn is a task.
func suspendAnn(t *testing.T) *taskv1.CommandOnEntity {
	t.Helper()
	request, err := proto.Marshal(&marketplacev1.SuspendUserRequest{Note: "fraud"})
	if err != nil {
		t.Fatal(err)
	}
	return &taskv1.CommandOnEntity{Method: "cloud-operator/suspend-user", EntityId: "ann", Request: request, Subject: "olga", CommandId: "c1"}
}

// TestRunCommandStops makes no outcome of a process that stops: the next one asks again.
func TestRunCommandStops(t *testing.T) {
	o := &operator{call: func(*clusterv1.Request, time.Duration, func(*clusterv1.Response)) {}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := o.run(ctx, "task", suspendAnn(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", got, err)
	}
	task := suspendAnn(t)
	task.Method = "cloud-operator/of-another-version"
	if _, err := o.run(t.Context(), "task", task); messages.AsError(err).Reason != marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD {
		t.Errorf("got %v", err)
	}
}

// TestRunBySuspended runs nothing for somebody who is kept out meanwhile.
func TestRunBySuspended(t *testing.T) {
	o := &operator{call: func(req *clusterv1.Request, _ time.Duration, answer func(*clusterv1.Response)) {
		if !strings.HasSuffix(req.GetMethod(), "GetAccess") || req.GetId() != "olga" {
			t.Errorf("asked %s of %s", req.GetMethod(), req.GetId())
		}
		payload, err := proto.Marshal(&taskv1.GetAccessResponse{Known: true, Suspended: true, Note: "stolen"})
		if err != nil {
			t.Error(err)
		}
		answer(&clusterv1.Response{Payload: payload})
	}}
	_, err := o.run(t.Context(), "task", &taskv1.CommandOnEntity{Method: "cloud-operator/sign-out-user", EntityId: "ann", Subject: "olga"})
	if e := messages.AsError(err); err == nil || e.Reason != marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_SUSPENDED || !strings.Contains(e.Message, "stolen") {
		t.Errorf("run all the same: %v", err)
	}
}
