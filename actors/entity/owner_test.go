package entity_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// thing is a kind whose ids anybody may write into a request.
type thing struct{ counter }

var thingKind = entity.Define("deployment", marketplacev1.ErrorReason_ERROR_REASON_DEPLOYMENT_NOT_FOUND, entity.Behavior[*tally, *event](thing{}))

func (thing) Decide(s *tally, req proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	owned := &event{Event: &journalv1.UserEvent_SettingsUpdated{SettingsUpdated: &journalv1.SettingsUpdated{UserId: env.Subject}}}
	switch req := req.(type) {
	case *marketplacev1.CreateDeploymentRequest:
		if req.GetName() == refuse {
			return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "refused")
		}
		return []*event{owned}, &marketplacev1.CreateDeploymentResponse{DeploymentId: env.ID}, nil
	case *marketplacev1.GetDeploymentRequest:
		return nil, &marketplacev1.GetDeploymentResponse{Deployment: &marketplacev1.Deployment{Name: s.GetUserId()}}, nil
	}
	return []*event{owned}, &marketplacev1.CancelDeploymentResponse{}, nil
}

// entityReplay reads what a store has of a counter.
func entityReplay(l persistence.Loaded) (proto.Message, error) {
	return entity.Replay(counterKind, who, l)
}

// TestForeignIsUnknown refuses a foreign id word for word as one that never was.
func TestForeignIsUnknown(t *testing.T) {
	w := newWorld(t)
	command := messages.NewCommandID()
	created := &marketplacev1.CreateDeploymentResponse{}
	w.decode(w.ok(w.call("create", "cloud-user/create-deployment", who, command, &marketplacev1.CreateDeploymentRequest{})), created)
	if want := messages.NewID(who, command); created.GetDeploymentId() != want {
		t.Fatalf("made as %s, not %s", created.GetDeploymentId(), want)
	}
	ask := func(subject, id string) map[string]*clusterv1.Response {
		return map[string]*clusterv1.Response{
			"read":   within(t, w.call("read", "cloud-user/deployment-detail", subject, "", &marketplacev1.GetDeploymentRequest{DeploymentId: id}), "an answer"),
			"cancel": within(t, w.call("cancel", "cloud-user/cancel-deployment", subject, messages.NewCommandID(), &marketplacev1.CancelDeploymentRequest{DeploymentId: id}), "an answer"),
			"watch":  within(t, w.raw("watch", &clusterv1.Request{Kind: "deployment", Id: id, Method: messages.ByPath("cloud-user/watch-deployment").Name, Subject: subject}), "an answer"),
			"create": within(t, w.raw("create", &clusterv1.Request{Kind: "deployment", Id: id, Method: messages.ByPath("cloud-user/create-deployment").Name, Subject: subject, CommandId: messages.NewCommandID()}), "an answer"),
		}
	}
	foreign, unknown := ask("bob", created.GetDeploymentId()), ask("bob", "abcdefghijklmnopqrstuvwxyz")
	for name := range foreign {
		f, u := messages.FromStatus(foreign[name].GetError()), messages.FromStatus(unknown[name].GetError())
		if f.Reason != marketplacev1.ErrorReason_ERROR_REASON_DEPLOYMENT_NOT_FOUND || u.Reason != f.Reason || len(f.Message) != len(u.Message) {
			t.Errorf("%s tells a foreign id (%v) from an unknown one (%v)", name, f, u)
		}
	}
	own := ask(who, created.GetDeploymentId())
	for _, name := range []string{"read", "cancel", "watch"} {
		if own[name].GetError() != nil {
			t.Errorf("the owner's %s: %v", name, own[name].GetError())
		}
	}
	if internal := w.raw("internal", &clusterv1.Request{Kind: "user", Id: who, Method: "marketplace.task.v1.UserTaskService.SettleDeployment", Subject: who}); w.refused(internal) != "UNKNOWN_METHOD" {
		t.Error("a person may call an internal method")
	}
}

// TestUnknownLeavesNoTrace asks for ids that never were, and finds neither
// actors nor records of them.
func TestUnknownLeavesNoTrace(t *testing.T) {
	w := newWorld(t)
	for range 50 {
		id := messages.NewID("x", messages.NewCommandID())
		if reason := w.refused(w.call("read", "cloud-user/deployment-detail", who, "", &marketplacev1.GetDeploymentRequest{DeploymentId: id})); reason != "DEPLOYMENT_NOT_FOUND" {
			t.Fatal(reason)
		}
	}
	if reason := w.refused(w.call("create", "cloud-user/create-deployment", who, messages.NewCommandID(), &marketplacev1.CreateDeploymentRequest{Name: refuse})); reason != "WRONG_STATE" {
		t.Fatal(reason)
	}
	refs, _, err := w.store.Entities(t.Context(), "deployment", "", 100)
	if err != nil || len(refs) != 0 {
		t.Errorf("the store knows %v: %v", refs, err)
	}
	eventually(t, "all that never were are gone", func() bool { return w.engine.Stats().Live <= 1 })
}

// TestPipelinedBirth asks for what is being made, without waiting for it.
func TestPipelinedBirth(t *testing.T) {
	w := newWorld(t)
	command := messages.NewCommandID()
	id := messages.NewID(who, command)
	read := func() <-chan *clusterv1.Response {
		return w.call("read", "cloud-user/deployment-detail", who, "", &marketplacev1.GetDeploymentRequest{DeploymentId: id})
	}
	early := read() // before it is: not found, and the actor goes
	created := w.call("create", "cloud-user/create-deployment", who, command, &marketplacev1.CreateDeploymentRequest{})
	again := w.call("create", "cloud-user/create-deployment", who, command, &marketplacev1.CreateDeploymentRequest{})
	late := read()
	if reason := w.refused(early); reason != "DEPLOYMENT_NOT_FOUND" {
		t.Error(reason)
	}
	w.ok(created)
	w.ok(again)
	if r := within(t, late, "an answer"); r.GetError() != nil && messages.FromStatus(r.GetError()).Reason != marketplacev1.ErrorReason_ERROR_REASON_DEPLOYMENT_NOT_FOUND {
		t.Error(r.GetError())
	}
	w.ok(read())
	if l, err := w.store.Store.Load(t.Context(), persistence.Entity{Kind: "deployment", ID: id}); err != nil || l.Version != 1 {
		t.Errorf("made %d times: %v", l.Version, err)
	}
}
