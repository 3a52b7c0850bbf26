package actors_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// people ask for things, and again until they are answered.
type people struct {
	sim     *simulation
	intents []*intent
	number  uint64
}

// intent is one thing that somebody wants, under one command id.
type intent struct {
	subject string
	method  *messages.Method
	id      string
	body    proto.Message
	payload []byte
	command string
	reply   []byte          // the answer, once it came
	refused *messages.Error // or why not
	done    bool
	open    int       // copies that may yet be decided
	at      time.Time // when the answer came
}

const (
	simUsers = 3
	simNodes = 2
	patience = 4 * time.Second
)

// commandID makes a UUIDv7 of the simulation's time.
func (p *people) commandID() string {
	var id uuid.UUID
	p.number++
	ms := uint64(p.sim.time.Now().UnixMilli())
	binary.BigEndian.PutUint64(id[:8], ms<<16)
	binary.BigEndian.PutUint64(id[8:], p.number)
	id[6], id[8] = 0x70, id[8]&0x3f|0x80
	return id.String()
}

// want begins an intent.
func (p *people) want(subject, path string, body proto.Message) *intent {
	m := messages.ByPath(path)
	i := &intent{subject: subject, method: m, body: body, command: p.commandID()}
	i.id, _ = m.ActorID(subject, i.command, body)
	i.payload, _ = proto.MarshalOptions{Deterministic: true}.Marshal(body)
	p.intents = append(p.intents, i)
	p.sim.say("%s wants %s %s", subject, path, i.id)
	p.ask(i)
	if p.sim.rand.IntN(8) == 0 {
		p.sim.stats["requests sent twice"]++
		p.ask(i)
	}
	return i
}

// ask asks some process, and another when no answer comes.
func (p *people) ask(i *intent) {
	at := p.sim.somewhere()
	i.open++
	answered := false
	resolve := func() {
		if !answered {
			answered = true
			i.open--
		}
	}
	req := &clusterv1.Request{Kind: i.method.Actor, Id: i.id, Method: i.method.Name, Payload: i.payload, Subject: i.subject, CommandId: i.command, Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}}
	at.engine.Call(req, patience, func(r *clusterv1.Response) {
		if !at.dead {
			resolve()
			p.answered(i, r)
		}
	})
	p.sim.time.After(patience+time.Duration(p.sim.rand.IntN(2000))*time.Millisecond, func() {
		resolve() // its deadline has passed
		if !i.done {
			p.sim.stats["requests sent again"]++
			p.ask(i)
		}
	})
}

// answered holds an answer to those before it: a command is decided once.
func (p *people) answered(i *intent, r *clusterv1.Response) {
	if r.GetError() != nil {
		e := messages.FromStatus(r.GetError())
		switch {
		case messages.Rule(e.Reason).GetRetry() || i.done:
		case i.open > 0: // a refusal is of one copy alone: another may find enough credit
		case e.Reason == marketplacev1.ErrorReason_ERROR_REASON_INTERNAL || e.Reason == marketplacev1.ErrorReason_ERROR_REASON_COMMAND_ID_EXPIRED ||
			e.Reason == marketplacev1.ErrorReason_ERROR_REASON_COMMAND_ID_REUSED:
			p.sim.fail("%s %s is answered with %v", i.method.Path, i.id, e)
		default:
			i.done, i.refused, i.at = true, e, p.sim.time.Now()
			p.sim.say("%s %s is refused: %v", i.method.Path, i.id, e)
		}
		return
	}
	if i.reply != nil && !bytes.Equal(i.reply, r.GetPayload()) {
		p.sim.fail("%s %s was answered twice, and not the same", i.method.Path, i.id)
	}
	if i.refused != nil {
		p.sim.fail("%s %s was refused and then done", i.method.Path, i.id)
	}
	if !i.done {
		i.at = p.sim.time.Now()
	}
	i.done, i.reply = true, append([]byte{}, r.GetPayload()...)
}

