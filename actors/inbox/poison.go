package inbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Metadata of a message in the poison topic, besides what it had before.
const (
	// MetadataReason says why nobody can decide it.
	MetadataReason = "reason"
	// MetadataTopic is the topic that it came from.
	MetadataTopic = "topic"
	// MetadataMethod is the method that its observation names; absent: it is not one.
	MetadataMethod = "method"
)

// Errors of Poison; whoever asks has made a mistake.
var (
	// ErrNoPoison says that the poison topic has no message at a position.
	ErrNoPoison = errors.New("there is no such message in the poison topic")
	// ErrDealtWith says that an operator has dealt with a message before.
	ErrDealtWith = errors.New("the message was dealt with")
)

// What an operator does with a message, as it is written down.
const (
	replayed = "replayed"
	dropped  = "dropped"
)

// PoisonKind is the kind under which the store remembers what was dealt with. It
// is no kind of actor.
const PoisonKind = "poison"

// unknownPause is how long a commit waits whose outcome is not known.
const unknownPause = 100 * time.Millisecond

// Poison is what nobody could decide, for an operator to deal with.
//
// # Memory
//
// The poison topic stays as it is. That a message was dealt with is an entity of
// its own in the store, named after the position, whose first and only commit
// says what was done and publishes the replayed message. So a message is dealt
// with once, whoever asks how often, in whatever process, and whatever dies: a
// second commit does not follow the version that it names.
type Poison struct {
	Store persistence.Store
}

// Poisoned is a message that waits for an operator.
type Poisoned struct {
	Position uint64
	Reason   string
	Topic    string // where it came from
	Method   string // of its observation; empty: it is not one
	Size     int    // of what it says, in bytes
}

// about describes a message of the poison topic.
func about(m *persistence.Message) (Poisoned, error) {
	position, err := m.Position.Number()
	p := Poisoned{Position: position, Reason: m.Metadata[MetadataReason], Topic: m.Metadata[MetadataTopic], Method: m.Metadata[MetadataMethod], Size: len(m.Payload)}
	if p.Topic == "" {
		p.Topic = messages.TopicObservations // written before it was noted
	}
	return p, err
}

// mark is the entity that remembers what became of a message. Marks are in the
// order of positions.
func mark(position uint64) persistence.Entity {
	return persistence.Entity{Kind: PoisonKind, ID: fmt.Sprintf("%020d", position)}
}

// CheckMark returns what is wrong with an entity of PoisonKind; nil: nothing.
func CheckMark(id string, l persistence.Loaded) error {
	position, err := strconv.ParseUint(id, 10, 64)
	if err != nil || mark(position).ID != id {
		return fmt.Errorf("%q is not a position", id)
	}
	if l.Version != 1 || len(l.Tail) != 1 {
		return fmt.Errorf("dealt with %d times", l.Version)
	}
	if what := string(l.Tail[0].Events); what != replayed && what != dropped {
		return fmt.Errorf("nobody knows what %q is", what)
	}
	return nil
}

// end returns the position of the newest message in the poison topic.
func (p Poison) end(ctx context.Context) (uint64, error) {
	end, err := p.Store.End(ctx, messages.TopicPoison)
	if err != nil {
		return 0, err
	}
	return end.Number()
}

// List returns up to n messages after a position that wait for an operator.
func (p Poison) List(ctx context.Context, after uint64, n int) ([]Poisoned, error) {
	end, err := p.end(ctx)
	if err != nil {
		return nil, err
	}
	var all []Poisoned
	for after < end && len(all) < n {
		ms, err := p.Store.Read(ctx, messages.TopicPoison, persistence.FormatPosition(after), n)
		if err != nil {
			return nil, err
		}
		done, err := p.marks(ctx, after, len(ms))
		if err != nil {
			return nil, err
		}
		for i := range ms {
			m, err := about(&ms[i])
			if err != nil {
				return nil, err
			}
			after = m.Position
			if !done[m.Position] && len(all) < n {
				all = append(all, m)
			}
		}
	}
	return all, nil
}

