package actors_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/internal/keyring"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// secret is what must be found nowhere.
const secret = "correct horse battery staple"

// newRing returns a ring of one new key.
func newRing(t *testing.T) *keyring.Ring {
	t.Helper()
	ring, err := keyring.New(keyring.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// withSecret asks for a machine that is given something secret.
func withSecret(value string) *marketplacev1.CreateDeploymentRequest {
	return &marketplacev1.CreateDeploymentRequest{
		Name: "web", Spec: spec, NodeId: 7, MaxHourlyPrice: 150_000,
		Environment: []*marketplacev1.EnvironmentVariable{{Name: "TOKEN", Value: value}, {Name: "EMPTY"}},
	}
}

// TestSealed lets nobody but the executor of a task see what is sealed, neither
// on the way nor in the file, whatever is restarted.
func TestSealed(t *testing.T) {
	var may atomic.Bool
	given, tried := make(chan string, 100), make(chan struct{}, 100)
	w := newWorld(t)
	w.stop()
	w.keys = newRing(t)
	w.deploy = func(_ context.Context, _ string, do proto.Message) (proto.Message, error) {
		if d, ok := do.(*taskv1.DeployWorkload); ok && may.Load() {
			given <- d.GetEnvironment()[0].GetName() + "=" + d.GetEnvironment()[0].GetValue() + " " + d.GetEnvironment()[1].GetValue()
			return &taskv1.WorkloadDeployed{Address: "100.64.0.1"}, nil
		}
		tried <- struct{}{}
		return nil, errors.New("no answer")
	}
	w.start()
	w.node(7)
	w.must("cloud-operator/grant-credit", "olga", &marketplacev1.GrantCreditRequest{UserId: "alice", Amount: 3_000_000}, &marketplacev1.GrantCreditResponse{})
	command, created := messages.NewCommandID(), &marketplacev1.CreateDeploymentResponse{}
	for range 2 { // the second is answered from memory
		if err := w.ask("cloud-user/create-deployment", "alice", command, withSecret(secret), created); err != nil {
			t.Fatal(err)
		}
	}
	err := w.ask("cloud-user/create-deployment", "alice", command, withSecret("another"), created)
	if e, ok := errors.AsType[*messages.Error](err); !ok || messages.ReasonName(e.Reason) != "COMMAND_ID_REUSED" {
		t.Errorf("another secret under the same command id: %v", err)
	}
	<-tried
	watch := messages.ByPath("cloud-user/watch-deployment")
	watching := make(chan *clusterv1.Response, 1)
	w.system.Call(&clusterv1.Request{Kind: watch.Actor, Id: created.GetDeploymentId(), Method: watch.Name, Subject: "alice"}, 10*time.Second, func(r *clusterv1.Response) { watching <- r })
	if r := <-watching; r.GetError() != nil || !bytes.Contains(r.GetPayload(), []byte("TOKEN")) || bytes.Contains(r.GetPayload(), []byte("sealed:")) {
		t.Errorf("a watch begins with %q, %v", r.GetPayload(), r.GetError())
	}
	w.stop()
	may.Store(true)
	w.start()
	d := w.until(created.GetDeploymentId(), marketplacev1.DeploymentState_DEPLOYMENT_STATE_RUNNING)
	if got := <-given; got != "TOKEN="+secret+" " {
		t.Errorf("the executor is given %q", got)
	}
	if v := d.GetEnvironment(); len(v) != 2 || v[0].GetName() != "TOKEN" || v[0].GetValue() != messages.Sealed || v[1].GetValue() != "" {
		t.Errorf("its owner is shown %v", v)
	}
	for len(w.pushes) > 0 {
		if p := <-w.pushes; bytes.Contains(p.GetFrame().GetPayload(), []byte(secret)) || bytes.Contains(p.GetFrame().GetPayload(), []byte("sealed:")) {
			t.Error("a push holds the secret")
		}
	}
	file, err := os.ReadFile(w.file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte(secret)) || !bytes.Contains(file, []byte("sealed:")) {
		t.Error("the file holds the secret, or no sealed value")
	}
}

// TestSealedDigest keeps no digest of a secret that somebody with the journal
// could try secrets against.
func TestSealedDigest(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.keys = newRing(t)
	w.start()
	command, req := messages.NewCommandID(), withSecret(secret)
	if err := w.ask("cloud-user/create-deployment", "alice", command, req, &marketplacev1.CreateDeploymentResponse{}); err != nil {
		t.Fatal(err)
	}
	payload, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	guess := sha256.Sum256(append([]byte(messages.ByPath("cloud-user/create-deployment").Name+"\x00"), payload...))
	l, err := w.store.Load(t.Context(), persistence.Entity{Kind: "deployment", ID: messages.NewID("alice", command)})
	if err != nil || len(l.Tail) == 0 {
		t.Fatal(l, err)
	}
	for _, r := range l.Tail {
		b := &journalv1.Batch{}
		if err := proto.Unmarshal(r.Events, b); err != nil {
			t.Fatal(err)
		}
		for _, d := range b.GetRecords() {
			if bytes.Equal(d.GetCommand().GetDigest(), guess[:16]) {
				t.Error("the digest of the command can be guessed at")
			}
		}
	}
}

// TestSealedKeepsItsPlace decides what was asked in its order, also when the
// first of it had to wait for a key.
func TestSealedKeepsItsPlace(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.keys = newRing(t)
	w.start()
	w.node(7)
	for range 20 {
		command := messages.NewCommandID()
		id := messages.NewID("alice", command)
		var wait sync.WaitGroup
		failed := make(chan error, 3)
		ask := func(path, command string, req proto.Message) { // the call leaves at once, its answer comes later
			m := messages.ByPath(path)
			payload, err := proto.Marshal(req)
			if err != nil {
				t.Fatal(err)
			}
			wait.Add(1)
			w.system.Call(&clusterv1.Request{Kind: m.Actor, Id: id, Method: m.Name, Payload: payload, Subject: "alice", CommandId: command}, 10*time.Second, func(r *clusterv1.Response) {
				if r.GetError() != nil {
					failed <- fmt.Errorf("%s: %w", path, messages.FromStatus(r.GetError()))
				}
				wait.Done()
			})
		}
		ask("cloud-user/create-deployment", command, withSecret(secret))
		ask("cloud-user/deployment-detail", "", &marketplacev1.GetDeploymentRequest{DeploymentId: id})
		ask("cloud-user/cancel-deployment", messages.NewCommandID(), &marketplacev1.CancelDeploymentRequest{DeploymentId: id})
		wait.Wait()
		if len(failed) > 0 {
			t.Fatal(<-failed)
		}
	}
}

// TestForgotten opens nothing whose key was deleted, and does all the rest.
func TestForgotten(t *testing.T) {
	tried := make(chan struct{}, 100)
	w := newWorld(t)
	w.stop()
	w.keys = newRing(t)
	w.deploy = func(context.Context, string, proto.Message) (proto.Message, error) {
		tried <- struct{}{}
		return nil, errors.New("no answer")
	}
	w.start()
	w.node(7)
	w.must("cloud-operator/grant-credit", "olga", &marketplacev1.GrantCreditRequest{UserId: "alice", Amount: 3_000_000}, &marketplacev1.GrantCreditResponse{})
	created := &marketplacev1.CreateDeploymentResponse{}
	w.must("cloud-user/create-deployment", "alice", withSecret(secret), created)
	<-tried
	e := persistence.Entity{Kind: "deployment", ID: created.GetDeploymentId()}
	l, err := w.store.Load(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.SwapKey(t.Context(), e, l.Key, nil); err != nil {
		t.Fatal(err)
	}
	w.stop()
	for len(tried) > 0 {
		<-tried
	}
	w.start()
	w.until(created.GetDeploymentId(), marketplacev1.DeploymentState_DEPLOYMENT_STATE_CONTRACTED)
	w.must("cloud-user/cancel-deployment", "alice", &marketplacev1.CancelDeploymentRequest{DeploymentId: created.GetDeploymentId()}, &marketplacev1.CancelDeploymentResponse{})
	if d := w.until(created.GetDeploymentId(), marketplacev1.DeploymentState_DEPLOYMENT_STATE_DELETED); d.GetEnvironment()[0].GetValue() != messages.Sealed || len(tried) != 0 {
		t.Errorf("it is shown as %v, and was tried %d times", d.GetEnvironment(), len(tried))
	}
}

// TestNothingToSealWith refuses a secret rather than write it down, and takes
// what holds none.
func TestNothingToSealWith(t *testing.T) {
	w := newWorld(t)
	err := w.ask("cloud-user/create-deployment", "alice", messages.NewCommandID(), withSecret(secret), &marketplacev1.CreateDeploymentResponse{})
	if err == nil || !strings.Contains(err.Error(), "ACTOR_UNAVAILABLE: there is no key to seal this with") {
		t.Errorf("a secret without a key: %v", err)
	}
	w.must("cloud-user/create-deployment", "alice", withSecret(""), &marketplacev1.CreateDeploymentResponse{})
}
