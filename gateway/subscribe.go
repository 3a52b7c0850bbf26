package gateway

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// splitAfter takes the position out of a subscription's parameters.
func splitAfter(params []byte) (rest []byte, after string, err error) {
	if len(params) == 0 || string(params) == "null" {
		return params, "", nil
	}
	members := map[string]json.RawMessage{}
	if json.Unmarshal(params, &members) != nil { //nolint:forbidigo // only the one member is read here
		return nil, "", malformed("params must be an object")
	}
	raw, there := members["after"]
	if !there {
		return params, "", nil
	}
	after, ok := text(raw)
	if !ok || after == "" {
		return nil, "", malformed("after must be a position that this server gave")
	}
	delete(members, "after")
	rest, err = json.Marshal(members) //nolint:forbidigo // the members as they came
	return rest, after, err
}

// subscribe lets the session hear a stream from a position on; "" is from now on.
func (s *Session) subscribe(id []byte, m *messages.Method, req *clusterv1.Request, after string) error {
	from := &clusterv1.Watch{Payload: req.GetPayload()}
	if after != "" {
		p, ok := parsePosition(after)
		if !ok {
			return malformed("after must be a position that this server gave")
		}
		from.Resume, from.Epoch, from.Version = true, p.epoch, p.version
	}
	if after != "" && m.Stream == optionsv1.Stream_STREAM_EVENT && !s.gateway.history.take(req.GetSubject(), 0, s.gateway.clock.Now().UnixMilli()) {
		return later(marketplacev1.ErrorReason_ERROR_REASON_RATE_LIMITED, time.Second, "more of what was missed is asked for than %d KiB a second", historyRate)
	}
	t := s.gateway.hub.hold(topicKey{topicAddress{req.GetKind(), req.GetId()}, m.Name}, m)
	w := &way{session: s, id: id, topic: t, req: req, from: from, after: after}
	if err := s.watch(w); err != nil {
		s.gateway.hub.drop(t)
		return err
	}
	if err := w.ask(); err != nil {
		if s.takeWay(w) {
			s.gateway.hub.drop(t)
		}
		return err
	}
	return nil
}

// watch notes a stream from the question on, so that a second question, a
// cancelling and the end of the session find it; it is heard once it has joined.
func (s *Session) watch(on *way) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.watching) >= s.gateway.limits.Subscriptions {
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOO_MANY_SUBSCRIPTIONS, "a connection hears at most %d streams", s.gateway.limits.Subscriptions)
	}
	for _, w := range s.watching {
		if w.topic.key == on.topic.key {
			return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_WRONG_STATE, "request %s of this connection watches it already", w.id)
		}
	}
	if s.closed {
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_STREAM_LOST, "the connection has ended")
	}
	s.ways++
	on.number = s.ways
	s.watching = append(s.watching, watched{on.number, on.id, on.topic})
	return nil
}

// takeWatch forgets the stream that a request began, and returns it.
func (s *Session) takeWatch(id []byte) *topic {
	return s.forget(func(w watched) bool { return bytes.Equal(w.id, id) })
}

// unwatch forgets a stream that has ended.
func (s *Session) unwatch(t *topic) { s.forget(func(w watched) bool { return w.topic == t }) }

func (s *Session) forget(which func(watched) bool) *topic {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.watching, which)
	if i < 0 {
		return nil
	}
	t := s.watching[i].topic
	s.watching = slices.Delete(s.watching, i, i+1)
	return t
}

// hears says whether the session wants a stream still, on this way into it.
func (s *Session) hears(on *way) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.watching, func(w watched) bool { return w.number == on.number })
}

// takeWay forgets the stream that a way leads to, and says whether it was wanted.
func (s *Session) takeWay(on *way) bool {
	return s.forget(func(w watched) bool { return w.number == on.number }) != nil
}
