package user

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	"github.com/threefoldtech/cloud-marketplace/messages"
	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	// maxDeployments is how many deployments a user may have that are not gone.
	maxDeployments = 1000
	// keepEnded is how long a deployment that is gone stays in the user's list.
	keepEnded = 30 * 24 * time.Hour
)

// Decide hands a request to the method that decides it.
func (u user) Decide(s *state, req proto.Message, env entity.Env) ([]*event, proto.Message, error) {
	events, reply, err := messages.DecideUser(u, s, req, env)
	return stamp(env, events), reply, err
}

// stamp writes the time of the decision on its events.
func stamp(env entity.Env, events []*event) []*event {
	for _, e := range events {
		e.EventTime = timestamppb.New(env.Now)
	}
	return events
}

// GetAccount returns the account.
func (user) GetAccount(s *state, _ *marketplacev1.GetAccountRequest, env entity.Env) (*marketplacev1.GetAccountResponse, error) {
	return &marketplacev1.GetAccountResponse{Account: account(env.ID, s)}, nil
}

// ListDeployments returns the user's deployments, the newest first.
func (user) ListDeployments(s *state, _ *marketplacev1.ListDeploymentsRequest, _ entity.Env) (*marketplacev1.ListDeploymentsResponse, error) {
	r := &marketplacev1.ListDeploymentsResponse{}
	for id, d := range s.GetDeployments() {
		r.Deployments = append(r.Deployments, &marketplacev1.DeploymentSummary{
			DeploymentId: id, Name: d.GetName(), NodeId: d.GetNodeId(), State: d.GetState(),
			HourlyPrice: d.GetHourlyPrice(), Charged: d.GetCharged(), MeteredUntilTime: d.GetMeteredUntilTime(),
		})
	}
	slices.SortFunc(r.GetDeployments(), func(a, b *marketplacev1.DeploymentSummary) int {
		at, bt := s.GetDeployments()[a.GetDeploymentId()].GetCreateTime(), s.GetDeployments()[b.GetDeploymentId()].GetCreateTime()
		return cmp.Or(bt.AsTime().Compare(at.AsTime()), cmp.Compare(a.GetDeploymentId(), b.GetDeploymentId()))
	})
	return r, nil
}

// UpdateSettings replaces the settings. A revision that is not the present one
// is refused with WRONG_STATE.
func (user) UpdateSettings(s *state, req *marketplacev1.UpdateSettingsRequest, env entity.Env) ([]*event, *marketplacev1.UpdateSettingsResponse, error) {
	now := s.GetSettings().GetRevision()
	if seen := req.GetSettings().GetRevision(); seen != now {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "the settings have changed meanwhile: they are at revision %d, not %d", now, seen).
			With("revision", strconv.FormatUint(now, 10))
	}
	if zone := req.GetSettings().GetTimeZone(); zone != "" {
		// The database is part of the binary. A later one may know other zones,
		// and that is safe: what was decided is journalled, not decided again.
		if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
			return nil, nil, messages.RefuseField("settings.timeZone", "must be a time zone of the IANA database, such as Europe/Brussels")
		}
	}
	next := proto.CloneOf(req.GetSettings())
	next.Revision = now + 1
	e := &event{Event: &journalv1.UserEvent_SettingsUpdated{SettingsUpdated: &journalv1.SettingsUpdated{UserId: env.ID, Settings: next}}}
	return []*event{e}, &marketplacev1.UpdateSettingsResponse{Revision: next.GetRevision()}, nil
}

// GrantCredit books credit that an operator gives.
func (user) GrantCredit(s *state, req *marketplacev1.GrantCreditRequest, env entity.Env) ([]*event, *marketplacev1.GrantCreditResponse, error) {
	if err := ledger.Check(s.GetBook(), granted, credit, req.GetAmount()); err != nil {
		return nil, nil, messages.RefuseField("amount", "%v", err)
	}
	events := []*event{{Event: &journalv1.UserEvent_CreditGranted{CreditGranted: &journalv1.CreditGranted{
		UserId: env.ID, TransactionId: env.Fresh, Amount: req.GetAmount(), GrantedBy: env.Subject, Note: req.GetNote(),
	}}}}
	r := runwayOf(s)
	r.available += req.GetAmount()
	events = append(events, tell(s, r, env)...)
	return events, &marketplacev1.GrantCreditResponse{Credit: ledger.Balance(s.GetBook(), credit) + req.GetAmount(), TransactionId: env.Fresh}, nil
}

