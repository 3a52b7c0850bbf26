package overview

import (
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Answer answers a request of the overview's methods.
func (o *Overview) Answer(req *clusterv1.Request) *clusterv1.Response {
	reply, err := o.answer(req)
	if err != nil {
		return &clusterv1.Response{Error: messages.AsError(err).Status()}
	}
	payload, err := proto.Marshal(reply)
	if err != nil {
		o.config.Log.Error("answer not encoded", slog.String("method", req.GetMethod()), slog.Any("error", err))
		return &clusterv1.Response{Error: messages.AsError(err).Status()}
	}
	return &clusterv1.Response{Payload: payload}
}

func (o *Overview) answer(req *clusterv1.Request) (proto.Message, error) {
	m := messages.ByName(req.GetMethod())
	if m == nil || m.Actor != Kind {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "there is no method %s", req.GetMethod())
	}
	body := m.Request()
	if err := proto.Unmarshal(req.GetPayload(), body); err != nil {
		return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, "%v", err)
	}
	if body, ok := body.(*marketplacev1.GetBroadcastReportRequest); ok {
		return o.report(body.GetBroadcastId())
	}
	return nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_UNKNOWN_METHOD, "the overview does not answer %s", m.Path)
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
