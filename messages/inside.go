package messages

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
)

// RequestFrom makes the request of a part of the server, such as "$identity", to
// the actor that the schema names for body. It fails when body names none.
func RequestFrom(part string, body proto.Message) (*clusterv1.Request, error) {
	name := body.ProtoReflect().Descriptor().FullName()
	m := ByRequest(name)
	if m == nil {
		return nil, fmt.Errorf("%s is no request", name)
	}
	id, err := m.ActorID("", "", body)
	if err != nil {
		return nil, err
	}
	payload, err := proto.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return &clusterv1.Request{Kind: m.Actor, Id: id, Method: m.Name, Payload: payload, Subject: part}, nil
}
