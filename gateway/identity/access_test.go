package identity

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// cast plays the actors: a session that goes on, and its owner's account.
type cast struct {
	session *taskv1.CheckSessionResponse
	access  *taskv1.GetAccessResponse
}

func (c *cast) Call(req *clusterv1.Request, _ time.Duration, done func(*clusterv1.Response)) {
	var reply proto.Message = c.access
	if req.GetKind() == "session" {
		reply = c.session
	}
	b, err := proto.Marshal(reply)
	if err != nil {
		panic(err)
	}
	done(&clusterv1.Response{Payload: b})
}

// TestSignedOut refuses what began before its owner signed out everywhere, though
// the session has not heard yet that it is to end.
func TestSignedOut(t *testing.T) {
	const browser, key = marketplacev1.SessionType_SESSION_TYPE_BROWSER, marketplacev1.SessionType_SESSION_TYPE_API_KEY
	out := timestamppb.New(start)
	for name, c := range map[string]struct {
		of      marketplacev1.SessionType
		began   time.Time
		access  *taskv1.GetAccessResponse
		refused bool
	}{
		"a browser, never signed out":           {browser, start, &taskv1.GetAccessResponse{}, false},
		"a browser that signed in before":       {browser, start.Add(-time.Millisecond), &taskv1.GetAccessResponse{NotBeforeTime: out}, true},
		"a browser that signed in then":         {browser, start, &taskv1.GetAccessResponse{NotBeforeTime: out}, false},
		"a browser, and only keys are refused":  {browser, start.Add(-time.Hour), &taskv1.GetAccessResponse{KeysNotBeforeTime: out}, false},
		"a key, never signed out":               {key, start, &taskv1.GetAccessResponse{}, false},
		"a key made before":                     {key, start.Add(-time.Millisecond), &taskv1.GetAccessResponse{NotBeforeTime: out, KeysNotBeforeTime: out}, true},
		"a key made then":                       {key, start, &taskv1.GetAccessResponse{NotBeforeTime: out, KeysNotBeforeTime: out}, false},
		"a key made before, and keys may go on": {key, start.Add(-time.Hour), &taskv1.GetAccessResponse{NotBeforeTime: out}, false},
	} {
		c.access.Known = true
		a := &Accounts{Clock: clock.NewManual(start), Actors: &cast{access: c.access, session: &taskv1.CheckSessionResponse{
			Subject: "ann", Type: c.of, IssueTime: timestamppb.New(c.began),
			ExpireTime: timestamppb.New(start.Add(time.Hour)), EndTime: timestamppb.New(start.Add(time.Hour)),
		}}}
		find, shown := a.Cookie, "s1_secret"
		if c.of == key {
			find, shown = a.Bearer, KeyPrefix+shown
		}
		who, err := find(t.Context(), shown)
		switch {
		case !c.refused && (err != nil || who.SessionID != "s1" || !who.IssuedAt.Equal(c.began)):
			t.Errorf("%s: %+v %v", name, who, err)
		case c.refused && (err == nil || messages.AsError(err).Reason != wrong || !strings.Contains(err.Error(), "signed out everywhere") || who.Subject != ""):
			t.Errorf("%s: %+v %v", name, who, err)
		}
	}
}
