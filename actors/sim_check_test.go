package actors_test

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/audit"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// all returns every entity of a kind as the store has it, replayed. Each
// snapshot is held against the replay of what led to it.
func (s *simulation) all(kind string) map[string]proto.Message {
	refs, _, err := s.store.Entities(context.Background(), kind, "", 10_000)
	if err != nil {
		s.fail("list %s: %v", kind, err)
	}
	found := map[string]proto.Message{}
	for _, ref := range refs {
		l, err := s.store.Load(context.Background(), ref.Entity)
		if err != nil {
			s.fail("load %s: %v", ref.Entity, err)
			continue
		}
		seen, err := entity.Inspect(s.kinds[kind], ref.Entity.ID, l)
		if err = errors.Join(err, seen.Damage); err != nil {
			s.fail("replay: %v", err)
		}
		found[ref.Entity.ID] = seen.State
	}
	return found
}

// check holds whatever must be so at any moment.
func (s *simulation) check() {
	states := audit.States{}
	for kind := range s.kinds {
		states[kind] = s.all(kind)
	}
	for _, fault := range audit.Books(states) {
		s.fail("%s", fault)
	}
	s.checkSignedOut(states["user"])
}

// checkSignedOut finds keys that somebody has who signed out, with keys, after
// they were made, and that nobody wants ended.
func (s *simulation) checkSignedOut(users map[string]proto.Message) {
	for id, m := range users {
		u, ok := m.(*journalv1.UserState)
		if !ok || u.GetKeysNotBeforeTime() == nil {
			continue
		}
		for session, known := range u.GetSessions() {
			if known.GetEndTime() == nil && !known.GetEnding() && known.GetSession().GetCreateTime().AsTime().Before(u.GetKeysNotBeforeTime().AsTime()) {
				s.fail("%s signed out everywhere, and key %s of before goes on", id, session)
			}
		}
	}
}

// checkEnd holds what must be so when everybody was answered and everything ended.
func (s *simulation) checkEnd() {
	granted, sent, received := map[string]int64{}, map[string]int64{}, map[string]int64{}
	for _, i := range s.people.intents {
		if !i.done {
			s.fail("%s %s of %s was never answered", i.method.Path, i.id, i.subject)
		}
		if i.reply == nil {
			continue
		}
		switch body := i.body.(type) {
		case *marketplacev1.GrantCreditRequest:
			granted[body.GetUserId()] += body.GetAmount()
		case *marketplacev1.TransferCreditRequest:
			sent[body.GetFromUserId()] += body.GetAmount()
			received[body.GetToUserId()] += body.GetAmount()
		}
	}
	charged := map[string]int64{}
	for id, m := range s.all("deployment") {
		d, ok := m.(*journalv1.DeploymentState)
		if !ok {
			continue
		}
		charged[d.GetUserId()] += d.GetDeployment().GetCharged()
		if p := d.GetDeployment().GetState(); p != marketplacev1.DeploymentState_DEPLOYMENT_STATE_DELETED && p != marketplacev1.DeploymentState_DEPLOYMENT_STATE_FAILED {
			s.fail("deployment %s is %v: %v", id, p, d)
		}
		if d.GetSettled() != d.GetStatement() {
			s.fail("deployment %s made statement %d, its user heard %d", id, d.GetStatement(), d.GetSettled())
		}
	}
	ended := map[string]bool{}
	for id, m := range s.all("session") {
		if st, ok := m.(*journalv1.SessionState); ok {
			ended[id] = st.GetEndNote() != ""
			if st.GetTold() != st.GetStatement() {
				s.fail("session %s made statement %d, its user heard %d", id, st.GetStatement(), st.GetTold())
			}
		}
	}
	for id, there := range s.grid.contracts {
		if there && !s.grid.orphans[id] {
			s.fail("deployment %s left a contract", id)
		}
	}
	for id, m := range s.all("node") {
		if n, ok := m.(*journalv1.NodeState); ok && len(n.GetReservations()) > 0 {
			s.fail("node %s is left with reservations: %v", id, n.GetReservations())
		}
	}
	for id, m := range s.all("user") {
		u, ok := m.(*journalv1.UserState)
		if !ok {
			continue
		}
		for session, known := range u.GetSessions() {
			if ended[session] != (known.GetEndTime() != nil) || known.GetEnding() {
				s.fail("%s is wrong about the end of session %s", id, session)
			}
		}
		if got := -ledger.Balance(u.GetBook(), "granted"); got != granted[id] {
			s.fail("%s was granted %d, acknowledged were %d", id, got, granted[id])
		}
		if used := ledger.Balance(u.GetBook(), "used"); used != charged[id] {
			s.fail("%s paid %d for what cost %d", id, used, charged[id])
		}
		if in, out := -ledger.Balance(u.GetBook(), "received"), ledger.Balance(u.GetBook(), "sent"); in != received[id] || out != sent[id] {
			s.fail("%s received %d and sent %d, acknowledged were %d and %d", id, in, out, received[id], sent[id])
		}
		if held := ledger.Held(u.GetBook(), "credit"); held != 0 {
			s.fail("%s is left with holds of %d", id, held)
		}
	}
	s.checkReaders()
}

// checkReaders holds what readers heard against what is stored.
func (s *simulation) checkReaders() {
	for _, r := range s.readers {
		switch r.method.Path {
		case "cloud-user/watch-account":
			last, ok := r.heard[len(r.heard)-1].(*marketplacev1.WatchAccountResponse)
			u, known := s.all("user")[r.id].(*journalv1.UserState)
			if ok && known && last.GetAccount().GetCredit() != ledger.Balance(u.GetBook(), "credit") {
				s.fail("the last view of %s shows %d", r.id, last.GetAccount().GetCredit())
			}
		case "cloud-user/watch-notifications":
			var heard []string
			for _, m := range r.heard {
				for _, n := range m.(*marketplacev1.WatchNotificationsResponse).GetNotifications() {
					heard = append(heard, n.GetNotificationId())
				}
			}
			items, err := s.store.Since(context.Background(), persistence.Entity{Kind: "user", ID: r.id}, "notifications", 0, 0, 10_000)
			if err != nil || len(items) != len(heard) {
				s.fail("%s heard %d notifications of %d (%v)", r.id, len(heard), len(items), err)
				continue
			}
			for i, item := range items {
				n := &marketplacev1.Notification{}
				if proto.Unmarshal(item.Data, n) != nil || n.GetNotificationId() != heard[i] {
					s.fail("notification %d of %s is not the one that was heard", i, r.id)
				}
			}
		}
	}
}
