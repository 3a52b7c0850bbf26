package entity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/internal/keyring"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// errNoBox says that what is sealed here cannot be opened: its key was deleted,
// or wrapped with a key that is not configured.
var errNoBox = errors.New("what is sealed here has no key")

// openBox takes the data key that is stored.
func (e *entity) openBox(wrapped []byte) {
	if wrapped == nil {
		return
	}
	if e.rt.Keys == nil {
		e.rt.Log.Error("ALARM: no key is configured, and there is something sealed", slog.String("entity", e.entity().String()))
		return
	}
	key, err := e.rt.Keys.Unwrap(e.entity().String(), wrapped)
	if err != nil {
		e.rt.Log.Error("ALARM: data key not unwrapped", slog.String("entity", e.entity().String()), slog.Any("error", err))
		return
	}
	e.box = keyring.NewBox(key)
}

// holdsSealed says whether a request holds something to be sealed.
func holdsSealed(m *messages.Method, req *clusterv1.Request) (found bool) {
	if m == nil || !m.Seals() {
		return false
	}
	body := m.Request()
	if proto.Unmarshal(req.GetPayload(), body) != nil {
		return false // is refused when it is decided
	}
	_ = messages.ReplaceSealed(body, func(_ protoreflect.FullName, value string) (string, error) {
		found = true
		return value, nil
	})
	return found
}

// lacksKey says whether a request must wait for a data key. What is refused
// anyway makes none.
func (e *entity) lacksKey(req *clusterv1.Request) bool {
	m := messages.ByName(req.GetMethod())
	if e.box != nil || m == nil || !m.SealsReply() && !holdsSealed(m, req) {
		return false
	}
	_, err := e.admit(req)
	return err == nil
}

// sealName is what a sealed value of this entity is bound to.
func sealName(entity string, field protoreflect.FullName) string { return entity + "#" + string(field) }

// sealBody seals what is to be sealed of a request, for good.
func (e *entity) sealBody(body proto.Message) {
	if e.box == nil {
		return
	}
	who := e.entity().String()
	_ = messages.ReplaceSealed(body, func(field protoreflect.FullName, value string) (string, error) {
		return e.box.Seal(sealName(who, field), value), nil
	})
}

// sealReply returns a command's reply as it is remembered.
func (e *entity) sealReply(m *messages.Method, reply []byte) []byte {
	if !m.SealsReply() {
		return reply
	}
	body := m.Response()
	if err := proto.Unmarshal(reply, body); err != nil {
		return nil // cannot be: it was encoded here
	}
	e.sealBody(body)
	return encode(body)
}

// repeat answers a command that was decided before, with the same answer.
func (e *entity) repeat(ctx actor.Context, from *actor.PID, req *clusterv1.Request, m *messages.Method, c *journalv1.Command) {
	reply := c.GetReply()
	if m.SealsReply() {
		body := m.Response()
		err := proto.Unmarshal(reply, body)
		if err == nil {
			body, err = opened(body, e.entity().String(), e.box)
		}
		if err != nil {
			e.refuse(ctx, from, req, fmt.Errorf("open the reply to command %s: %w", req.GetCommandId(), err))
			return
		}
		reply = encode(body)
	}
	e.answer(ctx, from, &clusterv1.Response{Call: req.GetCall(), Payload: reply})
}

// opened returns a message of who, such as a task, with what is sealed in it open.
func opened(task proto.Message, who string, box *keyring.Box) (proto.Message, error) {
	if !messages.CanSeal(task.ProtoReflect().Descriptor()) {
		return task, nil
	}
	task = proto.Clone(task)
	err := messages.ReplaceSealed(task, func(field protoreflect.FullName, value string) (string, error) {
		if box == nil {
			return "", errNoBox
		}
		return box.Open(sealName(who, field), value)
	})
	return task, err
}

// keyed is the store's word on a new data key.
type keyed struct {
	wrapped []byte
	err     error
}

// errNoKey is what is heard where no key can be had.
var errNoKey = messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACTOR_UNAVAILABLE, "there is no key to seal this with; an operator must look at this first")

// makeKey has a data key stored. What comes meanwhile waits, in its order.
func (e *entity) makeKey(ctx actor.Context) {
	e.keying = true
	self, root, who := ctx.Self(), ctx.ActorSystem().Root, e.entity()
	e.rt.Scheduler.Go(func() {
		if e.rt.Keys == nil {
			root.Send(self, &keyed{nil, errNoBox})
			return
		}
		limited, cancel := context.WithTimeout(context.Background(), loadTimeout)
		defer cancel()
		now, err := e.rt.Store.SwapKey(limited, who, nil, e.rt.Keys.Wrap(who.String(), keyring.NewKey()))
		root.Send(self, &keyed{now, err})
	})
}

// keyed goes on with what has waited.
func (e *entity) keyed(ctx actor.Context, m *keyed) {
	e.keying = false
	if e.mode != alive {
		return // what waited was bounced
	}
	if m.err != nil {
		e.rt.Log.Error("data key not made", slog.String("entity", e.entity().String()), slog.Any("error", m.err))
	}
	e.openBox(m.wrapped)
	e.drain(ctx, e.box == nil) // who asks later tries again
}

// drain takes what has waited, one by one: a panic leaves the rest to be
// bounced. Where a key was tried for in vain, what lacks it is refused.
func (e *entity) drain(ctx actor.Context, inVain bool) {
	for len(e.waiting) > 0 && !e.keying {
		w := e.waiting[0]
		lacks := e.mode == alive && e.lacksKey(w.req)
		if lacks && !inVain {
			e.makeKey(ctx) // it stays the first
			return
		}
		if e.waiting[0] = (waiting{}); len(e.waiting) == 1 {
			e.waiting = nil
		} else {
			e.waiting = e.waiting[1:]
		}
		if lacks {
			ctx.Send(w.from, e.respond(w.req.GetCall(), errNoKey))
			continue
		}
		e.request(ctx, w.from, w.req)
	}
}
