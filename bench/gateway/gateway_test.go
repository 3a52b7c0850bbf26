package gateway

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the tests' own program serve as a peer.
func TestMain(m *testing.M) {
	Peer(os.Args)
	os.Exit(m.Run())
}

// TestRun measures everything once, with a crowd that is small and a time that
// is short: the figures mean nothing, but every server answers.
func TestRun(t *testing.T) {
	o := Options{Connections: 70, Crowd: 40, Sessions: 200, Rounds: 1, For: 400 * time.Millisecond}
	if err := Run(t.Context(), t.TempDir(), o); err != nil {
		t.Fatal(err)
	}
}

func TestDialects(t *testing.T) {
	for _, c := range []struct {
		speaks dialect
		frame  string
		want   []message
	}{
		{ours{}, `{"jsonrpc":"2.0","id":17,"result":{}}`, []message{{kind: reply, id: 17}}},
		{ours{}, `{"jsonrpc":"2.0","id":17,"error":{}}`, []message{{kind: refusal, id: 17}}},
		{ours{}, `{"jsonrpc":"2.0","id":null,"error":{}}`, []message{{kind: refusal}}},
		{ours{}, `{"jsonrpc":"2.0","method":"session/draining","params":{}}`, []message{{kind: push}}},
		{theirs{}, "{\"id\":3,\"subscribe\":{}}\n{\"push\":{}}\n{}", []message{{kind: reply, id: 3}, {kind: push}, {kind: ping}}},
		{theirs{}, `{"id":3,"error":{"code":100}}`, []message{{kind: refusal, id: 3}}},
	} {
		var got []message
		_ = c.speaks.messages([]byte(c.frame), func(m message) error {
			m.body = nil
			got = append(got, m)
			return nil
		})
		if len(got) != len(c.want) {
			t.Fatalf("%s: %d messages, not %d", c.frame, len(got), len(c.want))
		}
		for i, m := range got {
			if m.kind != c.want[i].kind || m.id != c.want[i].id {
				t.Errorf("%s: message %d is %v, not %v", c.frame, i, m, c.want[i])
			}
		}
	}
}

func TestFrames(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 60_000} {
		text := strings.Repeat("x", size)
		b := serverFrame([]byte(text))
		kind, payload, n := frame(append(b, 1, 2, 3))
		if kind != 1 || string(payload) != text || n != len(b) {
			t.Errorf("%d bytes: kind %d, %d bytes, %d of %d used", size, kind, len(payload), n, len(b))
		}
		if _, _, n := frame(b[:len(b)-1]); n != 0 && size > 0 {
			t.Errorf("%d bytes: a frame without its last byte is taken", size)
		}
	}
}

// TestLedger follows the pushes of one user: two grants that one push shows, and
// a push that does not follow.
func TestLedger(t *testing.T) {
	b := ledger{due: []time.Duration{1, 2}}
	err := b.take([]byte(`{"position":"e.2","previous":"e.0","result":{"account":{"grantedTotal": "2"}}}`), 5)
	if err != nil || len(b.seen) != 2 || b.seen[1] != 5 {
		t.Errorf("the first push: %v, %v", b.seen, err)
	}
	if err := b.take([]byte(`{"position":"e.4","previous":"e.3","result":{}}`), 6); err == nil {
		t.Error("a push that does not follow is not noticed")
	}
}
