package user

import (
	"slices"
	"strconv"
	"time"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/actors/ledger"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
)

// Tasks sends transfers on, has sessions end that are to, and tells deployments that lack credit that there is
// enough again. That is a hint: the deployment settles anew, and that ends the wish.
func (user) Tasks(userID string, s *state) []entity.Task {
	tasks := append(transferTasks(userID, s), closings(userID, s)...)
	available := ledger.Available(s.GetBook(), credit)
	for id, d := range s.GetDeployments() {
		if short := missing(s, id, d); short > 0 && available >= short && needsCredit(d.GetState()) {
			tasks = append(tasks, entity.Task{
				ID: "recheck/" + id + "/" + strconv.FormatUint(d.GetStatement(), 10),
				Do: &taskv1.RecheckCreditRequest{DeploymentId: id, Statement: d.GetStatement()},
			})
		}
	}
	slices.SortFunc(tasks, func(a, b entity.Task) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return tasks
}

// TaskDone ends transfers. What else is asked leads to a statement.
func (user) TaskDone(s *state, done entity.Done, env entity.Env) []*event {
	switch do := done.Task.Do.(type) {
	case *taskv1.ReceiveCreditRequest:
		return stamp(env, transferEnded(s, do, done, env))
	case *taskv1.CloseSessionRequest:
		return stamp(env, closed(s, do, done, env))
	}
	return nil
}

// Wake is never: a user's time passes with the statements of deployments.
func (user) Wake(*state) time.Time { return time.Time{} }

// Woken decides nothing.
func (user) Woken(*state, entity.Env) []*event { return nil }
