package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// readWithin is how long a message that must be there may take to be read.
const readWithin = 3 * time.Second

// States are the states of entities, by kind and id.
type States map[string]map[string]proto.Message

func (s States) add(e persistence.Entity, state proto.Message) {
	if s[e.Kind] == nil {
		s[e.Kind] = map[string]proto.Message{}
	}
	s[e.Kind][e.ID] = state
}

// Books compares what entities of one moment say of each other, and returns what
// cannot be so, whatever is under way between them.
func Books(s States) []string {
	var b books
	for _, id := range slices.Sorted(maps.Keys(s["user"])) {
		if u, ok := s["user"][id].(*journalv1.UserState); ok {
			b.user(s, id, u)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s["node"])) {
		if n, ok := s["node"][id].(*journalv1.NodeState); ok {
			b.node(s, id, n)
		}
	}
	return b.faults
}

type books struct{ faults []string }

func (b *books) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

func (b *books) user(s States, id string, u *journalv1.UserState) {
	if err := ledger.Verify(u.GetBook()); err != nil {
		b.fault("the book of %s: %v", id, err)
	}
	for d, known := range u.GetDeployments() {
		st, ok := s["deployment"][d].(*journalv1.DeploymentState)
		if !ok {
			b.fault("%s knows deployment %s, which is not there", id, d)
			continue
		}
		b.deployment(id, d, known, st)
	}
	for d := range u.GetBook().GetHolds() {
		if u.GetDeployments()[d] == nil && !strings.HasPrefix(d, "transfer/") {
			b.fault("%s holds for %s, which it does not know", id, d)
		}
	}
	for to, o := range u.GetOutgoing() {
		b.transfers(id, to, o, s["user"][to])
	}
	for session, known := range u.GetSessions() {
		b.session(id, session, known, s["session"][session])
	}
}

// session compares what a user knows of a session with what that says. The user
// is behind, or at its last statement.
func (b *books) session(user, id string, known *journalv1.UserSession, there proto.Message) {
	st, ok := there.(*journalv1.SessionState)
	switch {
	case !ok && known.GetEndTime() != nil: // it was never found
	case !ok:
		b.fault("%s knows session %s, which is not there", user, id)
	case st.GetSubject() != user:
		b.fault("%s knows session %s, which is %s's", user, id, st.GetSubject())
	case known.GetStatement() > st.GetStatement():
		b.fault("%s heard statement %d of session %s, which made %d", user, known.GetStatement(), id, st.GetStatement())
	}
}

// deployment compares what a user knows of a deployment with what that says. The
// user is behind, or at its last statement.
func (b *books) deployment(user, id string, known *journalv1.UserDeployment, st *journalv1.DeploymentState) {
	d := st.GetDeployment()
	if st.GetUserId() != user {
		b.fault("%s knows deployment %s, which is of %s", user, id, st.GetUserId())
	}
	if known.GetStatement() > st.GetStatement() {
		b.fault("%s heard statement %d of %s, which made %d", user, known.GetStatement(), id, st.GetStatement())
	}
	if known.GetStatement() < st.GetSettled() {
		b.fault("%s heard statement %d of %s, which was told that it heard %d", user, known.GetStatement(), id, st.GetSettled())
	}
	if known.GetCharged() > d.GetCharged() {
		b.fault("%s paid %d for %s, which has cost %d", user, known.GetCharged(), id, d.GetCharged())
	}
	if known.GetStatement() == st.GetStatement() && known.GetCharged() != d.GetCharged() {
		b.fault("%s heard all statements of %s and paid %d, and it has cost %d", user, id, known.GetCharged(), d.GetCharged())
	}
}

// transfers holds what one user sent to what another heard: all but what is on
// its way, and of that at most the oldest.
func (b *books) transfers(from, to string, o *journalv1.OutgoingTransfers, receiver proto.Message) {
	last := uint64(0)
	if r, ok := receiver.(*journalv1.UserState); ok {
		last = r.GetIncoming()[from].GetLast()
	}
	answered := o.GetLast() - uint64(len(o.GetOpen()))
	if last != answered && (last != answered+1 || len(o.GetOpen()) == 0) {
		b.fault("%s sent %d transfers to %s, %d are open, and %d were heard", from, o.GetLast(), to, len(o.GetOpen()), last)
	}
}

// node compares what is set aside on a node with those it is set aside for.
func (b *books) node(s States, id string, n *journalv1.NodeState) {
	for d := range n.GetReservations() {
		if _, ok := s["deployment"][d].(*journalv1.DeploymentState); !ok {
			b.fault("node %s has capacity set aside for deployment %s, which is not there", id, d)
		}
	}
}

// expected are the lists that must be there for a state to be right.
func expected(state proto.Message) []string {
	if u, ok := state.(*journalv1.UserState); ok && ledger.Balance(u.GetBook(), "credit") != 0 {
		return []string{"transactions"}
	}
	return nil
}

// listFaults compares a list with the state of its entity.
func listFaults(list string, items []proto.Message, state proto.Message) []string {
	u, ok := state.(*journalv1.UserState)
	if !ok || list != "transactions" {
		return nil
	}
	var faults []string
	sum := int64(0)
	for i, item := range items {
		t, ok := item.(*marketplacev1.Transaction)
		if !ok {
			return []string{fmt.Sprintf("item %d is no transaction", i)}
		}
		if sum += t.GetAmount(); t.GetCreditAfter() != sum {
			faults = append(faults, fmt.Sprintf("transaction %s leaves a credit of %d, those up to it make %d", t.GetTransactionId(), t.GetCreditAfter(), sum))
			sum = t.GetCreditAfter()
		}
	}
	credit := ledger.Balance(u.GetBook(), "credit")
	for _, d := range u.GetDeployments() {
		credit += d.GetUnlisted()
	}
	if sum != credit {
		faults = append(faults, fmt.Sprintf("the transactions make %d, the book has %d", sum, credit))
	}
	return faults
}
