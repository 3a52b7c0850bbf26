package entity

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// request takes a request in whatever mode the entity is.
func (e *entity) request(ctx actor.Context, from *actor.PID, req *clusterv1.Request) {
	e.asked = waiting{from, req}
	e.take(ctx, from, req)
	e.asked = waiting{}
}

func (e *entity) take(ctx actor.Context, from *actor.PID, req *clusterv1.Request) {
	switch e.mode {
	case loading:
		e.await(ctx, from, req)
		return
	case halted:
		e.served = true
		ctx.Send(from, e.respond(req.GetCall(), e.barred))
		e.rest(ctx)
		return
	case gone:
		return // it is bounced by the mailbox
	case alive:
		e.served = true
	}
	now := e.rt.engine.NowMS()
	if req.GetDeadlineMs() < now {
		return // its caller has been told that the outcome is not known
	}
	if e.rt.poison.is(func() fingerprint { return requestPrint(e.entity(), req) }, e.rt.Real.Now()) {
		ctx.Send(from, e.respond(req.GetCall(), messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INTERNAL, "this met a bug twice, and is not tried again for an hour")))
		return
	}
	if e.keying {
		e.await(ctx, from, req)
		return
	}
	if e.lacksKey(req) {
		e.await(ctx, from, req)
		e.makeKey(ctx)
		return
	}
	if req.GetMethod() == wakeMethod {
		e.wake(ctx, from, req)
		return
	}
	e.leaving = false
	e.life.Touch(now)
	if e.held() >= e.rt.GateLimit {
		e.overloaded(ctx, from, req)
		return
	}
	m, err := e.admit(req)
	switch {
	case err != nil:
		e.refuse(ctx, from, req, err)
		if !e.born() {
			ctx.Stop(ctx.Self()) // an id that never was leaves no trace
		}
	case m.Streams():
		e.watch(ctx, from, req, m)
	case m.List != "":
		e.page(ctx, from, req, m)
	default:
		e.decideRequest(ctx, from, req, m)
	}
}

// await keeps a request until the entity can take it.
func (e *entity) await(ctx actor.Context, from *actor.PID, req *clusterv1.Request) {
	if len(e.waiting) >= e.rt.GateLimit {
		e.overloaded(ctx, from, req)
		return
	}
	e.waiting = append(e.waiting, waiting{from, req})
}

// overloaded refuses what there is no room for. It tells nothing of the state,
// and so does not wait.
func (e *entity) overloaded(ctx actor.Context, from *actor.PID, req *clusterv1.Request) {
	e.rt.counts.overloaded.Add(1)
	refusal := messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_OVERLOADED, "too much is asked of %s %s at once", e.kind.Name, e.id)
	refusal.Retry = 100 * time.Millisecond
	ctx.Send(from, &clusterv1.Response{Call: req.GetCall(), Error: refusal.Status()})
}

// born says whether anything was ever decided here.
func (e *entity) born() bool { return e.version > 0 || e.flight != nil || e.next != nil }

// admit finds the method and holds the caller to it. A foreign id and an id
// that never was are refused alike.
func (e *entity) admit(req *clusterv1.Request) (*messages.Method, error) {
	inside := strings.HasPrefix(req.GetSubject(), "$")
	m := messages.ByName(req.GetMethod())
	if m == nil || m.Actor != e.kind.Name || m.Internal && !inside {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "there is no method %s", req.GetMethod())
	}
	owner := e.machine.owner()
	absent := !e.born() && !m.Creates
	misnamed := m.Key == messages.KeyNew && e.id != messages.NewID(req.GetSubject(), req.GetCommandId())
	foreign := owner != "" && owner != req.GetSubject() && !inside && !m.OperatorsOnly()
	if absent || misnamed || foreign {
		return nil, messages.Refuse(e.kind.NotFound, "there is no %s %s", e.kind.Name, e.id)
	}
	return m, nil
}

// decideRequest asks the kind, or answers from memory what was decided before.
func (e *entity) decideRequest(ctx actor.Context, from *actor.PID, req *clusterv1.Request, m *messages.Method) {
	var command *journalv1.Command
	if m.Command() && !m.Internal {
		c, known, err := e.recall(req)
		switch {
		case err != nil:
			e.refuse(ctx, from, req, err)
			return
		case known: // perhaps not durable yet: the first answer and this one pass the same gate
			e.rt.counts.repeats.Add(1)
			e.repeat(ctx, from, req, m, c)
			return
		}
		command = c
	}
	body := m.Request()
	if err := proto.Unmarshal(req.GetPayload(), body); err != nil {
		e.refuse(ctx, from, req, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, "%v", err))
		return
	}
	e.sealBody(body)
	env := e.env(req.GetSubject(), req.GetCommandId())
	env.Roles = req.GetRoles()
	if !m.ReadOnly {
		env.Fresh = e.rt.fresh()
	}
	if m.SealsReply() {
		env.Secret = rand.Text()
	}
	span := e.trace(req, "decide")
	d, err := e.machine.decide(body, env)
	span.End(failure(err))
	if m.Internal && m.Command() && len(d.events) == 0 {
		e.confirm()
	}
	if err != nil {
		e.refuse(ctx, from, req, err)
		e.flush(ctx)
		return
	}
	if command != nil {
		command.Reply = e.sealReply(m, d.reply)
	}
	e.keep(d, command)
	e.answer(ctx, from, &clusterv1.Response{Call: req.GetCall(), Payload: d.reply})
	e.flush(ctx)
}

