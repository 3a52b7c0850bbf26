// Package persistence says what a durable actor asks of a store, and carries
// Watermill over any store that answers.
//
// # Halves
//
// Store is the contract; the packages below this one fulfil it and storetest
// holds them to it. Publisher and Subscriber are written once, over the
// contract, so that every store has the same message bus.
//
// # Guarantees
//
// A Commit is stored whole or not at all, in the order of its entity's
// versions, and is durable when done is called with nil. Messages of a commit
// are published by the commit itself: there is no moment at which one exists
// without the other.
package persistence

import (
	"cmp"
	"context"
	"errors"
	"time"

	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
)

// Errors of a Store. A store wraps them; compare with errors.Is.
var (
	// ErrStale says that another owner has committed: the version is past what
	// the commit follows. The owner that gets it must stop.
	ErrStale = errors.New("another owner has committed")
	// ErrLost says that the store is behind its owner: acknowledged commits are gone.
	ErrLost = errors.New("the store has lost acknowledged commits")
	// ErrUnknown says that the outcome of a commit is not known. The same commit
	// under the same id must be handed over again before any other.
	ErrUnknown = errors.New("the outcome of the commit is not known")
	// ErrOverloaded says that the store takes no more for the moment. Nothing was stored.
	ErrOverloaded = errors.New("the store is overloaded")
	// ErrCorrupt says that what is stored contradicts itself.
	ErrCorrupt = errors.New("the store contradicts itself")
	// ErrClosed says that the store was closed. Nothing was stored.
	ErrClosed = errors.New("the store is closed")
	// ErrLocked says that another process holds the store.
	ErrLocked = errors.New("another process holds the store")
	// ErrNotEmpty says that a store to be restored into holds something.
	ErrNotEmpty = errors.New("the store is not empty")
	// ErrTooNew says that the store was written by a later version of the program.
	ErrTooNew = errors.New("the store is newer than this program")
)

// Entity names one durable actor. Neither part may be empty or hold a zero byte.
type Entity struct{ Kind, ID string }

// String returns kind/id.
func (e Entity) String() string { return e.Kind + "/" + e.ID }

// Compare orders entities by kind, then by id.
func (e Entity) Compare(f Entity) int {
	return cmp.Or(cmp.Compare(e.Kind, f.Kind), cmp.Compare(e.ID, f.ID))
}

// Commit is all that one step of an entity leaves behind. Nothing in it may
// change after it was handed over.
type Commit struct {
	Entity   Entity
	Expect   uint64     // the version this follows
	ID       string     // commit id, the same on a retry; never empty
	Events   []byte     // encoded batch; nil: snapshot and wake-up only, the version stays
	Snapshot []byte     // optional; the journal is then trimmed before the previous snapshot
	Lists    []ListItem // appended to the entity's lists
	Out      []Message  // published with the commit
	Wake     time.Time  // replaces the earlier wake-up; zero removes it
}

// IndexOf returns the index of the ith list item: how many before it are of the
// same list.
func (c *Commit) IndexOf(i int) uint32 {
	var n uint32
	for j := range i {
		if c.Lists[j].List == c.Lists[i].List {
			n++
		}
	}
	return n
}

// ListItem is one entry of an entity's list. Its place is the version of the
// commit that wrote it and its index among that commit's items of that list.
type ListItem struct {
	List    string
	Data    []byte
	Version uint64 // set by Page
	Index   uint32 // set by Page
}

// Position is a place in a topic: the number of a message, counted from 1 and
// the same on all stores. The empty position is before the first message.
type Position string

// Message is one entry of a topic.
type Message struct {
	Topic    string
	UUID     string // Watermill's; empty in a Commit: the store makes "<kind>/<id>/<version>-<index>"
	Metadata map[string]string
	Payload  []byte
	Position Position // set by Read
	// Origin is the commit that published the message, set by Read: consumers
	// drop what they have seen by entity and version. Zero for what Append published.
	Origin Origin
}

// Group is how far a consumer group has come in a topic.
type Group struct {
	Name string
	At   Position
}

// Origin is where a message came from.
type Origin struct {
	Entity  Entity
	Version uint64
	Index   uint32 // among the messages of the commit
}

// Record is one entry of a journal.
type Record struct {
	Version uint64
	Events  []byte
}

// Snapshot is a state as of a version.
type Snapshot struct {
	Version uint64
	Data    []byte
}

// Loaded is an entity as the store knows it, all of one moment.
type Loaded struct {
	Version uint64
	// Snapshots are the last two, the older first; there may be one or none.
	Snapshots []Snapshot
	// Tail is every record after the older of two snapshots, from the first one
	// otherwise, contiguous up to Version.
	Tail []Record
	// Halted is why the entity was halted; empty: it was not.
	Halted string
	// Key is the entity's data key, wrapped; nil: it has none.
	Key []byte
}

// EntityKey is the data key of an entity, wrapped.
type EntityKey struct {
	Entity Entity
	Key    []byte
}

// Halted is an entity that a person must look at.
type Halted struct {
	Entity Entity
	Why    string
}

// Ref is one row of Entities.
type Ref struct {
	Entity  Entity
	Version uint64
}

