package user

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// A transfer has two phases: its credit is held in the sender's book, booked in
// the receiver's, and only then taken from the sender's. Transfers between two
// users are numbered and go one after another, so that the receiver tells by
// one number, for ever, what it has heard.

// maxTransfers is how many transfers of a user may be on their way.
const maxTransfers = 100

// transferName names the hold of a transfer, and its task; no deployment has such an id.
func transferName(id string) string { return "transfer/" + id }

// TransferCredit holds credit for another user.
func (user) TransferCredit(s *state, req *marketplacev1.TransferCreditRequest, env entity.Env) ([]*event, *marketplacev1.TransferCreditResponse, error) {
	// Else it would be held for somebody whom nobody can be.
	if err := messages.CheckID("toUserId", req.GetToUserId()); err != nil {
		return nil, nil, err
	}
	open := 0
	for _, o := range s.GetOutgoing() {
		open += len(o.GetOpen())
	}
	r := runwayOf(s)
	switch {
	case req.GetToUserId() == env.ID:
		return nil, nil, messages.RefuseField("toUserId", "must be another user")
	case open >= maxTransfers:
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_LIMIT_REACHED, "there are %d transfers on their way already", open)
	case req.GetAmount() > r.available:
		return nil, nil, insufficient("transferred", req.GetAmount(), r.available)
	case ledger.Check(s.GetBook(), credit, sent, req.GetAmount()) != nil:
		return nil, nil, messages.RefuseField("amount", "is more than the account can count")
	}
	t := &journalv1.Transfer{TransferId: env.Fresh, Number: s.GetOutgoing()[req.GetToUserId()].GetLast() + 1, Amount: req.GetAmount(), Note: req.GetNote()}
	events := []*event{{Event: &journalv1.UserEvent_TransferBegun{TransferBegun: &journalv1.TransferBegun{ToUserId: req.GetToUserId(), Transfer: t, BegunBy: env.Subject}}}}
	r.available -= req.GetAmount()
	events = append(events, tell(s, r, env)...)
	return events, &marketplacev1.TransferCreditResponse{TransferId: t.GetTransferId(), Available: r.available}, nil
}

// ReceiveCredit books a transfer of another user, unless the account cannot
// count so much. What was answered is answered again.
func (user) ReceiveCredit(s *state, req *taskv1.ReceiveCreditRequest, env entity.Env) ([]*event, *taskv1.ReceiveCreditResponse, error) {
	known := s.GetIncoming()[req.GetFromUserId()]
	if req.GetNumber() <= known.GetLast() {
		return nil, &taskv1.ReceiveCreditResponse{Booked: known.GetBooked() && known.GetTransferId() == req.GetTransferId()}, nil
	}
	answered := &journalv1.TransferReceived{
		UserId: env.ID, FromUserId: req.GetFromUserId(), Booked: ledger.Check(s.GetBook(), received, credit, req.GetAmount()) == nil,
		Transfer: &journalv1.Transfer{TransferId: req.GetTransferId(), Number: req.GetNumber(), Amount: req.GetAmount(), Note: req.GetNote()},
	}
	events := []*event{{Event: &journalv1.UserEvent_TransferReceived{TransferReceived: answered}}}
	if answered.GetBooked() {
		r := runwayOf(s)
		r.available += req.GetAmount()
		events = append(events, tell(s, r, env)...)
	}
	return events, &taskv1.ReceiveCreditResponse{Booked: answered.GetBooked()}, nil
}

// transferTasks are the oldest transfers to each user.
func transferTasks(id string, s *state) []entity.Task {
	var tasks []entity.Task
	for _, to := range slices.Sorted(maps.Keys(s.GetOutgoing())) {
		if open := s.GetOutgoing()[to].GetOpen(); len(open) > 0 {
			t := open[0]
			tasks = append(tasks, entity.Task{
				ID: transferName(t.GetTransferId()),
				Do: &taskv1.ReceiveCreditRequest{UserId: to, FromUserId: id, Number: t.GetNumber(), TransferId: t.GetTransferId(), Amount: t.GetAmount(), Note: t.GetNote()},
			})
		}
	}
	return tasks
}

// transferEnded takes the answer of the receiver. Whatever else comes in place
// of one does not say whether it was booked: it is asked again.
func transferEnded(s *state, do *taskv1.ReceiveCreditRequest, done entity.Done, env entity.Env) []*event {
	open := s.GetOutgoing()[do.GetUserId()].GetOpen()
	answer, answered := done.Result.(*taskv1.ReceiveCreditResponse)
	if !answered || len(open) == 0 || open[0].GetTransferId() != do.GetTransferId() {
		return nil
	}
	ended := &journalv1.TransferEnded{ToUserId: do.GetUserId(), Transfer: proto.CloneOf(open[0]), Booked: answer.GetBooked()}
	events := []*event{{Event: &journalv1.UserEvent_TransferEnded{TransferEnded: ended}}}
	if !ended.GetBooked() {
		r := runwayOf(s)
		r.available += do.GetAmount()
		events = append(events, tell(s, r, env)...)
	}
	return events
}

func applyBegun(s *state, ev *journalv1.TransferBegun) {
	o := s.GetOutgoing()[ev.GetToUserId()]
	if o == nil {
		if s.Outgoing == nil {
			s.Outgoing = map[string]*journalv1.OutgoingTransfers{}
		}
		o = &journalv1.OutgoingTransfers{}
		s.Outgoing[ev.GetToUserId()] = o
	}
	t := ev.GetTransfer()
	o.Last, o.Open = t.GetNumber(), append(o.GetOpen(), proto.CloneOf(t))
	ledger.Hold(s.GetBook(), credit, transferName(t.GetTransferId()), t.GetAmount())
}

func applyEnded(s *state, ev *journalv1.TransferEnded) {
	id := ev.GetTransfer().GetTransferId()
	if o := s.GetOutgoing()[ev.GetToUserId()]; o != nil {
		o.Open = slices.DeleteFunc(o.GetOpen(), func(t *journalv1.Transfer) bool { return t.GetTransferId() == id })
	}
	ledger.Hold(s.GetBook(), credit, transferName(id), 0)
	if ev.GetBooked() {
		ledger.Post(s.GetBook(), credit, sent, ev.GetTransfer().GetAmount())
	}
}

func applyReceived(s *state, ev *journalv1.TransferReceived) {
	s.UserId = ev.GetUserId()
	if s.Incoming == nil {
		s.Incoming = map[string]*journalv1.IncomingTransfers{}
	}
	t := ev.GetTransfer()
	s.Incoming[ev.GetFromUserId()] = &journalv1.IncomingTransfers{Last: t.GetNumber(), TransferId: t.GetTransferId(), Booked: ev.GetBooked()}
	if ev.GetBooked() {
		ledger.Post(s.GetBook(), received, credit, t.GetAmount())
	}
}
