package story

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

type (
	state = journalv1.NodeState
	event = journalv1.NodeEvent
)

// odd is a node as nobody should write one: each of its functions may be broken.
type odd struct {
	decide func(*state, entity.Env) ([]*event, proto.Message, error)
	woken  func(*state) []*event
	apply  func(*state, *event)
	tasks  func(*state) []entity.Task
	wake   func(*state) time.Time
	owner  func(*state) string
	items  func(*state) entity.Announcement
}

func (o odd) Decide(s *state, _ proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	return o.decide(s, env)
}

func (o odd) Woken(s *state, _ entity.Env) []*event {
	if o.woken == nil {
		return nil
	}
	return o.woken(s)
}

func (odd) TaskDone(_ *state, _ entity.Done, env entity.Env) []*event { return happened(env, "done") }

func (o odd) Apply(s *state, e *event) {
	if o.apply != nil {
		o.apply(s, e)
		return
	}
	if s.Reservations == nil {
		s.Reservations = map[string]*marketplacev1.Resources{}
	}
	s.Reservations[e.GetReserved().GetDeploymentId()] = &marketplacev1.Resources{}
}

func (o odd) Tasks(_ string, s *state) []entity.Task {
	if o.tasks == nil {
		return nil
	}
	return o.tasks(s)
}

func (o odd) Wake(s *state) time.Time {
	if o.wake == nil {
		return time.Time{}
	}
	return o.wake(s)
}

func (odd) View(string, *state, string) proto.Message { return nil }

func (o odd) Owner(s *state) string {
	if o.owner == nil {
		return ""
	}
	return o.owner(s)
}

func (o odd) Announce(_ string, s *state, _ *event) entity.Announcement {
	if o.items == nil {
		return entity.Announcement{}
	}
	return o.items(s)
}

// happened is an event that names something.
func happened(env entity.Env, what string) []*event {
	return []*event{{EventTime: timestamppb.New(env.Now), Event: &journalv1.NodeEvent_Reserved{Reserved: &journalv1.NodeReserved{DeploymentId: what}}}}
}

func answer() proto.Message { return &taskv1.ReserveCapacityResponse{} }

// listener is a test that hears what it would fail with.
type listener struct {
	testing.TB
	said []string
}

func (l *listener) Helper() {}

func (l *listener) Errorf(format string, args ...any) {
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

// TestInvariants breaks a kind in one way after the other.
func TestInvariants(t *testing.T) {
	well := func(_ *state, env entity.Env) ([]*event, proto.Message, error) {
		return happened(env, "x"), answer(), nil
	}
	once := func(s *state, env entity.Env) ([]*event, proto.Message, error) {
		if len(s.GetReservations()) > 0 {
			return nil, answer(), nil
		}
		return well(s, env)
	}
	counter := 0
	for _, c := range []struct {
		want string
		odd  odd
	}{
		{"", odd{decide: once}},
		{"decides when it is asked again", odd{decide: well}},
		{"deciding changed the state", odd{decide: func(s *state, env entity.Env) ([]*event, proto.Message, error) {
			s.Node = &marketplacev1.Node{NodeId: 1}
			return once(s, env)
		}}},
		{"it is refused and decides", odd{decide: func(_ *state, env entity.Env) ([]*event, proto.Message, error) {
			return happened(env, "x"), nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "no")
		}}},
		{"has no reason", odd{decide: func(*state, entity.Env) ([]*event, proto.Message, error) { return nil, nil, errors.New("no") }}},
		{"the reply is <nil>", odd{decide: func(*state, entity.Env) ([]*event, proto.Message, error) { return nil, nil, nil }}},
		{"is answered with", odd{decide: func(*state, entity.Env) ([]*event, proto.Message, error) {
			return nil, &taskv1.ObserveNodeResponse{}, nil
		}}},
		{"the event says", odd{decide: func(s *state, env entity.Env) ([]*event, proto.Message, error) {
			env.Now = env.Now.Add(1)
			return once(s, env)
		}}},
		{"folded from the beginning", odd{decide: once, apply: func(s *state, _ *event) {
			counter++
			s.Node = &marketplacev1.Node{NodeId: uint32(counter)}
			s.Reservations = map[string]*marketplacev1.Resources{"x": {}}
		}}},
		{"folding changed the event", odd{decide: once, apply: func(s *state, e *event) {
			e.GetReserved().DeploymentId = "y"
			s.Reservations = map[string]*marketplacev1.Resources{"y": {}}
		}}},
		{"is wanted twice at once", odd{decide: once, tasks: func(*state) []entity.Task {
			return []entity.Task{{ID: "t", Do: &taskv1.CreateContract{}}, {ID: "t", Do: &taskv1.CreateContract{}}}
		}}},
		{"and is", odd{decide: once, tasks: func(*state) []entity.Task {
			counter++
			return []entity.Task{{ID: "t", Do: &taskv1.CreateContract{NodeId: uint32(counter)}}}
		}}},
		{"told a second time of t", odd{decide: once, tasks: func(*state) []entity.Task { return []entity.Task{{ID: "t", Do: &taskv1.CreateContract{}}} }}},
		{"woken a second time", odd{decide: once, woken: func(*state) []*event { return happened(entity.Env{Now: Begin}, "x") }}},
		{"it wants to be woken at", odd{decide: once, wake: func(*state) time.Time { return Begin }}},
		{"it was ann's", odd{decide: once, owner: func(s *state) string { return map[int]string{0: "bob", 1: "ann"}[len(s.GetReservations())] }}},
		{"no method of node pages", odd{decide: once, items: func(*state) entity.Announcement {
			return entity.Announcement{Items: []entity.Item{{List: "secrets", Message: &marketplacev1.Node{}}}}
		}}},
		{"changed after it was handed out", odd{decide: well, apply: func(s *state, _ *event) {
			s.Node = cmp.Or(s.GetNode(), &marketplacev1.Node{})
			s.Node.NodeId++
		}, items: func(s *state) entity.Announcement {
			return entity.Announcement{Out: []entity.Out{{Topic: "x", Message: s.GetNode()}}}
		}}},
	} {
		l := &listener{TB: t}
		a := New[*state, *event](l, "node", "7", c.odd)
		a.Ask(entity.System, &taskv1.ReserveCapacityRequest{NodeId: "7"})
		a.Ask(entity.System, &taskv1.ReserveCapacityRequest{NodeId: "7"})
		if c.want == "it was ann's" {
			a.State.Reservations["y"] = nil
		}
		a.Woken()
		if a.tasks["t"].ID != "" {
			a.Done("t", &taskv1.ContractCreated{}, nil)
		}
		said := strings.Join(l.said, "\n")
		if c.want == "" && said != "" || !strings.Contains(said, c.want) {
			t.Errorf("want %q, said %q", c.want, said)
		}
	}
}
