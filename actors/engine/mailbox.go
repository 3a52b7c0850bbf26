package engine

import (
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
)

// lossless answers the requests that a stopped actor would swallow without a
// word, so that their sender asks the next incarnation.
type lossless struct {
	system    *actor.ActorSystem
	mailbox   actor.Mailbox
	suspended atomic.Bool
	stopped   atomic.Bool
}

// MailboxStarted is not needed.
func (*lossless) MailboxStarted() {}

// MessagePosted is not needed.
func (*lossless) MessagePosted(any) {}

// MailboxEmpty is not needed.
func (*lossless) MailboxEmpty() {}

// MessageReceived runs after the actor saw m, or after a stopped actor did not.
func (l *lossless) MessageReceived(m any) {
	switch m.(type) {
	case *actor.SuspendMailbox: // the actor has panicked and will be stopped
		l.suspended.Store(true)
		return
	case *actor.Stop:
		l.stopped.Store(true)
		if l.suspended.Load() { // else what waits would never be seen
			l.mailbox.PostSystemMessage(&actor.ResumeMailbox{})
		}
		return
	}
	if !l.stopped.Load() {
		return
	}
	if e, ok := m.(*actor.MessageEnvelope); ok {
		bounce(l.system, e.Sender, e.Message)
	}
}

// bounce tells the sender of a request that nobody decided it. Saying so twice
// is harmless: a call that was sent again has another number.
func bounce(system *actor.ActorSystem, sender *actor.PID, m any) {
	if req, ok := m.(*clusterv1.Request); ok && sender != nil {
		system.Root.Send(sender, &clusterv1.Bounced{Call: req.GetCall()})
	}
}

// Bounce tells the sender of a request that it is to be asked again.
func Bounce(ctx actor.Context, sender *actor.PID, call uint64) {
	if sender != nil {
		ctx.Send(sender, &clusterv1.Bounced{Call: call})
	}
}
