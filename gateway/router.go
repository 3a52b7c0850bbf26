package gateway

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Actors are who answers. done is called once and must not block.
type Actors interface {
	Call(req *clusterv1.Request, timeout time.Duration, done func(*clusterv1.Response))
}

// aheadLimit is how far a command id may be ahead of this server's clock: one
// that is further would raise a floor under which honest clients fall.
const aheadLimit = 10 * time.Minute

// recently is how long ago a token may have been issued, or a browser have signed
// in, for what cannot be taken back. A cookie's renewals do not count: nobody need
// be there. A key never counts.
const recently = 15 * time.Minute

// find returns the method of a name on the wire, or a refusal.
func find(path string) (*messages.Method, error) {
	if m := messages.ByPath(path); m != nil {
		return m, nil
	}
	return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "there is no method %q", path)
}

// admit says whether the caller may call the method under this command id.
func admit(m *messages.Method, who Principal, commandID string, now time.Time) error {
	if !m.Allows(who.Roles) {
		return roleRequired(m)
	}
	if m.Recent && (who.key() || now.Sub(who.IssuedAt) > recently) {
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_TOO_OLD, "%s needs a token that was issued in the last %d minutes: sign in again", m.Path, recently/time.Minute)
	}
	if !m.Command() {
		return nil
	}
	id, err := messages.ParseCommandID(commandID)
	if err != nil {
		return err
	}
	if id.Time().After(now.Add(aheadLimit)) {
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_COMMAND_ID_REQUIRED, "the command id is ahead of the server's clock: take the time from session/get")
	}
	return nil
}

// roleRequired refuses a method to those whom it is not for.
func roleRequired(m *messages.Method) *messages.Error {
	return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ROLE_REQUIRED, "%s is for %s", m.Path, roleNames(m.Roles))
}

// roleNames spells roles for people.
func roleNames(roles []optionsv1.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(r.String(), "ROLE_")), "_", "-")
	}
	return strings.Join(names, " or ")
}

// decode reads the parameters of a method and holds them to its rules.
func decode(m *messages.Method, params []byte) (proto.Message, error) {
	body := m.Request()
	if len(params) > 0 && string(params) != "null" && string(params) != "{}" {
		if err := messages.ParseJSON(params, body); err != nil {
			return nil, err
		}
	}
	return body, messages.Validate(body)
}

var wire = proto.MarshalOptions{Deterministic: true}

// request makes the request that the actor of a method gets.
func request(m *messages.Method, who Principal, cmd meta, body proto.Message) (*clusterv1.Request, error) {
	id, err := m.ActorID(who.Subject, cmd.CommandID, body)
	if err != nil {
		return nil, err
	}
	payload, err := wire.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.Path, err)
	}
	req := &clusterv1.Request{Kind: m.Actor, Id: id, Method: m.Name, Payload: payload, Subject: who.Subject, Roles: who.Roles}
	if m.Command() {
		req.CommandId = cmd.CommandID
	}
	if cmd.Traceparent != "" {
		req.Headers = map[string]string{"traceparent": cmd.Traceparent}
	}
	return req, nil
}

// answer returns an actor's response as JSON, as the caller may see it, or its refusal.
func answer(m *messages.Method, r *clusterv1.Response, who *Principal) ([]byte, error) {
	if r.GetError() != nil {
		return nil, messages.FromStatus(r.GetError())
	}
	body := m.Response()
	if err := proto.Unmarshal(r.GetPayload(), body); err != nil {
		return nil, fmt.Errorf("decode the answer of %s: %w", m.Path, err)
	}
	return messages.AppendJSON(nil, shown(m, body, who))
}
