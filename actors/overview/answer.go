package overview

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors/readmodel"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Answer answers a request of the overview's methods.
func (o *Overview) Answer(req *clusterv1.Request) *clusterv1.Response {
	return readmodel.Answer(Kind, o.config.Log, req, func(body proto.Message) (proto.Message, error) {
		if body, ok := body.(*marketplacev1.GetBroadcastReportRequest); ok {
			return o.report(body.GetBroadcastId())
		}
		return nil, nil
	})
}

// report says how far a broadcast has come.
func (o *Overview) report(id string) (proto.Message, error) {
	o.mu.RLock()
	loaded, acknowledged := o.loaded, o.counts[id]
	o.mu.RUnlock()
	if !loaded {
		e := messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ACTOR_UNAVAILABLE, "the accounts are being counted; ask again in a moment")
		e.Retry = time.Second
		return nil, e
	}
	return &marketplacev1.GetBroadcastReportResponse{Acknowledged: acknowledged, DeliveredApprox: o.config.Delivered(id)}, nil
}