// askAnew asks again for whatever was answered after a moment, or not at all.
func (p *people) askAnew(after time.Time) {
	for _, i := range p.intents {
		if i.done && i.at.Before(after) {
			continue
		}
		i.done, i.reply, i.refused = false, nil, nil
		p.ask(i)
	}
}

func user(n int) string { return fmt.Sprintf("user-%d", n) }

// act has somebody do something.
func (p *people) act() {
	s := p.sim
	who := user(s.rand.IntN(simUsers))
	switch n := s.rand.IntN(20); {
	case n < 4:
		p.want("olga", "cloud-operator/grant-credit", &marketplacev1.GrantCreditRequest{UserId: who, Amount: 1 + s.rand.Int64N(8_000_000)})
	case n < 7:
		p.want(who, "cloud-user/create-deployment", &marketplacev1.CreateDeploymentRequest{
			Name: "d", Spec: &marketplacev1.Spec{Vcpus: 2, MemoryMib: 4096, DiskGib: 100}, NodeId: uint32(1 + s.rand.IntN(simNodes+1)),
			MaxHourlyPrice: []int64{100_000, 125_000, 200_000}[s.rand.IntN(3)],
		})
	case n < 9:
		if d := p.made("cloud-user/create-deployment"); len(d) > 0 {
			one := d[s.rand.IntN(len(d))]
			p.want(one.subject, "cloud-user/cancel-deployment", &marketplacev1.CancelDeploymentRequest{DeploymentId: one.id})
		}
	case n < 10:
		p.want("olga", "cloud-operator/broadcast", &marketplacev1.SendBroadcastRequest{Text: "hello", Severity: marketplacev1.Severity_SEVERITY_INFO})
	case n < 11 && !s.calm:
		s.replace()
	case n < 13:
		p.want("olga", "cloud-operator/transfer-credit", &marketplacev1.TransferCreditRequest{
			FromUserId: who, ToUserId: user(s.rand.IntN(simUsers + 1)), Amount: 1 + s.rand.Int64N(4_000_000),
		})
	case n < 14:
		p.observe(1 + s.rand.IntN(simNodes))
	case n < 16:
		p.want(who, "session/create-api-key", &marketplacev1.CreateApiKeyRequest{
			Name: "key", Roles: []optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}, ExpireTime: timestamppb.New(s.time.Now().Add(time.Hour)),
		})
	case n < 17:
		if keys := p.made("session/create-api-key"); len(keys) > 0 {
			one := keys[s.rand.IntN(len(keys))]
			p.want(one.subject, "session/end", &marketplacev1.EndSessionRequest{SessionId: one.id})
		}
	case n < 18 && s.rand.IntN(4) == 0:
		p.want(who, "session/end-all", &marketplacev1.EndSessionsRequest{IncludeApiKeys: true})
	}
}

// made are the intents that made something.
func (p *people) made(path string) []*intent {
	var made []*intent
	for _, i := range p.intents {
		if i.method.Path == path && i.reply != nil {
			made = append(made, i)
		}
	}
	return made
}

// observe tells a node what it is like; news may come twice.
func (p *people) observe(number int) {
	body := &taskv1.ObserveNodeRequest{NodeId: strconv.Itoa(number), Node: &marketplacev1.Node{
		NodeId: uint32(number), Status: marketplacev1.NodeStatus_NODE_STATUS_UP, Certified: number == 2 && p.sim.rand.IntN(2) == 0,
		Total: &marketplacev1.Resources{Cru: 8, MruBytes: 12 << 30, SruBytes: 500 << 30},
	}}
	m := messages.ByRequest(body.ProtoReflect().Descriptor().FullName())
	payload, _ := proto.Marshal(body)
	p.sim.somewhere().engine.Call(&clusterv1.Request{Kind: "node", Id: body.GetNodeId(), Method: m.Name, Payload: payload, Subject: "$grid"}, patience, func(*clusterv1.Response) {})
}
