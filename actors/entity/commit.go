package entity

import (
	"bytes"
	"errors"
	"hash/crc32"
	"log/slog"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/threefoldtech/cloud-marketplace/internal/fault"
	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// batch is one commit and all that waits for it.
type batch struct {
	number   uint64
	journal  journalv1.Batch
	commit   persistence.Commit
	items    map[string][][]byte // list items by list, for EVENT streams
	outs     []out
	tasks    []Task
	frames   []framed // for those that watch already
	attempts int
}

// out is something behind the gate: an answer, or a watch that begins there.
type out struct {
	to       *actor.PID
	response *clusterv1.Response
	watch    *watch
	span     *telemetry.Span // of the waiting; nil: nobody traces it
}

func (o *out) call() uint64 {
	if o.watch != nil {
		return o.watch.call
	}
	return o.response.GetCall()
}

// held returns what waits; b may be nil.
func (b *batch) held() []out {
	if b == nil {
		return nil
	}
	return b.outs
}

type (
	// committed is the store's word on a batch. The pointer names incarnation
	// and batch at once.
	committed struct {
		b   *batch
		err error
	}
	// resubmit hands the same commit over again.
	resubmit struct{ b *batch }
)

func (e *entity) newBatch() *batch {
	e.batches++
	return &batch{number: e.batches}
}

// held is how many answers wait.
func (e *entity) held() int { return len(e.flight.held()) + len(e.next.held()) + len(e.joiners) }

// youngest is the batch whose durability an answer given now must wait for.
func (e *entity) youngest() *batch {
	if e.next != nil {
		return e.next
	}
	return e.flight
}

// keep puts a decision into the next batch, and its command into memory. A
// decision without events leaves nothing: asking again decides again.
func (e *entity) keep(d decision, command *journalv1.Command) {
	if len(d.events) == 0 {
		return
	}
	if e.next == nil {
		e.next = e.newBatch()
	}
	b := e.next
	e.lastMS = max(e.rt.Domain.Now().UnixMilli(), e.lastMS)
	b.journal.Records = append(b.journal.Records, &journalv1.Record{TimeMs: e.lastMS, Events: d.events, Command: command})
	for _, i := range d.items {
		b.commit.Lists = append(b.commit.Lists, persistence.ListItem{List: i.list, Data: i.data})
		if e.kind.lists[i.list] != nil {
			if b.items == nil {
				b.items = map[string][][]byte{}
			}
			b.items[i.list] = append(b.items[i.list], i.data)
		}
	}
	for _, o := range d.out {
		b.commit.Out = append(b.commit.Out, persistence.Message{Topic: o.Topic, Payload: encode(o.Message)})
	}
	e.memory.remember(command)
	e.rt.counts.commands.Add(1)
	fault.Point(fault.Decided)
}

// flush sets the next commit going if none is in flight.
func (e *entity) flush(ctx actor.Context) {
	if e.flight == nil && e.next != nil {
		e.seal(false)
		e.submit(ctx)
	}
}

// seal closes the next batch and takes everything derived from the state: at
// this moment it holds exactly the events up to and including the batch.
func (e *entity) seal(passivating bool) {
	b := e.next
	e.next, e.flight = nil, b
	c := &b.commit
	c.Entity, c.Expect = e.entity(), e.version
	c.ID = strconv.FormatUint(e.nonce, 36) + "-" + strconv.FormatUint(b.number, 36)
	version := e.version
	b.tasks = e.machine.tasks()
	if len(b.journal.GetRecords()) > 0 {
		version++
		b.journal.Schema = messages.Schema
		c.Events = encodeBatch(&b.journal)
	}
	c.Wake = e.nextWake(b.tasks)
	if passivating || e.since+1 >= e.rt.SnapshotEvery {
		c.Snapshot = e.snapshot()
	}
	e.sealStreams(b, version)
}

// nextWake is when the entity must be woken: when its state wants it, and soon
// while tasks are pending, for this process may die.
func (e *entity) nextWake(tasks []Task) time.Time {
	at := e.wakeTime()
	if len(tasks) == 0 {
		return at
	}
	if guard := e.rt.Domain.In(e.rt.TaskGuard); at.IsZero() || guard.Before(at) {
		return guard
	}
	return at
}

func (e *entity) snapshot() []byte {
	e.memory.expire(e.rt.Real.Now())
	s := &journalv1.Snapshot{State: e.machine.encode(), Commands: e.memory.snapshot(), TimeMs: e.lastMS, Schema: messages.Schema}
	s.Checksum = checksum(s)
	return encode(s)
}

// batchTail is how many bytes the checksum takes at the end of a batch: its tag
// and its value.
const batchTail = 5

// encodeBatch encodes a batch with its checksum behind the rest.
func encodeBatch(b *journalv1.Batch) []byte {
	data := encode(b)
	to := append(make([]byte, 0, len(data)+batchTail), data...)
	to = protowire.AppendTag(to, 3, protowire.Fixed32Type)
	return protowire.AppendFixed32(to, crc32.Checksum(data, castagnoli))
}

// wholeBatch says whether a batch is what was written. Before schema 2 there was
// no checksum; since then it stays where it is.
func wholeBatch(data []byte, b *journalv1.Batch) bool {
	n := len(data) - batchTail
	if b.Checksum == nil || n < 0 {
		return b.GetSchema() < 2
	}
	want := protowire.AppendFixed32(protowire.AppendTag(nil, 3, protowire.Fixed32Type), crc32.Checksum(data[:n], castagnoli))
	return bytes.Equal(data[n:], want)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC-32C of a snapshot without its checksum.
func checksum(s *journalv1.Snapshot) uint32 {
	was := s.GetChecksum()
	s.Checksum = 0
	sum := crc32.Checksum(encode(s), castagnoli)
	s.Checksum = was
	return sum
}

func (e *entity) submit(ctx actor.Context) {
	fault.Point(fault.Sealed)
	b, self, root := e.flight, ctx.Self(), ctx.ActorSystem().Root
	e.rt.Store.Commit(&b.commit, func(err error) { root.Send(self, &committed{b, err}) })
}

// committed acts on the store's word.
func (e *entity) committed(ctx actor.Context, m *committed) {
	b := m.b
	if e.flight != b || e.mode != alive {
		return
	}
	switch {
	case m.err == nil:
		e.durable(ctx, b)
	case errors.Is(m.err, persistence.ErrStale):
		// Nothing is said to have failed: an earlier try of ours may be what
		// the other owner built upon. What is held is asked again there.
		e.rt.counts.fenced.Add(1)
		e.abandon(ctx)
	case errors.Is(m.err, persistence.ErrLost), errors.Is(m.err, persistence.ErrCorrupt):
		e.halt(ctx, m.err)
	case errors.Is(m.err, persistence.ErrClosed):
		e.abandon(ctx)
	case errors.Is(m.err, persistence.ErrInvalid):
		e.invalid(ctx, b, m.err)
	default: // not known, or not taken: the same bytes under the same id, until it is known
		e.rt.counts.unknown.Add(1)
		e.rt.Log.Warn("commit handed over again", slog.String("entity", e.entity().String()), slog.Int("attempt", b.attempts+1), slog.Any("error", m.err))
		self, root := ctx.Self(), ctx.ActorSystem().Root
		e.rt.Scheduler.After(e.rt.backoff(retryFirst, b.attempts), func() { root.Send(self, &resubmit{b}) })
		b.attempts++
	}
}

// retryFirst is the first pause before a commit is handed over again.
const retryFirst = 50 * time.Millisecond

// invalid ends an incarnation whose kind made a commit that no store takes, as
// a panic does: handing it over again would hold everybody up for ever.
func (e *entity) invalid(ctx actor.Context, b *batch, err error) {
	e.rt.counts.panics.Add(1)
	trace := e.rt.fresh()
	e.rt.Log.Error("commit that no store takes", slog.String("entity", e.entity().String()), slog.String("trace", trace), slog.Any("error", err))
	for i := range b.outs {
		ctx.Send(b.outs[i].to, e.respond(b.outs[i].call(), internal(trace)))
	}
	b.outs = nil
	e.abandon(ctx)
}

// durable opens the gate of a batch and goes on with the next.
func (e *entity) durable(ctx actor.Context, b *batch) {
	fault.Point(fault.BeforeGate)
	e.flight = nil
	if b.commit.Events != nil {
		e.version++
		e.since++
		e.rt.counts.commits.Add(1)
	}
	if b.commit.Snapshot != nil {
		e.since = 0
	}
	e.release(ctx, b)
	fault.Point(fault.AfterGate)
	e.reconcile(ctx, b.tasks, b.number)
	e.launch(ctx, b.number)
	// After the release: a watch that began in b must be known when the next
	// batch is sealed, else that batch has no frame for it.
	e.flush(ctx)
	if e.leaving && e.flight == nil {
		ctx.Stop(ctx.Self())
	}
	e.leaving = e.leaving && e.flight != nil
}

// release opens the gate of a batch: pushes first, then answers in their order.
func (e *entity) release(ctx actor.Context, b *batch) {
	e.push(ctx, b)
	for i := range b.outs {
		o := &b.outs[i]
		if o.watch != nil {
			e.join(ctx, o.watch)
		} else {
			e.send(ctx, o.to, o.response)
			o.span.End("")
		}
	}
}
