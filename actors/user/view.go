package user

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Owner is the user.
func (user) Owner(s *state) string { return s.GetUserId() }

// View returns what watch-account shows.
func (user) View(id string, s *state, _ string) proto.Message {
	return &marketplacev1.WatchAccountResponse{Account: account(id, s)}
}

// account is the account as its user sees it.
func account(id string, s *state) *marketplacev1.Account {
	r := runwayOf(s)
	a := &marketplacev1.Account{
		UserId: id, Credit: ledger.Balance(s.GetBook(), credit), Held: ledger.Held(s.GetBook(), credit), Available: r.available,
		HourlySpend: r.spend, RunwayLevel: r.level(),
		GrantedTotal: s.GetBook().GetAccounts()[granted].GetDebits(), UsedTotal: s.GetBook().GetAccounts()[used].GetCredits(),
		ReceivedTotal: s.GetBook().GetAccounts()[received].GetDebits(), SentTotal: s.GetBook().GetAccounts()[sent].GetCredits(),
		Settings: proto.CloneOf(s.GetSettings()),
	}
	if r.spend > 0 {
		a.RunOutTime = timestamppb.New(runOut(s, r))
	}
	for _, d := range s.GetDeployments() {
		if !ended(d.GetState()) {
			a.LiveDeployments++
		}
	}
	return a
}

// maxRunway keeps the date of the end within what a Timestamp can say.
const maxRunway = 100 * 365 * 24 * time.Hour

// runOut is when the credit is used up at the present rate, counted from the
// last booking.
func runOut(s *state, r runway) time.Time {
	at := s.GetAsOfTime().AsTime()
	if r.hours() >= int64(maxRunway/time.Hour) {
		return at.Add(maxRunway)
	}
	whole := time.Duration(r.hours()) * time.Hour
	part := time.Duration(max(0, r.available)%r.spend*3600/r.spend) * time.Second
	return at.Add(whole + part)
}

// Announce writes the lists: what moved the credit, and what the user was told.
// Gateways hear who may not come in any more, and the overview what was read.
func (user) Announce(id string, s *state, e *event) entity.Announcement {
	switch ev := e.GetEvent().(type) {
	case *journalv1.UserEvent_CreditGranted:
		return transaction(&marketplacev1.Transaction{
			TransactionId: ev.CreditGranted.GetTransactionId(), Type: marketplacev1.TransactionType_TRANSACTION_TYPE_GRANT,
			Time: e.GetEventTime(), Amount: ev.CreditGranted.GetAmount(), CreditAfter: listed(s), Note: ev.CreditGranted.GetNote(),
		})
	case *journalv1.UserEvent_DeploymentSettled:
		row := ev.DeploymentSettled.GetRow()
		if row == nil {
			return entity.Announcement{}
		}
		return transaction(&marketplacev1.Transaction{
			TransactionId: row.GetTransactionId(), Type: marketplacev1.TransactionType_TRANSACTION_TYPE_USAGE,
			Time: e.GetEventTime(), Amount: -row.GetAmount(), CreditAfter: listed(s),
			DeploymentId: ev.DeploymentSettled.GetDeploymentId(), Note: row.GetNote(),
		})
	case *journalv1.UserEvent_TransferReceived:
		if ev.TransferReceived.GetBooked() {
			return transfer(s, e, ev.TransferReceived.GetTransfer(), marketplacev1.TransactionType_TRANSACTION_TYPE_TRANSFER_IN, +1)
		}
	case *journalv1.UserEvent_TransferEnded:
		if ev.TransferEnded.GetBooked() {
			return transfer(s, e, ev.TransferEnded.GetTransfer(), marketplacev1.TransactionType_TRANSACTION_TYPE_TRANSFER_OUT, -1)
		}
	case *journalv1.UserEvent_SignedOut, *journalv1.UserEvent_Suspended:
		return entity.Announcement{Out: accessChanged(e, id)}
	case *journalv1.UserEvent_BroadcastAcknowledged:
		return acknowledged(id, s)
	case *journalv1.UserEvent_RunwayTold:
		return entity.Announcement{Items: []entity.Item{{List: "notifications", Message: warning(s, e, ev.RunwayTold)}}}
	}
	return entity.Announcement{}
}

func transfer(s *state, e *event, t *journalv1.Transfer, as marketplacev1.TransactionType, sign int64) entity.Announcement {
	return transaction(&marketplacev1.Transaction{
		TransactionId: t.GetTransferId(), Type: as, Time: e.GetEventTime(), Amount: sign * t.GetAmount(), CreditAfter: listed(s), Note: t.GetNote(),
	})
}

func transaction(t *marketplacev1.Transaction) entity.Announcement {
	return entity.Announcement{Items: []entity.Item{{List: "transactions", Message: t}}}
}

// Archived is the transaction that stands for older ones, which are in a file
// with a checksum: their sum, where the last of them was.
func Archived(items []proto.Message, file, sum string) proto.Message {
	t := &marketplacev1.Transaction{Type: marketplacev1.TransactionType_TRANSACTION_TYPE_ARCHIVE}
	for _, item := range items {
		old, ok := item.(*marketplacev1.Transaction)
		if !ok {
			continue
		}
		t.Amount += old.GetAmount()
		t.Time, t.CreditAfter = old.GetTime(), old.GetCreditAfter()
		t.TransactionId = "archive-" + old.GetTransactionId()
	}
	t.Note = fmt.Sprintf("%d transactions, kept in %s with SHA-256 %s", len(items), file, sum)
	return t
}

// listed is the credit as the list of transactions adds up to it: usage that
// has no row yet is not taken off.
func listed(s *state) int64 {
	sum := ledger.Balance(s.GetBook(), credit)
	for _, d := range s.GetDeployments() {
		sum += d.GetUnlisted()
	}
	return sum
}

// warning says how near the end of the credit is.
func warning(s *state, e *event, told *journalv1.RunwayTold) *marketplacev1.Notification {
	n := &marketplacev1.Notification{
		NotificationId: told.GetNotificationId(), Time: e.GetEventTime(), RunwayLevel: told.GetLevel(),
		Severity: marketplacev1.Severity_SEVERITY_WARNING,
	}
	r := runwayOf(s)
	switch told.GetLevel() {
	case marketplacev1.RunwayLevel_RUNWAY_LEVEL_EXHAUSTED:
		n.Severity = marketplacev1.Severity_SEVERITY_CRITICAL
		n.Text = "Your credit is used up. Add credit, or what runs will be deleted when its grace ends."
	case marketplacev1.RunwayLevel_RUNWAY_LEVEL_DAY, marketplacev1.RunwayLevel_RUNWAY_LEVEL_SIX_HOURS:
		n.Severity = marketplacev1.Severity_SEVERITY_CRITICAL
		n.Text = fmt.Sprintf("Your credit lasts %d more hours at the present rate.", r.hours())
	case marketplacev1.RunwayLevel_RUNWAY_LEVEL_WEEK, marketplacev1.RunwayLevel_RUNWAY_LEVEL_THREE_DAYS:
		n.Text = fmt.Sprintf("Your credit lasts %d more days and %d hours at the present rate.", r.hours()/24, r.hours()%24)
	case marketplacev1.RunwayLevel_RUNWAY_LEVEL_UNSPECIFIED:
	}
	return n
}