// Stats is what a store has done since it was opened.
type Stats struct {
	Transactions uint64 // that were synced; commits share them
	Commits      uint64 // that were stored
}

// Health is whether a store can be relied on.
type Health struct {
	Err  error  // why it cannot, at present; nil: it can
	Note string // what its operator has accepted, for others to know
}

// Store keeps entities. All methods may be called from any goroutine.
type Store interface {
	// Commit is asynchronous. done is called exactly once, from a goroutine of
	// the store, and must not block. nil is success, also for our own earlier
	// success: an equal id is checked before the version. Else ErrStale,
	// ErrLost, ErrUnknown, ErrOverloaded, ErrCorrupt or ErrClosed.
	Commit(c *Commit, done func(error))
	// Halt marks an entity whose store contradicts what was acknowledged. Until
	// Clear, its commits end with ErrLost and Load says why. The first reason stays.
	Halt(ctx context.Context, e Entity, why string) error
	// Clear lets a halted entity work again from what is stored, and renames the
	// history: what was said of it since is not in the store. Others are left alone.
	Clear(ctx context.Context, e Entity) error
	// HaltedEntities returns what is halted, by kind and id.
	HaltedEntities(ctx context.Context) ([]Halted, error)
	// SwapKey puts a wrapped data key in place of another, if that is the one that
	// is there, and returns the one that is there then. nil is no key. Keys are
	// kept beside the journal, so that without its key what is sealed there is gone.
	SwapKey(ctx context.Context, e Entity, was, to []byte) ([]byte, error)
	// Keys returns up to n keys in the order of their entities, after the cursor,
	// and the cursor of the next page, "" at the end.
	Keys(ctx context.Context, cursor string, n int) ([]EntityKey, string, error)
	// Load returns what is stored of an entity; of one that never was, the zero
	// value; of one that is halted, also the reason. ErrCorrupt when the journal has a gap or does not end at the version.
	Load(ctx context.Context, e Entity) (Loaded, error)
	// Exists says whether an entity has ever committed an event.
	Exists(ctx context.Context, e Entity) (bool, error)
	// Epoch identifies the history of this store: a random id made with it, new
	// after a restore and after Clear. Positions of another epoch mean nothing here.
	Epoch() string
	// Page returns up to n items of a list, newest first, before the cursor
	// ("" for the newest), and the cursor of the next page, "" at the end. An
	// unknown cursor is an error.
	Page(ctx context.Context, e Entity, list, cursor string, n int) ([]ListItem, string, error)
	// Since returns up to n items of a list after a place, oldest first.
	Since(ctx context.Context, e Entity, list string, version uint64, index uint32, n int) ([]ListItem, error)
	// Entities returns up to n entities of a kind in the order of their ids,
	// after the cursor, and the cursor of the next page, "" at the end.
	Entities(ctx context.Context, kind, cursor string, n int) ([]Ref, string, error)
	// Due claims up to n entities whose wake-up is due at now: each is moved to
	// now+lease, so that a claim which leads to nothing comes back.
	Due(ctx context.Context, now time.Time, n int, lease time.Duration) ([]Entity, error)
	// Replace drops the items of a list up to and including a place, and puts data
	// in the place of the last of them; nil: nothing. It returns how many it dropped.
	Replace(ctx context.Context, e Entity, list string, version uint64, index uint32, data []byte) (int, error)
	// Append publishes messages that no entity commits: what integrations observed.
	// It returns when they are durable.
	Append(ctx context.Context, ms []Message) error
	// Read returns up to n messages of a topic after a position, in order. It
	// blocks until there is one or ctx ends, and then returns ctx's error.
	Read(ctx context.Context, topic string, after Position, n int) ([]Message, error)
	// End returns the position of the newest message of a topic.
	End(ctx context.Context, topic string) (Position, error)
	// Cursor returns how far a consumer group has come, "" at the beginning.
	Cursor(ctx context.Context, group, topic string) (Position, error)
	// Groups returns how far every consumer group of a topic has come, by name: of
	// those that Advance has named, if only with the empty position.
	Groups(ctx context.Context, topic string) ([]Group, error)
	// Topics returns the names of all topics that ever had a message, in their order.
	Topics(ctx context.Context) ([]string, error)
	// Trim drops the messages of a topic up to a position, but none that a group
	// has not read, and none at all while no group is known. It returns how many it dropped.
	Trim(ctx context.Context, topic string, upTo Position) (int, error)
	// Dump hands over everything that is stored but for leases, all of one moment:
	// a head, then parts in any order. It ends with the first error of take, which
	// may keep no part.
	Dump(ctx context.Context, take func(*backupv1.Part) error) error
	// Advance moves a consumer group; a position behind the present one is ignored,
	// and one beyond the end of the topic is ErrInvalid: the store has lost its end.
	// It may be lost with the process: what was read after it is then read again.
	Advance(ctx context.Context, group, topic string, to Position) error
	// Lease lets one holder have a name until ttl has passed since its last
	// call; false when another holds it. A ttl of zero gives it back.
	Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
	// Close waits for the batch being written; what is queued ends with ErrClosed.
	Close() error
}
