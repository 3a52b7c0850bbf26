package operation

import (
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
)

const (
	// findWithin is how long a page of the store may take.
	findWithin = 30 * time.Second
	// runWithin is more than an executor tries to reach an actor: it gives up by
	// itself, and says so.
	runWithin = 3 * time.Minute
)

// Tasks looks for more actors before those that wait run out, and runs the
// command on those whose turn it is. Who is under way when the operation is
// cancelled is awaited, so that every outcome is known.
func (operation) Tasks(id string, s *state) []entity.Task {
	o := s.GetOperation()
	var tasks []entity.Task
	if o != nil && !o.GetAllFound() && len(s.GetWaiting()) < ahead {
		tasks = append(tasks, entity.Task{ID: id + "/find/" + strconv.FormatUint(s.GetPages(), 10), Timeout: findWithin, Do: &taskv1.FindEntities{
			Kind: actorOf(o.GetMethod()), Filter: o.GetFilter(), Cursor: s.GetCursor(),
		}})
	}
	for _, to := range s.GetRunning() {
		tasks = append(tasks, entity.Task{ID: id + "/run/" + to, Timeout: runWithin, Do: &taskv1.CommandOnEntity{
			Method: o.GetMethod(), EntityId: to, Request: s.GetRequest(), Subject: o.GetStartedBy(), Roles: s.GetRoles(),
			CommandId: messages.DeriveCommandID(o.GetStartTime().AsTime(), id, to),
		}})
	}
	return tasks
}

// actorOf is the kind of actors that a method is for; a later version may know it no more.
func actorOf(method string) string {
	if m := messages.ByPath(method); m != nil {
		return m.Actor
	}
	return ""
}

// TaskDone takes what was found, and what came of an actor.
func (operation) TaskDone(s *state, done entity.Done, env entity.Env) []*event {
	switch do := done.Task.Do.(type) {
	case *taskv1.FindEntities:
		return stamp(env, found(s, do, done))
	case *taskv1.CommandOnEntity:
		if slices.Contains(s.GetRunning(), do.GetEntityId()) {
			return stamp(env, []*event{{Event: &journalv1.OperationEvent_Outcome{Outcome: outcome(do.GetEntityId(), done)}}})
		}
	}
	return nil
}

// outcome is what came of an actor: it is done, the actor refused it, or nobody
// could reach the actor.
func outcome(id string, done entity.Done) *journalv1.OperationOutcome {
	o := &journalv1.OperationOutcome{EntityId: id}
	if done.Err != nil {
		o.Reason, o.Message = messages.ReasonName(done.Err.Reason), done.Err.Message
	}
	if d, ok := done.Result.(*taskv1.CommandDone); ok {
		o.Reason, o.Message, o.Unknown = d.GetReason(), d.GetMessage(), d.GetUnknown()
	}
	return o
}

// found takes a page of actors, as many as are allowed. A page that was taken
// already changes nothing.
func found(s *state, do *taskv1.FindEntities, done entity.Done) []*event {
	page, ok := done.Result.(*taskv1.EntitiesFound)
	if !ok || s.GetOperation().GetAllFound() || do.GetCursor() != s.GetCursor() {
		return nil
	}
	f := &journalv1.OperationFound{EntityIds: page.GetEntityIds(), Cursor: page.GetCursor()}
	if room := s.GetMaxEntities() - s.GetOperation().GetFound(); uint64(len(f.GetEntityIds())) > room {
		f.EntityIds, f.Cursor, f.Truncated = f.GetEntityIds()[:room], "", true
	}
	return []*event{{Event: &journalv1.OperationEvent_Found{Found: f}}}
}

// stamp writes the time of the decision on its events.
func stamp(env entity.Env, events []*event) []*event {
	for _, e := range events {
		e.EventTime = timestamppb.New(env.Real)
	}
	return events
}
