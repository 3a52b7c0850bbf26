package actors_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/internal/keyring"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// world is a system over a file, with a grid that always says yes.
type world struct {
	t      *testing.T
	file   string
	domain *clock.Manual
	system *actors.System
	store  *boltstore.Store
	pushes chan *clusterv1.Push
	keys   *keyring.Ring
	deploy entity.Executor // starts workloads; nil: always can
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, file: filepath.Join(t.TempDir(), "store.db"), domain: clock.NewManual(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)), pushes: make(chan *clusterv1.Push, 10_000)}
	w.start()
	t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	store, err := boltstore.Open(w.file, boltstore.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = store
	w.system, err = actors.Start(w.t.Context(), actors.Config{
		Store: store, Domain: w.domain, ScanEvery: 10 * time.Millisecond, Executors: w.executors(), Keys: w.keys,
		Log:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		OnPush: func(p *clusterv1.Push) { w.pushes <- p },
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stop() {
	if err := w.system.Stop(context.Background()); err != nil {
		w.t.Error(err)
	}
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) executors() map[protoreflect.FullName]entity.Executor {
	all := yes()
	if w.deploy != nil {
		all["marketplace.task.v1.DeployWorkload"] = w.deploy
	}
	return all
}

// yes is a grid that does what it is asked.
func yes() map[protoreflect.FullName]entity.Executor {
	return map[protoreflect.FullName]entity.Executor{
		"marketplace.task.v1.CreateContract": func(context.Context, string, proto.Message) (proto.Message, error) {
			return &taskv1.ContractCreated{ContractId: 42}, nil
		},
		"marketplace.task.v1.DeployWorkload": func(context.Context, string, proto.Message) (proto.Message, error) {
			return &taskv1.WorkloadDeployed{Address: "100.64.0.1"}, nil
		},
		"marketplace.task.v1.CancelContract": func(context.Context, string, proto.Message) (proto.Message, error) {
			return &taskv1.ContractCancelled{}, nil
		},
	}
}

// ask has an actor answer, as subject.
func (w *world) ask(path, subject, commandID string, req, resp proto.Message) error {
	w.t.Helper()
	m := messages.ByPath(path)
	if m == nil {
		m = messages.ByRequest(req.ProtoReflect().Descriptor().FullName())
	}
	id, err := m.ActorID(subject, commandID, req)
	if err != nil {
		return err
	}
	payload, err := proto.Marshal(req)
	if err != nil {
		return err
	}
	got := make(chan *clusterv1.Response, 1)
	w.system.Call(&clusterv1.Request{Kind: m.Actor, Id: id, Method: m.Name, Payload: payload, Subject: subject, CommandId: commandID}, 10*time.Second, func(r *clusterv1.Response) { got <- r })
	r := <-got
	if r.GetError() != nil {
		return messages.FromStatus(r.GetError())
	}
	return proto.Unmarshal(r.GetPayload(), resp)
}

func (w *world) must(path, subject string, req, resp proto.Message) {
	w.t.Helper()
	if err := w.ask(path, subject, messages.NewCommandID(), req, resp); err != nil {
		w.t.Fatalf("%s: %v", path, err)
	}
}

// node makes a node that is up.
func (w *world) node(number uint32) {
	w.must("", "$grid", &taskv1.ObserveNodeRequest{NodeId: "7", Node: &marketplacev1.Node{
		NodeId: number, Status: marketplacev1.NodeStatus_NODE_STATUS_UP,
		Total: &marketplacev1.Resources{Cru: 8, MruBytes: 16 << 30, SruBytes: 500 << 30},
	}}, &taskv1.ObserveNodeResponse{})
}

// until asks for a deployment until it is as wanted.
func (w *world) until(id string, want marketplacev1.DeploymentState) *marketplacev1.Deployment {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	r := &marketplacev1.GetDeploymentResponse{}
	for time.Now().Before(deadline) {
		r = &marketplacev1.GetDeploymentResponse{}
		if err := w.ask("cloud-user/deployment-detail", "alice", "", &marketplacev1.GetDeploymentRequest{DeploymentId: id}, r); err != nil {
			w.t.Fatal(err)
		}
		if r.GetDeployment().GetState() == want {
			return r.GetDeployment()
		}
	}
	w.t.Fatalf("the deployment is %v (%v), not %v: %v", r.GetDeployment().GetState(), r.GetDeployment().GetCause(), want, r.GetDeployment().GetSteps())
	return nil
}

func (w *world) account() *marketplacev1.Account {
	w.t.Helper()
	r := &marketplacev1.GetAccountResponse{}
	if err := w.ask("cloud-user/get-account", "alice", "", &marketplacev1.GetAccountRequest{}, r); err != nil {
		w.t.Fatal(err)
	}
	return r.GetAccount()
}

var spec = &marketplacev1.Spec{Vcpus: 2, MemoryMib: 4096, DiskGib: 100}

// TestMainJob plays the whole life of a deployment, with a restart in its middle.
func TestMainJob(t *testing.T) {
	w := newWorld(t)
	w.node(7)
	w.must("cloud-operator/grant-credit", "olga", &marketplacev1.GrantCreditRequest{UserId: "alice", Amount: 3_000_000}, &marketplacev1.GrantCreditResponse{})
	created := &marketplacev1.CreateDeploymentResponse{}
	w.must("cloud-user/create-deployment", "alice", &marketplacev1.CreateDeploymentRequest{Name: "web", Spec: spec, NodeId: 7, MaxHourlyPrice: 150_000}, created)
	d := w.until(created.GetDeploymentId(), marketplacev1.DeploymentState_DEPLOYMENT_STATE_RUNNING)
	if d.GetHourlyPrice() != 125_000 || d.GetContractId() != 42 {
		t.Fatalf("running as %v", d)
	}
	w.domain.Advance(3*time.Hour + 30*time.Minute)
	w.wait(func() bool { return w.account().GetUsedTotal() == 3*125_000 })
	w.stop()
	w.start()
	if a := w.account(); a.GetCredit() != 3_000_000-3*125_000 || a.GetHeld() != 125_000 {
		t.Fatalf("after a restart: %v", a)
	}
	w.must("cloud-user/cancel-deployment", "alice", &marketplacev1.CancelDeploymentRequest{DeploymentId: created.GetDeploymentId()}, &marketplacev1.CancelDeploymentResponse{})
	d = w.until(created.GetDeploymentId(), marketplacev1.DeploymentState_DEPLOYMENT_STATE_DELETED)
	w.wait(func() bool { return w.account().GetHeld() == 0 })
	if a := w.account(); a.GetUsedTotal() != d.GetCharged() || a.GetUsedTotal() != 3*125_000+62_500 {
		t.Fatalf("at the end: %v and %v", a, d)
	}
}

// wait asks until it holds.
func (w *world) wait(holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if holds() {
			return
		}
	}
	w.t.Fatalf("it never came to that: %v", w.account())
}

// TestSystemLooksAfterTopics and says how far its groups are behind.
func TestSystemLooksAfterTopics(t *testing.T) {
	w := newWorld(t)
	w.node(7)
	w.stop()
	w.start() // a janitor looks at once
	w.wait(func() bool {
		groups, err := w.store.Groups(t.Context(), messages.TopicNodeChanged)
		return err == nil && len(groups) == 1 && groups[0].Name == "retention"
	})
	if err := w.system.Publisher().Publish(messages.TopicObservations, message.NewMessage("", []byte("news"))); err != nil {
		t.Fatal(err)
	}
	w.wait(func() bool {
		lags, err := w.system.Lags(t.Context())
		return err == nil && slices.Equal(lags, []persistence.Lag{{Topic: messages.TopicObservations, Group: "inbox"}})
	})
}
