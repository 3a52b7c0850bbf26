// Package readmodel is what read models share, which show the actors of a kind
// as they are stored and as they publish: how each actor is loaded, what of its
// life a message tells, and how requests are answered.
//
// Whoever subscribes first, then loads, and then drops each message that tells
// of an earlier moment than is shown, misses nothing and never goes back.
package readmodel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// page is how many entities are listed at once.
const page = 1000

// Moment is a place in the life of an actor: a commit, and a message of it.
type Moment struct{ Version, Index uint64 }

// Reaches says whether m is later than n, or the same.
func (m Moment) Reaches(n Moment) bool {
	return cmp.Or(cmp.Compare(m.Version, n.Version), cmp.Compare(m.Index, n.Index)) >= 0
}

// Decode reads into what an actor published, and says when in its life it did.
func Decode(m *message.Message, into proto.Message) (Moment, error) {
	version, err := strconv.ParseUint(m.Metadata.Get(persistence.MetadataVersion), 10, 64)
	if err != nil {
		return Moment{}, err
	}
	index, err := strconv.ParseUint(m.Metadata.Get(persistence.MetadataIndex), 10, 64)
	if err != nil {
		return Moment{}, err
	}
	return Moment{version, index}, proto.Unmarshal(m.Payload, into)
}

// Load calls put with what read makes of each stored actor of a kind. One that
// cannot be read, or is halted, is put with the error that says why. Load fails
// when the store does.
func Load[T any](ctx context.Context, s persistence.Store, kind string,
	read func(id string, l persistence.Loaded) (T, error), put func(e persistence.Entity, shown T, as Moment, err error),
) error {
	for cursor, done := "", false; !done; done = cursor == "" {
		refs, next, err := s.Entities(ctx, kind, cursor, page)
		if err != nil {
			return fmt.Errorf("list the %ss: %w", kind, err)
		}
		for _, r := range refs {
			l, err := s.Load(ctx, r.Entity)
			if err != nil && !errors.Is(err, persistence.ErrCorrupt) {
				return fmt.Errorf("load %s: %w", r.Entity, err)
			}
			var shown T
			switch {
			case l.Halted != "":
				err = errors.New(l.Halted)
			case err == nil:
				shown, err = read(r.Entity.ID, l)
			}
			put(r.Entity, shown, Moment{l.Version, math.MaxUint64}, err) // what is loaded has seen all of its commit
		}
		cursor = next
	}
	return nil
}

// Answer answers a request of the methods of kind with what reply makes of its
// body. A reply of nil says that it does not know the method.
func Answer(kind string, log *slog.Logger, req *clusterv1.Request, reply func(body proto.Message) (proto.Message, error)) *clusterv1.Response {
	payload, err := answer(kind, req, reply)
	if err != nil {
		return &clusterv1.Response{Error: messages.AsError(err).Status()}
	}
	encoded, err := proto.Marshal(payload)
	if err != nil {
		log.Error("answer not encoded", slog.String("method", req.GetMethod()), slog.Any("error", err))
		return &clusterv1.Response{Error: messages.AsError(err).Status()}
	}
	return &clusterv1.Response{Payload: encoded}
}

func answer(kind string, req *clusterv1.Request, reply func(body proto.Message) (proto.Message, error)) (proto.Message, error) {
	m := messages.ByName(req.GetMethod())
	if m == nil || m.Actor != kind {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "there is no method %s", req.GetMethod())
	}
	body := m.Request()
	if err := proto.Unmarshal(req.GetPayload(), body); err != nil {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, "%v", err)
	}
	payload, err := reply(body)
	if payload == nil && err == nil {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "the %s does not answer %s", kind, m.Path)
	}
	return payload, err
}