// trace begins a span of a request that is traced.
func (e *entity) trace(req *clusterv1.Request, what string) *telemetry.Span {
	if e.rt.Tracer == nil || req == nil {
		return nil
	}
	return e.rt.Tracer.Below(req.GetHeaders()["traceparent"], what+" "+e.kind.Name)
}

func failure(err error) string {
	if err == nil {
		return ""
	}
	return messages.AsError(err).Reason.String()
}

// confirm writes down that nothing was decided. Another entity builds on the
// answer, so it must not come from an owner that was replaced, nor be overtaken
// by a commit of the owner before that is still on its way to the store: a new
// version fences both.
func (e *entity) confirm() {
	if !e.born() {
		return
	}
	if e.next == nil {
		e.next = e.newBatch()
	}
	e.next.journal.Records = append(e.next.journal.Records, &journalv1.Record{TimeMs: e.lastMS})
}

// recall returns the remembered command of a request, or the one to remember.
func (e *entity) recall(req *clusterv1.Request) (c *journalv1.Command, known bool, err error) {
	id, err := messages.ParseCommandID(req.GetCommandId())
	if err != nil {
		return nil, false, err
	}
	sum := sha256.New()
	sum.Write([]byte(req.GetMethod()))
	sum.Write([]byte{0})
	sum.Write(req.GetPayload())
	if e.box != nil && holdsSealed(messages.ByName(req.GetMethod()), req) {
		sum.Write(e.box.Pepper()) // else the digest, which is kept, would let what is sealed be guessed
	}
	digest := sum.Sum(nil)[:16]
	if c = e.memory.find(req.GetSubject(), id); c != nil {
		if !slices.Equal(c.GetDigest(), digest) {
			return nil, false, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_COMMAND_ID_REUSED, "command id %s was used for something else", id)
		}
		return c, true, nil
	}
	if e.memory.expired(req.GetSubject(), id) {
		return nil, false, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_COMMAND_ID_EXPIRED, "command id %s is too old to tell whether it was decided; look, and ask anew under a new id", id)
	}
	return &journalv1.Command{Subject: req.GetSubject(), CommandId: id[:], Digest: digest, DecidedMs: e.rt.engine.NowMS()}, false, nil
}

// env is what the next decision may know, but for a fresh id.
func (e *entity) env(who, commandID string) Env {
	now := time.UnixMilli(max(e.rt.Domain.Now().UnixMilli(), e.lastMS)).UTC()
	return Env{Now: now, Real: e.rt.Real.Now().UTC().Truncate(time.Millisecond), ID: e.id, Subject: who, CommandID: commandID}
}

// own is env for what nobody asked for.
func (e *entity) own() Env {
	env := e.env(System, "")
	env.Fresh = e.rt.fresh()
	return env
}

// wakeTime returns when the state wants to be woken, in the domain's time, which
// is what wake-ups are found by.
func (e *entity) wakeTime() time.Time {
	at := e.machine.wake()
	if at.IsZero() || !e.kind.real {
		return at
	}
	return e.rt.Domain.In(at.Sub(e.rt.Real.Now()) + time.Millisecond) // not before it has come
}

// wake lets the kind decide what follows from its time having come.
func (e *entity) wake(ctx actor.Context, from *actor.PID, req *clusterv1.Request) {
	e.leaving = false // what it decides may want tasks, and they want somebody to run them
	if at := e.wakeTime(); !at.IsZero() && !at.After(e.rt.Domain.Now()) {
		e.keep(e.machine.woken(e.own()), nil)
	}
	// The claim moved the wake-up to the end of its lease, perhaps after the
	// commit in flight was written; a commit without events puts it back to what
	// the state wants.
	if e.next == nil && e.born() {
		e.next = e.newBatch()
	}
	e.answer(ctx, from, &clusterv1.Response{Call: req.GetCall()})
	e.flush(ctx)
	if !e.born() {
		ctx.Stop(ctx.Self())
	}
}

// answer lets a response out when everything it has seen is durable.
func (e *entity) answer(ctx actor.Context, to *actor.PID, r *clusterv1.Response) {
	if b := e.youngest(); b != nil {
		b.outs = append(b.outs, out{to: to, response: r, span: e.trace(e.asked.req, "commit")})
		return
	}
	e.send(ctx, to, r)
}

// send lets a response out that saw nothing but what is durable.
func (e *entity) send(ctx actor.Context, to *actor.PID, r *clusterv1.Response) {
	if to == nil {
		return
	}
	r.Version, r.Epoch = e.version, e.rt.Store.Epoch()
	ctx.Send(to, r)
}

// refuse answers with an error. A refusal has seen the state too.
func (e *entity) refuse(ctx actor.Context, from *actor.PID, req *clusterv1.Request, err error) {
	if _, refused := errors.AsType[*messages.Error](err); !refused {
		e.rt.Log.Error("request not decided", slog.String("kind", e.kind.Name), slog.String("id", e.id), slog.String("method", req.GetMethod()), slog.Any("error", err))
	}
	e.answer(ctx, from, &clusterv1.Response{Call: req.GetCall(), Error: messages.AsError(err).Status()})
}

// respond makes an answer of a refusal that has seen nothing but what is durable.
func (e *entity) respond(call uint64, err *messages.Error) *clusterv1.Response {
	return &clusterv1.Response{Call: call, Error: err.Status(), Version: e.version, Epoch: e.rt.Store.Epoch()}
}
