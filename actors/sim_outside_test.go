package actors_test

import (
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// grid is the truth outside: which deployments have a contract.
type grid struct {
	sim       *simulation
	contracts map[string]bool // whether the contract is there; absent: it never was
	orphans   map[string]bool // made in a time that a backup undid, and not asked for since
}

var errNoAnswer = errors.New("the grid does not answer")

// do does a task, or fails before it, or after it, or refuses it.
func (g *grid) do(task proto.Message) (proto.Message, error) {
	n := g.sim.rand.IntN(100)
	if g.sim.calm {
		n = 99
	}
	if n < 10 {
		g.sim.stats["tasks failed before"]++
		return nil, errNoAnswer
	}
	if _, ends := task.(*taskv1.CancelContract); n < 15 && !ends {
		g.sim.stats["tasks refused"]++
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_GRID_REFUSED, "no")
	}
	result := g.effect(task)
	if n < 25 {
		g.sim.stats["tasks failed after"]++
		return nil, errNoAnswer
	}
	return result, nil
}

func (g *grid) effect(task proto.Message) proto.Message {
	if t, ok := task.(interface{ GetDeploymentId() string }); ok {
		delete(g.orphans, t.GetDeploymentId())
	}
	switch t := task.(type) {
	case *taskv1.CreateContract:
		if there, known := g.contracts[t.GetDeploymentId()]; known && !there {
			g.sim.fail("a contract of %s is made after it was cancelled", t.GetDeploymentId())
		}
		g.contracts[t.GetDeploymentId()] = true
		return &taskv1.ContractCreated{ContractId: 7}
	case *taskv1.DeployWorkload:
		return &taskv1.WorkloadDeployed{Address: "100.64.0.1"}
	case *taskv1.CancelContract:
		if _, known := g.contracts[t.GetDeploymentId()]; known {
			g.contracts[t.GetDeploymentId()] = false
		}
		return &taskv1.ContractCancelled{}
	}
	return nil
}

// reader hears a stream, as a gateway does: by a watch that it renews, and from
// another process when its own has died.
type reader struct {
	sim     *simulation
	method  *messages.Method
	id      string
	at      *process
	joined  bool
	epoch   string
	version uint64
	asked   int // numbers the questions; the answer to an old one is nothing
	heard   []proto.Message
}

// read begins to hear a stream.
func (s *simulation) read(path, id string) *reader {
	r := &reader{sim: s, method: messages.ByPath(path), id: id, at: s.somewhere(), epoch: s.store.Epoch()}
	s.readers = append(s.readers, r)
	r.watch()
	return r
}

// move goes on from another process.
func (r *reader) move() {
	r.at = r.sim.somewhere()
	r.watch()
}

// watch asks from where the reader is, and again after a while: a renewal.
func (r *reader) watch() {
	r.asked++
	question, at := r.asked, r.at
	payload, _ := proto.Marshal(&clusterv1.Watch{Resume: r.joined, Epoch: r.epoch, Version: r.version, Renewal: r.joined})
	at.engine.Call(&clusterv1.Request{Kind: r.method.Actor, Id: r.id, Method: r.method.Name, Payload: payload, Subject: "$gateway"}, patience, func(resp *clusterv1.Response) {
		w := &clusterv1.Watching{}
		if question != r.asked || at.dead || resp.GetError() != nil || proto.Unmarshal(resp.GetPayload(), w) != nil {
			return
		}
		if r.joined && w.GetEpoch() != r.epoch {
			r.anew(w)
			return
		}
		if r.joined && !w.GetRecovered() {
			r.sim.fail("%s of %s cannot be continued at %d", r.method.Path, r.id, r.version)
		}
		if !r.joined {
			r.joined, r.version = true, w.GetVersion()
		}
		for _, f := range w.GetFrames() {
			r.take(f)
		}
	})
	r.sim.time.After(3*time.Second, func() {
		if question == r.asked {
			r.watch()
		}
	})
}

// anew begins from the beginning of another history.
func (r *reader) anew(w *clusterv1.Watching) {
	r.sim.stats["streams begun anew"]++
	if w.GetRecovered() {
		r.sim.fail("%s of %s is continued from %s in %s", r.method.Path, r.id, r.epoch, w.GetEpoch())
	}
	r.epoch, r.version, r.heard = w.GetEpoch(), 0, nil
	r.watch()
}

// hear takes a push that follows, and asks for one that does not.
func (r *reader) hear(m *clusterv1.Push) {
	if m.GetMethod() != r.method.Name || m.GetId() != r.id || !r.joined {
		return
	}
	f := m.GetFrame()
	if f == nil || m.GetEpoch() != r.epoch || f.GetPrevious() > r.version {
		r.sim.stats["gaps healed"]++
		r.watch()
		return
	}
	r.take(f)
}

// take keeps a frame once.
func (r *reader) take(f *clusterv1.Frame) {
	body := r.method.Response()
	if f.GetVersion() <= r.version && len(r.heard) > 0 || proto.Unmarshal(f.GetPayload(), body) != nil {
		return
	}
	r.version = max(r.version, f.GetVersion())
	if a, ok := body.(*marketplacev1.WatchAccountResponse); ok {
		r.sim.say("  %s sees %d at %d, after %d, from process %d", r.id, a.GetAccount().GetCredit(), f.GetVersion(), f.GetPrevious(), r.at.number)
	}
	r.heard = append(r.heard, body)
}
