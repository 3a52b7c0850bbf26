package gateway

import (
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
)

// Follow closes the connections of those who may not be connected any more, as
// accounts and sessions publish it, until the channel closes. gap says whether
// messages before one were missed: then everyone has to come again, and is
// looked at anew.
func (g *Gateway) Follow(changes <-chan *message.Message, gap func(*message.Message) bool) {
	for m := range changes {
		changed := &taskv1.AccessChanged{}
		switch err := proto.Unmarshal(m.Payload, changed); {
		case err != nil:
			g.log.Error("change of access not read", slog.String("uuid", m.UUID), slog.Any("error", err))
		case gap(m):
			g.log.Warn("changes of access were missed: every connection is to come again")
			g.revoked.Add(1)
			for _, s := range g.registry.all() {
				s.close(CodeFault, "the server has to look at everyone anew; come back")
			}
		default:
			g.Revoke(changed)
		}
		m.Ack()
	}
}

// Revoke closes the connections that a change of access means. Whoever is on the
// way in meanwhile is looked at again.
func (g *Gateway) Revoke(changed *taskv1.AccessChanged) {
	g.revoked.Add(1)
	for _, s := range g.registry.of(changed.GetSubject()) {
		who := s.principal()
		since := changed.GetNotBeforeTime()
		if who.key() {
			since = changed.GetKeysNotBeforeTime()
		}
		switch {
		case changed.GetSuspended():
			s.close(CodeForbidden, "the account is suspended")
		case changed.GetSessionId() != "" && changed.GetSessionId() == who.SessionID:
			s.close(CodeSignedOut, "the session has ended")
		case since != nil && who.IssuedAt.Before(since.AsTime()):
			s.close(CodeSignedOut, "the account was signed out everywhere")
		}
	}
}
