package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/user"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

const (
	// findPage is how many entities one task looks at.
	findPage = 500
	// reachFor is how long an entity is tried to be reached for one command.
	reachFor = 2 * time.Minute
	// reachPause is the time between two tries.
	reachPause = time.Second
)

// operator executes what operations want: it finds entities in the store, and
// asks them in the name of whoever began the operation.
type operator struct {
	store persistence.Store
	call  func(req *clusterv1.Request, timeout time.Duration, done func(*clusterv1.Response))
	log   *slog.Logger
}

// withOperator returns executors and those of operations.
func (s *System) withOperator(c Config) map[protoreflect.FullName]entity.Executor {
	o := &operator{store: c.Store, call: s.Call, log: c.Log}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	all := map[protoreflect.FullName]entity.Executor{}
	maps.Copy(all, c.Executors)
	all[(*taskv1.FindEntities)(nil).ProtoReflect().Descriptor().FullName()] = o.find
	all[(*taskv1.CommandOnEntity)(nil).ProtoReflect().Descriptor().FullName()] = o.run
	return all
}

// find returns a page of entities that match. One that cannot be read is among
// them: that it is broken is better heard as an outcome than not at all.
func (o *operator) find(ctx context.Context, _ string, task proto.Message) (proto.Message, error) {
	t, ok := task.(*taskv1.FindEntities)
	if !ok {
		return nil, fmt.Errorf("find entities: unexpected %T", task)
	}
	refs, next, err := o.store.Entities(ctx, t.GetKind(), t.GetCursor(), findPage)
	if err != nil {
		return nil, fmt.Errorf("list entities of kind %s: %w", t.GetKind(), err)
	}
	found := &taskv1.EntitiesFound{Cursor: next}
	for _, r := range refs {
		matches, err := o.matches(ctx, r.Entity, t.GetFilter())
		if err != nil {
			return nil, err
		}
		if matches {
			found.EntityIds = append(found.EntityIds, r.Entity.ID)
		}
	}
	return found, nil
}

// matches says whether an entity, as it is stored, fulfils a filter's conditions.
func (o *operator) matches(ctx context.Context, e persistence.Entity, f *marketplacev1.OperationFilter) (bool, error) {
	if f.Suspended == nil && f.GetRegion() == "" {
		return true, nil
	}
	l, err := o.store.Load(ctx, e)
	switch {
	case errors.Is(err, persistence.ErrCorrupt), l.Halted != "":
		return true, nil
	case err != nil:
		return false, fmt.Errorf("load %s: %w", e, err)
	}
	state, err := entity.Replay(user.Kind, e.ID, l)
	if err != nil {
		o.log.ErrorContext(ctx, "ALARM: user not read for an operation", slog.String("entity", e.String()), slog.Any("error", err))
		return true, nil
	}
	suspended, region := user.Filtered(state)
	return (f.Suspended == nil || f.GetSuspended() == suspended) && (f.GetRegion() == "" || strings.EqualFold(f.GetRegion(), region)), nil
}

// run asks an entity, for a while if it cannot be reached. The command id makes
// it one command however often it is asked.
func (o *operator) run(ctx context.Context, _ string, task proto.Message) (proto.Message, error) {
	t, ok := task.(*taskv1.CommandOnEntity)
	if !ok {
		return nil, fmt.Errorf("run a command: unexpected %T", task)
	}
	req, err := requestOf(t)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, reachFor)
	defer cancel()
	for unknown := false; ; {
		refusal := o.barred(limited, t.GetSubject())
		asked := refusal == nil
		if asked {
			refusal = o.ask(limited, req, &emptypb.Empty{}) // whatever it says besides
		}
		switch {
		case refusal == nil:
			return &taskv1.CommandDone{}, nil
		case refusal.Reason == marketplacev1.ErrorReason_ERROR_REASON_COMMAND_ID_EXPIRED, // an earlier question may have been decided, and forgotten
			!asked && unknown && !messages.Rule(refusal.Reason).GetRetry():
			return unreached(refusal, true), nil
		case !messages.Rule(refusal.Reason).GetRetry():
			return nil, refusal
		}
		unknown = unknown || asked && refusal.Reason == marketplacev1.ErrorReason_ERROR_REASON_ACTOR_TIMEOUT
		switch {
		case clock.Pause(limited, reachPause):
		case ctx.Err() != nil: // this process stops: the next one asks again
			return nil, ctx.Err()
		default:
			return unreached(refusal, unknown), nil
		}
	}
}

// unreached is the outcome of a command that was not answered in the end; it may
// have been decided all the same, if that is unknown.
func unreached(refusal *messages.Error, unknown bool) *taskv1.CommandDone {
	return &taskv1.CommandDone{Reason: messages.ReasonName(refusal.Reason), Message: refusal.Message, Unknown: unknown}
}

// requestOf makes the request that the entity gets, as a gateway would.
func requestOf(t *taskv1.CommandOnEntity) (*clusterv1.Request, error) {
	m := messages.ByPath(t.GetMethod())
	if m == nil || m.Key != messages.KeyField {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "this server has no method %q for one actor", t.GetMethod())
	}
	body := m.Request()
	if err := proto.Unmarshal(t.GetRequest(), body); err != nil {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, "%v", err)
	}
	r := body.ProtoReflect()
	r.Set(r.Descriptor().Fields().ByName(protoreflect.Name(m.KeyName)), protoreflect.ValueOfString(t.GetEntityId()))
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(body)
	if err != nil {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, "%v", err)
	}
	return &clusterv1.Request{
		Kind: m.Actor, Id: t.GetEntityId(), Method: m.Name, Payload: payload, Subject: t.GetSubject(), Roles: t.GetRoles(), CommandId: t.GetCommandId(),
	}, nil
}

// askWithin is how long an entity has for one try.
const askWithin = 10 * time.Second

// barred says why whoever began an operation may not go on with it, if they may not.
func (o *operator) barred(ctx context.Context, subject string) *messages.Error {
	req, err := messages.RequestFrom("$operation", &taskv1.GetAccessRequest{UserId: subject})
	if err != nil {
		return messages.AsError(err)
	}
	access := &taskv1.GetAccessResponse{}
	if refusal := o.ask(ctx, req, access); refusal != nil {
		return refusal
	}
	if access.GetSuspended() {
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACCOUNT_SUSPENDED, "whoever began this is suspended: %s", access.GetNote())
	}
	return nil
}

// ask reads an entity's answer, or returns its refusal.
func (o *operator) ask(ctx context.Context, req *clusterv1.Request, into proto.Message) *messages.Error {
	answered := make(chan *clusterv1.Response, 1)
	o.call(proto.CloneOf(req), askWithin, func(r *clusterv1.Response) { answered <- r })
	var r *clusterv1.Response
	select {
	case r = <-answered:
	case <-ctx.Done():
		select {
		case r = <-answered: // at the last moment
		default:
			return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACTOR_TIMEOUT, "%s %s did not answer", req.GetKind(), req.GetId())
		}
	}
	if r.GetError() != nil {
		return messages.FromStatus(r.GetError())
	}
	if err := proto.Unmarshal(r.GetPayload(), into); err != nil {
		return messages.AsError(fmt.Errorf("decode the answer of %s %s: %w", req.GetKind(), req.GetId(), err))
	}
	return nil
}
