package entity

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/engine"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// stream is a stream that somebody watches.
type stream struct {
	method   *messages.Method
	watchers []watcher
	shown    uint64   // the version that the last frame showed
	digest   [16]byte // of the view that the last frame showed
}

// framed is what a stream says of a batch.
type framed struct {
	method *messages.Method
	frame  *clusterv1.Frame
}

// watcher is one process that hears a stream, until its lease ends.
type watcher struct {
	to        *actor.PID
	expiresMS int64
}

// watch is a request to hear a stream. view is what a STATE stream shows at the
// version at which the request leaves the gate.
type watch struct {
	to     *actor.PID
	call   uint64
	method *messages.Method
	from   *clusterv1.Watch
	view   []byte
	// compared says that the store was asked about a version that only the watcher knows.
	compared bool
}

// watch lets a process hear a stream, or prolongs its lease. It passes the gate
// like an answer: what it begins with must be durable.
func (e *entity) watch(ctx actor.Context, from *actor.PID, req *clusterv1.Request, m *messages.Method) {
	w := &watch{to: from, call: req.GetCall(), method: m, from: &clusterv1.Watch{}}
	if err := proto.Unmarshal(req.GetPayload(), w.from); err != nil {
		e.refuse(ctx, from, req, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, "%v", err))
		return
	}
	if e.behind(w) {
		e.compare(ctx, w)
		return
	}
	e.enqueue(ctx, w)
}

// enqueue lets a watch through the gate.
func (e *entity) enqueue(ctx actor.Context, w *watch) {
	switch {
	case e.next != nil: // memory runs ahead of what next will hold: the view is taken at its seal
		e.next.outs = append(e.next.outs, out{to: w.to, watch: w})
	case e.flight != nil: // memory is exactly what is in flight
		e.look(w)
		e.flight.outs = append(e.flight.outs, out{to: w.to, watch: w})
	default:
		if !e.current(w) {
			e.look(w)
		}
		e.join(ctx, w)
	}
}

// current says whether a watch is renewed by somebody who has seen all there is:
// then there is nothing to show.
func (e *entity) current(w *watch) bool {
	return w.from.GetRenewal() && w.from.GetVersion() == e.version && w.from.GetEpoch() == e.rt.Store.Epoch() && e.stream(w.method) != nil
}

// stream returns the stream of a method, nil while nobody hears it.
func (e *entity) stream(m *messages.Method) *stream {
	for _, s := range e.streams {
		if s.method == m {
			return s
		}
	}
	return nil
}

// behind says whether another owner may have committed: a watcher has seen more
// than this incarnation knows, or, where several processes share the store, a
// watch is renewed and nothing was committed here that would have told.
func (e *entity) behind(w *watch) bool {
	if w.compared || !w.from.GetResume() || w.from.GetEpoch() != e.rt.Store.Epoch() {
		return false
	}
	return w.from.GetVersion() > e.version || e.rt.Shared && w.from.GetRenewal() && e.youngest() == nil
}

// compared is what the store knows of an entity.
type compared struct {
	w       *watch
	version uint64
	err     error
}

// compare asks the store.
func (e *entity) compare(ctx actor.Context, w *watch) {
	self, root, who := ctx.Self(), ctx.ActorSystem().Root, e.entity()
	e.rt.Scheduler.Go(func() {
		load, cancel := context.WithTimeout(context.Background(), loadTimeout)
		defer cancel()
		l, err := e.rt.Store.Load(load, who)
		root.Send(self, &compared{w, l.Version, err})
	})
}

// compared goes on with the watch, or makes way for whoever knows more.
func (e *entity) compared(ctx actor.Context, m *compared) {
	switch {
	case e.mode != alive, m.err != nil:
		engine.Bounce(ctx, m.w.to, m.w.call)
	case m.version > e.version && e.flight == nil:
		e.rt.counts.fenced.Add(1)
		engine.Bounce(ctx, m.w.to, m.w.call)
		e.abandon(ctx)
	default: // a commit in flight finds out by itself
		m.w.compared = true
		e.enqueue(ctx, m.w)
	}
}

// look takes the view for a watch, if its stream shows one.
func (e *entity) look(w *watch) {
	if w.method.Stream == optionsv1.Stream_STREAM_STATE {
		w.view = e.machine.view(w.method.Name)
	}
}

