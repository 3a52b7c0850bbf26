package entity

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

const (
	defaultPage = 50
	pageTimeout = 5 * time.Second
	// What one answer brings of what a watch missed, about: the watcher asks for
	// the rest when it has passed that on.
	catchUpItems = 512
	catchUpBytes = 64 << 10
)

// appendItems appends a response that holds items: the first repeated field of
// the method's response. Items are encoded already, so they are not decoded here.
func appendItems(to []byte, m *messages.Method, items [][]byte) []byte {
	n := itemsField(m)
	for _, i := range items {
		to = protowire.AppendBytes(protowire.AppendTag(to, n, protowire.BytesType), i)
	}
	return to
}

// itemsField is the number of the first repeated field of a response, 0 if there is none.
func itemsField(m *messages.Method) protoreflect.FieldNumber {
	fields := m.Response().ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if fields.Get(i).IsList() {
			return fields.Get(i).Number()
		}
	}
	return 0
}

// page answers a read of a list from the store, without anyone waiting. What is
// not committed yet is not in it.
func (e *entity) page(ctx actor.Context, from *actor.PID, req *clusterv1.Request, m *messages.Method) {
	body := m.Request()
	if err := proto.Unmarshal(req.GetPayload(), body); err != nil {
		e.refuse(ctx, from, req, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, "%v", err))
		return
	}
	size, token := 0, ""
	if p, ok := body.(interface {
		GetPageSize() uint32
		GetPageToken() string
	}); ok {
		size, token = int(p.GetPageSize()), p.GetPageToken()
	}
	if size == 0 {
		size = defaultPage
	}
	root, call, who, version := ctx.ActorSystem().Root, req.GetCall(), e.entity(), e.version
	e.rt.Scheduler.Go(func() {
		load, cancel := context.WithTimeout(context.Background(), pageTimeout)
		defer cancel()
		r := &clusterv1.Response{Call: call, Version: version, Epoch: e.rt.Store.Epoch()}
		items, next, err := e.rt.Store.Page(load, who, m.List, token, size)
		if err != nil {
			e.rt.Log.Warn("list not paged", slog.String("entity", who.String()), slog.String("list", m.List), slog.Any("error", err))
			r.Error = notPaged(err).Status()
		} else {
			r.Payload = pagePayload(m, items, next)
		}
		root.Send(from, r)
	})
}

// notPaged tells a token that nobody gave out from a store that does not answer.
func notPaged(err error) *messages.Error {
	if errors.Is(err, persistence.ErrInvalid) {
		return messages.RefuseField("pageToken", "is not one that this list gave")
	}
	return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACTOR_UNAVAILABLE, "the list cannot be read now; ask again")
}

func pagePayload(m *messages.Method, items []persistence.ListItem, next string) []byte {
	data := make([][]byte, len(items))
	for i := range items {
		data[i] = items[i].Data
	}
	to := appendItems(nil, m, data)
	if f := m.Response().ProtoReflect().Descriptor().Fields().ByName("next_page_token"); f != nil && next != "" {
		to = protowire.AppendString(protowire.AppendTag(to, f.Number(), protowire.BytesType), next)
	}
	return to
}

// joiner is a watch of an EVENT stream whose missed items are being read. What
// is pushed meanwhile is kept for it, so that its answer ends exactly where the
// pushes that follow begin.
type joiner struct {
	watch  *watch
	upTo   uint64
	missed []*clusterv1.Frame
}

// paged is what was read for a joiner.
type paged struct {
	j      *joiner
	frames []*clusterv1.Frame
	more   bool // they are not all
	err    error
}

// catchUp reads what a watch missed.
func (e *entity) catchUp(ctx actor.Context, w *watch) {
	j := &joiner{watch: w, upTo: e.version}
	e.joiners = append(e.joiners, j)
	self, root, who := ctx.Self(), ctx.ActorSystem().Root, e.entity()
	e.rt.Scheduler.Go(func() {
		load, cancel := context.WithTimeout(context.Background(), pageTimeout)
		defer cancel()
		items, more, err := missed(load, e.rt.Store, who, w)
		more = more && items[len(items)-1].Version < j.upTo // what follows is kept with the pushes
		root.Send(self, &paged{j: j, frames: frames(w, items, j.upTo), more: more, err: err})
	})
}

// missed returns the items that the next answer to a watch brings: those of whole
// commits, and whether there are others.
func missed(ctx context.Context, store persistence.Store, who persistence.Entity, w *watch) ([]persistence.ListItem, bool, error) {
	for limit := catchUpItems / 16; ; limit *= 4 { // most have missed little, and items may be large
		items, err := store.Since(ctx, who, w.method.List, w.from.GetVersion(), ^uint32(0), limit+1)
		if err != nil {
			return nil, false, err
		}
		n, full := wholeCommits(items, len(items) > limit)
		if full || len(items) <= limit || n > 0 && limit >= catchUpItems {
			return items[:n], n < len(items), nil
		}
	}
}

// wholeCommits returns how many items the commits have that go into one answer,
// and whether it is full with them; the last commit counts only if it is not cut off.
func wholeCommits(items []persistence.ListItem, cutOff bool) (n int, full bool) {
	whole, size := 0, 0
	for i := range items {
		if i > 0 && items[i].Version != items[i-1].Version {
			if whole = i; size >= catchUpBytes {
				return whole, true
			}
		}
		size += len(items[i].Data)
	}
	if cutOff {
		return whole, false
	}
	return len(items), false
}

// frames makes one frame of the items of each commit, as they were pushed.
func frames(w *watch, items []persistence.ListItem, upTo uint64) []*clusterv1.Frame {
	all := []*clusterv1.Frame{}
	previous := w.from.GetVersion()
	for len(items) > 0 && items[0].Version <= upTo {
		version := items[0].Version
		var data [][]byte
		for len(items) > 0 && items[0].Version == version {
			data = append(data, items[0].Data)
			items = items[1:]
		}
		all = append(all, &clusterv1.Frame{Version: version, Previous: previous, Payload: appendItems(nil, w.method, data)})
		previous = version
	}
	return all
}

// paged answers a joiner.
func (e *entity) paged(ctx actor.Context, m *paged) {
	i := slices.Index(e.joiners, m.j)
	if i < 0 || e.mode != alive {
		return // bounced already
	}
	e.joiners = slices.Delete(e.joiners, i, i+1)
	w := m.j.watch
	if m.err != nil {
		ctx.Send(w.to, e.respond(w.call, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_STREAM_LOST, "what was missed cannot be read now; ask again")))
		return
	}
	answer := &clusterv1.Watching{Recovered: true, Version: e.version, Epoch: e.rt.Store.Epoch(), Frames: m.frames, More: m.more}
	if m.more {
		answer.Version = m.frames[len(m.frames)-1].GetVersion()
	} else {
		answer.Frames = append(m.frames, m.j.missed...)
	}
	ctx.Send(w.to, &clusterv1.Response{Call: w.call, Payload: encode(answer), Version: e.version, Epoch: answer.GetEpoch()})
}