// marks returns the first n positions after one that were dealt with.
func (p Poison) marks(ctx context.Context, after uint64, n int) (map[uint64]bool, error) {
	refs, _, err := p.Store.Entities(ctx, PoisonKind, mark(after).ID, n)
	if err != nil {
		return nil, err
	}
	done := make(map[uint64]bool, len(refs))
	for _, r := range refs {
		position, err := strconv.ParseUint(r.Entity.ID, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Entity, persistence.ErrCorrupt)
		}
		done[position] = true
	}
	return done, nil
}

// Waiting returns how many messages wait for an operator.
func (p Poison) Waiting(ctx context.Context) (uint64, error) {
	var done uint64
	for cursor, more := "", true; more; more = cursor != "" {
		refs, next, err := p.Store.Entities(ctx, PoisonKind, cursor, 1000)
		if err != nil {
			return 0, err
		}
		done, cursor = done+uint64(len(refs)), next
	}
	end, err := p.end(ctx) // after the marks: none is of what comes later
	return end - min(done, end), err
}

// Replay publishes a message again to the topic that it came from. It fails with
// ErrNoPoison or ErrDealtWith.
func (p Poison) Replay(ctx context.Context, position uint64) (Poisoned, error) {
	return p.deal(ctx, position, replayed, func(to string, m *persistence.Message) []persistence.Message {
		again := persistence.Message{Topic: to, UUID: m.UUID, Metadata: maps.Clone(m.Metadata), Payload: m.Payload}
		for _, ours := range []string{MetadataReason, MetadataTopic, MetadataMethod} {
			delete(again.Metadata, ours)
		}
		return []persistence.Message{again}
	})
}

// Drop lets a message be. It fails with ErrNoPoison or ErrDealtWith.
func (p Poison) Drop(ctx context.Context, position uint64) (Poisoned, error) {
	return p.deal(ctx, position, dropped, func(string, *persistence.Message) []persistence.Message { return nil })
}

// deal does something with a message, once.
func (p Poison) deal(ctx context.Context, position uint64, what string, out func(to string, m *persistence.Message) []persistence.Message) (Poisoned, error) {
	end, err := p.end(ctx)
	if err != nil {
		return Poisoned{}, err
	}
	if position == 0 || position > end {
		return Poisoned{}, ErrNoPoison
	}
	ms, err := p.Store.Read(ctx, messages.TopicPoison, persistence.FormatPosition(position-1), 1)
	if err != nil {
		return Poisoned{}, err
	}
	m, err := about(&ms[0])
	if err != nil {
		return Poisoned{}, err
	}
	if m.Position != position {
		return Poisoned{}, ErrNoPoison
	}
	err = p.commit(ctx, &persistence.Commit{Entity: mark(position), ID: rand.Text(), Events: []byte(what), Out: out(m.Topic, &ms[0])})
	if errors.Is(err, persistence.ErrStale) {
		err = p.before(ctx, position)
	}
	return m, err
}

// before says what was done with a message.
func (p Poison) before(ctx context.Context, position uint64) error {
	l, err := p.Store.Load(ctx, mark(position))
	if err != nil {
		return err
	}
	if len(l.Tail) == 0 {
		return fmt.Errorf("%s says nothing: %w", mark(position), persistence.ErrCorrupt)
	}
	return fmt.Errorf("%w: it was %s", ErrDealtWith, l.Tail[0].Events)
}

// commit commits and waits. What it does not know the outcome of, it hands over
// again until ctx ends.
func (p Poison) commit(ctx context.Context, c *persistence.Commit) error {
	for {
		done := make(chan error, 1)
		p.Store.Commit(c, func(err error) { done <- err })
		err := <-done
		if !errors.Is(err, persistence.ErrUnknown) {
			return err
		}
		if !clock.Pause(ctx, unknownPause) {
			return errors.Join(err, ctx.Err())
		}
	}
}