// sealStreams takes the frames of a batch, and the views of the watches that wait for it.
func (e *entity) sealStreams(b *batch, version uint64) {
	for i := range b.outs {
		if w := b.outs[i].watch; w != nil {
			e.look(w)
		}
	}
	for _, s := range e.streams {
		if payload := e.framePayload(b, s); payload != nil {
			b.frames = append(b.frames, framed{s.method, &clusterv1.Frame{Version: version, Previous: s.shown, Payload: payload}})
			s.shown = version
		}
	}
}

// framePayload returns what a stream says of a batch; nil when it says nothing:
// a view that has not changed, a commit without items.
func (e *entity) framePayload(b *batch, s *stream) []byte {
	if s.method.Stream == optionsv1.Stream_STREAM_EVENT {
		if items := b.items[s.method.List]; len(items) > 0 {
			return appendItems(nil, s.method, items)
		}
		return nil
	}
	view := e.machine.view(s.method.Name)
	d := digest(view)
	if d == s.digest {
		return nil
	}
	s.digest = d
	return view
}

// push sends the frames of a durable batch to those who watch.
func (e *entity) push(ctx actor.Context, b *batch) {
	now := e.rt.engine.NowMS()
	for _, f := range b.frames {
		s := e.stream(f.method)
		if s == nil {
			continue
		}
		for _, w := range s.watchers {
			if w.expiresMS > now {
				ctx.Send(w.to, &clusterv1.Push{Kind: e.kind.Name, Id: e.id, Method: s.method.Name, Epoch: e.rt.Store.Epoch(), Frame: f.frame})
			}
		}
		for _, j := range e.joiners {
			if j.watch.method == s.method {
				j.missed = append(j.missed, f.frame)
			}
		}
	}
}

// join answers a watch at a version that is durable.
func (e *entity) join(ctx actor.Context, w *watch) {
	epoch := e.rt.Store.Epoch()
	known := w.from.GetResume() && w.from.GetEpoch() == epoch && w.from.GetVersion() <= e.version
	answer := &clusterv1.Watching{Recovered: known || !w.from.GetResume(), Version: e.version, Epoch: epoch}
	s := e.enter(w)
	state := w.method.Stream == optionsv1.Stream_STREAM_STATE
	switch {
	case known && state && e.version == 0 && !w.from.GetRenewal():
		// The beginning and the first view are both at 0: the connection may
		// have broken between them, so the view is shown again.
		answer.Frames = []*clusterv1.Frame{{Payload: w.view}}
	case known && w.from.GetVersion() == e.version:
	case known && state && w.from.GetVersion() >= s.shown: // nothing that shows has changed
	case state:
		first := &clusterv1.Frame{Version: e.version, Payload: w.view}
		if known { // a position of another epoch, or ahead of this entity, was never here
			first.Previous = w.from.GetVersion()
		}
		answer.Frames = []*clusterv1.Frame{first}
	case known: // items were written meanwhile: they are in the list
		e.catchUp(ctx, w)
		return
	}
	ctx.Send(w.to, &clusterv1.Response{Call: w.call, Payload: encode(answer), Version: e.version, Epoch: epoch})
}

// enter makes the watcher's process one that hears the stream.
func (e *entity) enter(w *watch) *stream {
	s := e.stream(w.method)
	if s == nil {
		s = &stream{method: w.method, shown: e.version}
		if w.method.Stream == optionsv1.Stream_STREAM_STATE {
			s.digest = digest(w.view)
		}
		e.streams = append(e.streams, s)
		slices.SortFunc(e.streams, func(a, b *stream) int { return strings.Compare(a.method.Name, b.method.Name) })
	}
	expires := e.rt.engine.NowMS() + e.rt.Lease.Milliseconds()
	for i := range s.watchers {
		if one := &s.watchers[i]; one.to.Equal(w.to) {
			one.expiresMS = expires
			return s
		}
	}
	s.watchers = append(s.watchers, watcher{to: w.to, expiresMS: expires})
	return s
}

// digest tells views apart.
func digest(view []byte) (d [16]byte) {
	sum := sha256.Sum256(view)
	copy(d[:], sum[:])
	return d
}

// expireWatchers forgets processes that have not renewed, and streams nobody hears.
func (e *entity) expireWatchers() {
	now := e.rt.engine.NowMS()
	e.streams = slices.DeleteFunc(e.streams, func(s *stream) bool {
		s.watchers = slices.DeleteFunc(s.watchers, func(w watcher) bool { return w.expiresMS <= now })
		return len(s.watchers) == 0
	})
}