// SettleDeployment books what a deployment says of itself. An older statement
// than the last changes nothing and is answered as of now. The first one is
// refused with INSUFFICIENT_BALANCE when its hold is not covered.
func (user) SettleDeployment(s *state, req *taskv1.SettleDeploymentRequest, env entity.Env) ([]*event, *taskv1.SettleDeploymentResponse, error) {
	id := req.GetDeploymentId()
	known := s.GetDeployments()[id]
	if known != nil && req.GetStatement() <= known.GetStatement() {
		return nil, &taskv1.SettleDeploymentResponse{Covered: missing(s, id, known) == 0, Missing: lacking(s, id, known)}, nil
	}
	if known == nil && longEnded(req.GetState(), req.GetMeteredUntilTime(), env.Now) {
		// It was booked to its end and forgotten before the deployment heard so.
		return nil, &taskv1.SettleDeploymentResponse{Covered: true}, nil
	}
	usage := req.GetCharged() - known.GetCharged()
	if usage < 0 || usage > 0 && ledger.Check(s.GetBook(), credit, used, usage) != nil {
		return nil, nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INTERNAL, "deployment %s says it was charged %d, before it said %d", id, req.GetCharged(), known.GetCharged())
	}
	held := s.GetBook().GetHolds()[id].GetAmount()
	room := ledger.Available(s.GetBook(), credit) - usage + held
	if known == nil {
		if err := mayBegin(s, req, room); err != nil {
			return nil, nil, err
		}
	}
	hold := min(req.GetHold(), max(0, room))
	settled := &journalv1.DeploymentSettled{
		UserId: env.ID, DeploymentId: id, Statement: req.GetStatement(), Name: req.GetName(), NodeId: req.GetNodeId(), State: req.GetState(),
		Hold: hold, Wanted: req.GetHold(), HourlyPrice: req.GetHourlyPrice(), Charged: req.GetCharged(), MeteredUntilTime: req.GetMeteredUntilTime(),
		Row: usageRow(known, req, usage),
	}
	events := []*event{{Event: &journalv1.UserEvent_DeploymentSettled{DeploymentSettled: settled}}}
	events = append(events, tell(s, runwayWith(s, settled, usage), env)...)
	if old := forgettable(s, env.Now); len(old) > 0 {
		events = append(events, &event{Event: &journalv1.UserEvent_DeploymentsForgotten{DeploymentsForgotten: &journalv1.DeploymentsForgotten{DeploymentIds: old}}})
	}
	if hold < req.GetHold() {
		return events, &taskv1.SettleDeploymentResponse{Missing: req.GetHold() - room}, nil // what is owed counts
	}
	return events, &taskv1.SettleDeploymentResponse{Covered: true}, nil
}

// mayBegin says whether a deployment that nobody heard of may begin.
func mayBegin(s *state, req *taskv1.SettleDeploymentRequest, room int64) error {
	if ended(req.GetState()) {
		return nil // it failed before it was ever heard of
	}
	live := 0
	for _, d := range s.GetDeployments() {
		if !ended(d.GetState()) {
			live++
		}
	}
	if live >= maxDeployments {
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_LIMIT_REACHED, "there are %d deployments already", live)
	}
	if req.GetHold() > room {
		return insufficient("held", req.GetHold(), room)
	}
	return nil
}

// insufficient says that more is to be held, or transferred, than there is.
func insufficient(what string, required, available int64) *messages.Error {
	available = max(0, available)
	return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_INSUFFICIENT_BALANCE, "%d is to be %s, %d is available (USD/7)", required, what, available).
		With("required", strconv.FormatInt(required, 10)).With("available", strconv.FormatInt(available, 10))
}

// usageRow is the row of the list of transactions that a statement closes: one
// a day, and one at the end.
func usageRow(known *journalv1.UserDeployment, req *taskv1.SettleDeploymentRequest, usage int64) *journalv1.UsageRow {
	amount := known.GetUnlisted() + usage
	sameDay := day(known.GetMeteredUntilTime()) == day(req.GetMeteredUntilTime())
	if amount == 0 || sameDay && !ended(req.GetState()) {
		return nil
	}
	return &journalv1.UsageRow{
		TransactionId: req.GetDeploymentId() + "." + strconv.FormatUint(req.GetStatement(), 10), Amount: amount,
		Note: req.GetName() + " until " + req.GetMeteredUntilTime().AsTime().Format("2006-01-02 15:04 MST"),
	}
}

func day(t *timestamppb.Timestamp) int64 { return t.GetSeconds() / (24 * 3600) }

// runwayWith is the runway as it will be once a settlement is applied.
func runwayWith(s *state, ev *journalv1.DeploymentSettled, usage int64) runway {
	id := ev.GetDeploymentId()
	r := runway{available: ledger.Available(s.GetBook(), credit) - usage + s.GetBook().GetHolds()[id].GetAmount() - ev.GetHold()}
	for other, d := range s.GetDeployments() {
		if other != id && needsCredit(d.GetState()) {
			r.spend += d.GetHourlyPrice()
			r.short = r.short || missing(s, other, d) > 0
		}
	}
	if needsCredit(ev.GetState()) {
		r.spend += ev.GetHourlyPrice()
		r.short = r.short || ev.GetWanted() > ev.GetHold()
	}
	return r
}

// tell decides what the user is to be told of a runway: a deeper level once, a
// shallower one only when the runway is well past it.
func tell(s *state, r runway, env entity.Env) []*event {
	told := s.GetToldLevel()
	if level := r.level(); level > told {
		return []*event{{Event: &journalv1.UserEvent_RunwayTold{RunwayTold: &journalv1.RunwayTold{Level: level, NotificationId: env.Fresh}}}}
	}
	if level := r.lessTenth().level(); level < told {
		return []*event{{Event: &journalv1.UserEvent_RunwayRecovered{RunwayRecovered: &journalv1.RunwayRecovered{Level: level}}}}
	}
	return nil
}

// forgettable names the deployments that ended long ago.
func forgettable(s *state, now time.Time) []string {
	var old []string
	for id, d := range s.GetDeployments() {
		if longEnded(d.GetState(), d.GetMeteredUntilTime(), now) {
			old = append(old, id)
		}
	}
	slices.Sort(old)
	return old
}

// longEnded says whether a deployment ended long enough ago to be forgotten.
func longEnded(in marketplacev1.DeploymentState, meteredUntil *timestamppb.Timestamp, now time.Time) bool {
	return ended(in) && now.Sub(meteredUntil.AsTime()) > keepEnded
}
