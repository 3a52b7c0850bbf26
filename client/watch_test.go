package client_test

import (
	"context"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/client"
	"github.com/threefoldtech/cloud-marketplace/messages"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestWatchRefusedForTheMoment asks for a watch again that the server had no
// room for, and ends one that it refused.
func TestWatchRefusedForTheMoment(t *testing.T) {
	busy, _ := messages.AppendJSON(nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_OVERLOADED, "later").Status())
	never, _ := messages.AppendJSON(nil, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_ROLE_REQUIRED, "never").Status())
	c := dial(t, script(t, func(ctx context.Context, ws *websocket.Conn, _ int) {
		for n := 1; ; n++ {
			_, b, err := ws.Read(ctx)
			if err != nil {
				return
			}
			id, _, _ := strings.Cut(strings.TrimPrefix(string(b), `{"jsonrpc":"2.0","id":`), ",")
			answer := `"result":{"subscription":"user/ann","recovered":true,"position":"e.1"}`
			switch {
			case n < 3:
				answer = `"error":{"code":-32008,"message":"later","data":` + string(busy) + `}`
			case n > 3:
				answer = `"error":{"code":-32007,"message":"never","data":` + string(never) + `}`
			}
			_ = ws.Write(ctx, websocket.MessageText, []byte(`{"jsonrpc":"2.0","id":`+id+`,`+answer+`}`))
		}
	}), "ann")
	for _, begun := range []bool{true, false} {
		told := make(chan client.Event, 10)
		if _, err := c.Watch("cloud-user/watch-account", &marketplacev1.WatchAccountRequest{}, "", func(e client.Event) { told <- e }); err != nil {
			t.Fatal(err)
		}
		if e := within(t, told, "an event"); e.Begun != begun || (e.End == nil) != begun {
			t.Errorf("told %+v", e)
		}
	}
}

// TestGap begins a watch again after what it has, when a push does not follow
// that, and tells nothing of the push.
func TestGap(t *testing.T) {
	const head = `{"jsonrpc":"2.0","method":"session/watch-broadcasts","params":{"subscription":"broadcast/marketplace",`
	asked := make(chan string, 10)
	c := dial(t, script(t, func(ctx context.Context, ws *websocket.Conn, _ int) {
		for n := 1; ; n++ {
			_, b, err := ws.Read(ctx)
			if err != nil {
				return
			}
			asked <- string(b)
			if !strings.Contains(string(b), `"id":`) || strings.Contains(string(b), "cancel") {
				continue
			}
			id, _, _ := strings.Cut(strings.TrimPrefix(string(b), `{"jsonrpc":"2.0","id":`), ",")
			at, follows := "e.1", "e.5" // a push is missing
			if n > 1 {
				at, follows = "e.1", "e.1"
			}
			for _, f := range []string{
				`{"jsonrpc":"2.0","id":` + id + `,"result":{"subscription":"broadcast/marketplace","recovered":true,"position":"` + at + `"}}`,
				head + `"position":"e.6","previous":"` + follows + `","result":{}}}`,
			} {
				_ = ws.Write(ctx, websocket.MessageText, []byte(f))
			}
		}
	}), "ann")
	told := make(chan client.Event, 10)
	if _, err := c.Watch("session/watch-broadcasts", &marketplacev1.WatchBroadcastsRequest{}, "", func(e client.Event) { told <- e }); err != nil {
		t.Fatal(err)
	}
	within(t, asked, "the question")
	if f := within(t, asked, "the cancelling"); !strings.Contains(f, "$/cancelRequest") {
		t.Errorf("after a gap the client says %s", f)
	}
	if f := within(t, asked, "the second question"); !strings.Contains(f, `"after":"e.1"`) {
		t.Errorf("after a gap the client asks %s", f)
	}
	for i, want := range []bool{true, true, false} {
		if e := within(t, told, "an event"); e.Begun != want || e.Begun == (e.Result != nil) {
			t.Errorf("event %d is %+v", i, e)
		}
	}
}
