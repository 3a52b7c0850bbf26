package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/deployment"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	"github.com/threefoldtech/cloud-marketplace/actors/node"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// Summary is what the demo left, computed from the store. Money is in USD/7.
type Summary struct {
	UserID        string            `json:"user_id"`
	DeploymentID  string            `json:"deployment_id"`
	NodeID        uint32            `json:"node_id"`
	ContractID    uint64            `json:"contract_id"`
	HourlyPrice   int64             `json:"hourly_price"`
	Charged       int64             `json:"charged"`
	Credit        int64             `json:"credit"`
	Held          int64             `json:"held"`
	Granted       int64             `json:"granted"`
	Used          int64             `json:"used"`
	Transactions  int               `json:"transactions"`
	Notifications []string          `json:"notifications"`
	Broadcasts    int               `json:"broadcasts"`
	Positions     map[string]string `json:"positions"`
	Kills         int               `json:"kills"`
	Commands      int               `json:"commands_acknowledged"`
	Resumed       int               `json:"streams_resumed"`
	Seconds       float64           `json:"seconds"`
	Checks        []Check           `json:"checks"`
}

// Check is one thing that must be so.
type Check struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
}

// OK says whether everything is as it must be.
func (s *Summary) OK() bool {
	return !slices.ContainsFunc(s.Checks, func(c Check) bool { return !c.OK })
}

// reader reads entities from a store that nobody runs on.
type reader struct {
	ctx   context.Context //nolint:containedctx // one reading
	store persistence.Store
	kinds map[string]*entity.Kind
}

// state replays an entity and notes its position.
func (r *reader) state(s *Summary, kind, id string) (proto.Message, error) {
	e := persistence.Entity{Kind: kind, ID: id}
	l, err := r.store.Load(r.ctx, e)
	if err != nil {
		return nil, err
	}
	s.Positions[e.String()] = r.store.Epoch() + "." + strconv.FormatUint(l.Version, 10)
	return entity.Replay(r.kinds[kind], id, l)
}

// list decodes all items of a list, the newest first.
func list[M proto.Message](r *reader, kind, id, name string, empty func() M) ([]M, error) {
	var all []M
	for cursor, done := "", false; !done; done = cursor == "" {
		items, next, err := r.store.Page(r.ctx, persistence.Entity{Kind: kind, ID: id}, name, cursor, 100)
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			m := empty()
			if err := proto.Unmarshal(i.Data, m); err != nil {
				return nil, err
			}
			all = append(all, m)
		}
		cursor = next
	}
	return all, nil
}

// sumUp computes the summary from the store and holds it against what was heard.
func (d *demo) sumUp(ctx context.Context) (*Summary, error) {
	store, err := boltstore.Open(filepath.Join(d.data, storeFile), boltstore.Options{})
	if err != nil {
		return nil, err
	}
	r := &reader{ctx: ctx, store: store, kinds: map[string]*entity.Kind{}}
	for _, k := range actors.Kinds(deployment.Terms{}) {
		r.kinds[k.Name] = k
	}
	s := &Summary{UserID: d.heard.account.GetUserId(), DeploymentID: d.heard.deployment.GetDeploymentId(), Positions: map[string]string{}, Kills: d.kills, Commands: d.commands, Resumed: d.heard.resumed, Seconds: time.Since(d.began).Seconds()}
	err = errors.Join(d.sumUser(r, s), d.sumDeployment(r, s), d.sumBroadcasts(r, s))
	return s, errors.Join(err, store.Close())
}

// check notes one thing that must be so.
func (s *Summary) check(ok bool, what string, args ...any) {
	s.Checks = append(s.Checks, Check{fmt.Sprintf(what, args...), ok})
}

func (d *demo) sumUser(r *reader, s *Summary) error {
	m, err := r.state(s, "user", s.UserID)
	if err != nil {
		return err
	}
	u, ok := m.(*journalv1.UserState)
	if !ok {
		return errors.New("the user's state is of another kind")
	}
	rows, err := list(r, "user", s.UserID, "transactions", func() *marketplacev1.Transaction { return &marketplacev1.Transaction{} })
	if err != nil {
		return err
	}
	told, err := list(r, "user", s.UserID, "notifications", func() *marketplacev1.Notification { return &marketplacev1.Notification{} })
	if err != nil {
		return err
	}
	book := u.GetBook()
	s.Credit, s.Held = ledger.Balance(book, "credit"), ledger.Held(book, "credit")
	s.Granted, s.Used = -ledger.Balance(book, "granted"), ledger.Balance(book, "used")
	s.Transactions = len(rows)
	var sum int64
	for _, t := range rows {
		sum += t.GetAmount()
	}
	slices.Reverse(told)
	for _, n := range told {
		s.Notifications = append(s.Notifications, n.GetRunwayLevel().String())
	}
	s.check(ledger.Verify(book) == nil, "the user's book balances")
	s.check(sum == s.Credit, "the transactions add up to the credit (%d)", s.Credit)
	s.check(s.Granted == d.granted, "every acknowledged grant was made, and once (%d)", d.granted)
	s.check(s.Held == 0, "no hold is left")
	s.check(d.heard.account.GetCredit() == s.Credit, "the last push showed the credit that the store has")
	same := slices.EqualFunc(told, d.heard.notifications, func(a, b *marketplacev1.Notification) bool { return proto.Equal(a, b) })
	s.check(same, "each warning was heard once, in order (%d)", len(told))
	s.check(d.heard.resumed == 4 && d.heard.broken == 0, "every stream went on after the kill without a loss")
	return nil
}

func (d *demo) sumDeployment(r *reader, s *Summary) error {
	m, err := r.state(s, "deployment", s.DeploymentID)
	if err != nil {
		return err
	}
	st, ok := m.(*journalv1.DeploymentState)
	if !ok {
		return errors.New("the deployment's state is of another kind")
	}
	v := st.GetDeployment()
	s.NodeID, s.ContractID, s.HourlyPrice, s.Charged = v.GetNodeId(), v.GetContractId(), v.GetHourlyPrice(), v.GetCharged()
	s.check(proto.Equal(v, d.heard.deployment), "the last push showed the deployment that the store has")
	s.check(s.Charged == s.Used, "the user paid what the deployment cost (%d)", s.Charged)
	held, err := r.state(s, "node", node.ID(s.NodeID))
	if err != nil {
		return err
	}
	n, ok := held.(*journalv1.NodeState)
	s.check(ok && len(n.GetReservations()) == 0, "the node has its capacity back")
	return nil
}

func (d *demo) sumBroadcasts(r *reader, s *Summary) error {
	if _, err := r.state(s, "broadcast", "marketplace"); err != nil {
		return err
	}
	said, err := list(r, "broadcast", "marketplace", "broadcasts", func() *marketplacev1.Broadcast { return &marketplacev1.Broadcast{} })
	if err != nil {
		return err
	}
	s.Broadcasts = len(said)
	s.check(slices.EqualFunc(said, d.heard.broadcasts, func(a, b *marketplacev1.Broadcast) bool { return proto.Equal(a, b) }), "the broadcast was heard once")
	return nil
}

// tellSummary tells the summary in words.
func (d *demo) tellSummary(s *Summary) {
	d.say("  credit %s = granted %s - used %s; %d transactions, %d warnings, %d broadcast", dollars(s.Credit), dollars(s.Granted), dollars(s.Used), s.Transactions, len(s.Notifications), s.Broadcasts)
	for _, c := range s.Checks {
		mark := "ok "
		if !c.OK {
			mark = "NOT"
		}
		d.say("  %s %s", mark, c.What)
	}
}
