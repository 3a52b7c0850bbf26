package operation

import (
	"bytes"
	"cmp"
	"encoding/json"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// defaultMax is how many actors an operation is for when nobody says.
const defaultMax = 10_000

// Decide hands a request to the method that decides it.
func (k operation) Decide(s *state, req proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	events, reply, err := messages.DecideOperation(k, s, req, env)
	return stamp(env, events), reply, err
}

// RunCommand begins the operation. Everything that can be known before is
// checked before: that the caller may, and that the request makes sense.
func (operation) RunCommand(s *state, req *marketplacev1.RunCommandRequest, env entity.Env) ([]*event, *marketplacev1.RunCommandResponse, error) {
	if s.GetOperation() != nil {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "operation %s exists already", env.ID)
	}
	m, err := runnable(req.GetMethod(), env)
	if err != nil {
		return nil, nil, err
	}
	if err := checkWhom(m, req); err != nil {
		return nil, nil, err
	}
	shown, err := spelled(req.GetRequest())
	if err != nil {
		return nil, nil, err
	}
	body, err := bodyOf(m, shown)
	if err != nil {
		return nil, nil, err
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(body)
	if err != nil {
		return nil, nil, err
	}
	e := &event{Event: &journalv1.OperationEvent_Started{Started: &journalv1.OperationStarted{
		Operation: &marketplacev1.Operation{
			OperationId: env.ID, Method: m.Path, Request: shown.String(), Filter: req.GetFilter(), StartedBy: env.Subject,
			StartTime: timestamppb.New(env.Real), Status: marketplacev1.OperationStatus_OPERATION_STATUS_RUNNING,
		},
		Request: encoded, Roles: env.Roles, MaxEntities: uint64(cmp.Or(req.GetMaxEntities(), defaultMax)), EntityIds: req.GetEntityIds(),
	}}}
	return []*event{e}, &marketplacev1.RunCommandResponse{OperationId: env.ID}, nil
}

// runnable returns the method of a command that may be run on many: one for
// operators alone, of whom the caller is one, whose request names its actor and
// holds no secrets.
func runnable(path string, env entity.Env) (*messages.Method, error) {
	m := messages.ByPath(path)
	switch {
	case m == nil:
		return nil, messages.RefuseField("method", "there is no method %q", path)
	case !m.Command() || m.Key != messages.KeyField || !m.OperatorsOnly() || m.Actor == kindName:
		return nil, messages.RefuseField("method", "%s is not a command of operators on one actor that its request names", path)
	case m.Seals() || m.SealsReply():
		return nil, messages.RefuseField("method", "%s deals with secrets, which are for one actor", path)
	case !m.Allows(env.Roles):
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ROLE_REQUIRED, "%s is for operators", path)
	}
	return m, nil
}

// checkWhom checks that the request says which actors, in one way.
func checkWhom(m *messages.Method, req *marketplacev1.RunCommandRequest) error {
	ids, filter := req.GetEntityIds(), req.GetFilter()
	switch {
	case len(ids) > 0 == (filter != nil):
		return messages.RefuseField("filter", "must be there, or entityIds must, and not both; an empty filter is for all")
	case filter != nil && m.Actor != "user" && proto.Size(filter) > 0:
		return messages.RefuseField("filter", "has conditions of accounts, and %s is for actors of kind %s", m.Path, m.Actor)
	case req.GetMaxEntities() > 0 && len(ids) > int(req.GetMaxEntities()):
		return messages.RefuseField("entityIds", "are more than maxEntities allows")
	}
	for _, id := range ids {
		if err := messages.CheckID("entityIds", id); err != nil {
			return err
		}
	}
	return nil
}

// spelled spells a request in JSON, the same whenever it is spelled.
func spelled(request *structpb.Struct) (*bytes.Buffer, error) {
	text, err := messages.AppendJSON(nil, cmp.Or(request, &structpb.Struct{}))
	var b bytes.Buffer
	if err != nil || json.Compact(&b, text) != nil { // its white space varies
		return nil, messages.RefuseField("request", "could not be read")
	}
	return &b, nil
}

// bodyOf makes the command's request, without the name of the actor, and holds it
// to the command's rules.
func bodyOf(m *messages.Method, text *bytes.Buffer) (proto.Message, error) {
	body := m.Request()
	if err := messages.ParseJSON(text.Bytes(), body); err != nil {
		return nil, messages.RefuseField("request", "is not one of %s: %s", m.Path, messages.AsError(err).Message)
	}
	r := body.ProtoReflect()
	key := r.Descriptor().Fields().ByName(protoreflect.Name(m.KeyName))
	if r.Has(key) {
		return nil, messages.RefuseField("request", "must not have %s: it is each actor's in turn", key.JSONName())
	}
	r.Set(key, protoreflect.ValueOfString("x")) // as good as any actor
	if err := messages.Validate(body); err != nil {
		return nil, messages.RefuseField("request", "is not one that %s takes: %s", m.Path, messages.AsError(err).Message)
	}
	r.Clear(key)
	return body, nil
}

// CancelCommand begins no more. What has ended, or is cancelled, is refused with
// WRONG_STATE.
func (operation) CancelCommand(s *state, _ *marketplacev1.CancelCommandRequest, env entity.Env) ([]*event, *marketplacev1.CancelCommandResponse, error) {
	if s.GetOperation().GetStatus() != marketplacev1.OperationStatus_OPERATION_STATUS_RUNNING {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "the operation does not run any more")
	}
	e := &event{Event: &journalv1.OperationEvent_Cancelled{Cancelled: &journalv1.OperationCancelled{CancelledBy: env.Subject}}}
	return []*event{e}, &marketplacev1.CancelCommandResponse{}, nil
}

// GetCommand returns how far it has come.
func (operation) GetCommand(s *state, _ *marketplacev1.GetCommandRequest, _ entity.Env) (*marketplacev1.GetCommandResponse, error) {
	return &marketplacev1.GetCommandResponse{Operation: proto.CloneOf(s.GetOperation())}, nil
}
