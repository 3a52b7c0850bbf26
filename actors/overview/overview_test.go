package overview

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// shelf is a store with users in it, each at version 10.
type shelf struct {
	persistence.Store
	users []string
	fails int // how often it cannot be listed
}

func (s *shelf) Entities(context.Context, string, string, int) ([]persistence.Ref, string, error) {
	if s.fails--; s.fails >= 0 {
		return nil, "", errors.New("not now")
	}
	var refs []persistence.Ref
	for _, u := range s.users {
		refs = append(refs, persistence.Ref{Entity: persistence.Entity{Kind: userKind, ID: u}})
	}
	return refs, "", nil
}

func (s *shelf) Load(_ context.Context, e persistence.Entity) (persistence.Loaded, error) {
	if e.ID == "torn" {
		return persistence.Loaded{}, persistence.ErrCorrupt
	}
	return persistence.Loaded{Version: 10}, nil
}

// said is what a user published at a version.
func said(t *testing.T, user string, version uint64, broadcasts ...string) *message.Message {
	t.Helper()
	payload, err := proto.Marshal(&taskv1.BroadcastsAcknowledged{UserId: user, BroadcastIds: broadcasts})
	if err != nil {
		t.Fatal(err)
	}
	m := message.NewMessage("1", payload)
	m.Metadata.Set(persistence.MetadataVersion, strconv.FormatUint(version, 10))
	m.Metadata.Set(persistence.MetadataIndex, "0")
	return m
}

// acknowledged asks for a report.
func acknowledged(t *testing.T, o *Overview, id string) (n uint64, reason string) {
	t.Helper()
	payload, err := proto.Marshal(&marketplacev1.GetBroadcastReportRequest{BroadcastId: id})
	if err != nil {
		t.Fatal(err)
	}
	r := o.Answer(&clusterv1.Request{Method: messages.ByPath("cloud-operator/broadcast-report").Name, Payload: payload})
	if r.GetError() != nil {
		return 0, messages.ReasonName(messages.FromStatus(r.GetError()).Reason)
	}
	report := &marketplacev1.GetBroadcastReportResponse{}
	if err := proto.Unmarshal(r.GetPayload(), report); err != nil {
		t.Fatal(err)
	}
	if report.GetDeliveredApprox() != 7 {
		t.Errorf("%d were delivered", report.GetDeliveredApprox())
	}
	return report.GetAcknowledged(), ""
}

// TestCounts loads what is stored, however often it takes, and counts each user
// once whatever comes again, late or late and again.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := map[string][]string{"ann": {"b1"}, "bob": {"b1", "b2"}, "carl": nil}
		o := New(Config{
			Store:     &shelf{users: []string{"ann", "bob", "carl", "torn"}, fails: 2},
			Read:      func(id string, _ persistence.Loaded) ([]string, error) { return stored[id], nil },
			Delivered: func(string) uint64 { return 7 },
		})
		in := make(chan *message.Message, 16)
		for _, m := range []*message.Message{
			said(t, "ann", 3), said(t, "ann", 11, "b1", "b2"), said(t, "ann", 11, "b1", "b2"), said(t, "ann", 9, "b9"),
			said(t, "dora", 1, "b1"), said(t, "bob", 12, "b2"), message.NewMessage("2", nil),
		} {
			in <- m
		}
		if _, reason := acknowledged(t, o, "b1"); reason != "ACTOR_UNAVAILABLE" {
			t.Errorf("before it has counted: %s", reason)
		}
		go o.Run(t.Context(), in)
		time.Sleep(time.Minute)
		synctest.Wait()
		for id, want := range map[string]uint64{"b1": 2, "b2": 2, "b9": 0} {
			if n, reason := acknowledged(t, o, id); n != want || reason != "" {
				t.Errorf("%s was acknowledged by %d: %s", id, n, reason)
			}
		}
		close(in)
	})
}
