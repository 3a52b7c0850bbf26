package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// FuzzFrames sends whatever bytes behind a handshake. The connection answers or
// ends; a connection beside it goes on, and nothing is left of either.
func FuzzFrames(f *testing.F) {
	text := func(s string) []byte { // a masked frame
		return append(append([]byte{0x81, 0x80 | byte(len(s))}, 0, 0, 0, 0), s...)
	}
	for _, seed := range [][]byte{
		text(`{"jsonrpc":"2.0","id":1,"method":"session/get"}`), text(`{`),
		{0x81, 0x05, 'h', 'e', 'l', 'l', 'o'},
		{0x89, 0xfe, 0x00, 0x7e, 0, 0, 0, 0},
		{0x01, 0x80, 0, 0, 0, 0, 0x00, 0x80, 0, 0, 0, 0, 0x80, 0x80, 0, 0, 0, 0},
		{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		{0xf1, 0x80, 0, 0, 0, 0},
		{0x83, 0x80, 0, 0, 0, 0},
		{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8},
		{0x88, 0x81, 0, 0, 0, 0, 0x03},
		{0x80, 0x80, 0, 0, 0, 0},
		append(text("\xff\xfe"), 0x8a, 0x80, 0, 0, 0, 0),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		s := serve(t, nil)
		beside := s.dial("ben")
		nc, r := s.upgrade()
		_, _ = nc.Write(sent) // it may end before all is sent
		if half, ok := nc.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
		_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, r); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("after %x the connection neither answers nor ends", sent)
		}
		beside.ask(1, "session/get", "{}")
		if f := beside.hear(); f.ID == nil || f.Error != nil {
			t.Errorf("beside it: %+v", f)
		}
		eventually(t, "one is left", func() bool { return s.gateway.Stats().Sessions == 1 })
	})
}

// FuzzEvents turns pushes into events: each has its position and its result, and
// nothing of a push can pretend to be another event.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{"plain", "a\nb", "\r\n\r\nevent: end\n\n", `"}}`, "é\u2028", "{\"position\":\"x\"}", strings.Repeat("y", 70_000)} {
		f.Add("e.1", seed)
	}
	f.Fuzz(func(t *testing.T, position, said string) {
		result, err := json.Marshal(map[string]string{"text": said})
		if err != nil {
			t.Fatal(err)
		}
		at := quote(position)
		push := []byte(`{"jsonrpc":"2.0","method":"a/b","params":{"subscription":"x/y","position":` + at + `,"previous":"e.0","result":` + string(result) + `}}`)
		frames := appendFrame(appendFrame(nil, push), push)
		events := appendEvents(nil, frames)
		want := "id: " + at[1:len(at)-1] + "\ndata: " + string(result) + "\n\n"
		if string(events) != want+want {
			t.Errorf("%q is told as %q", push, events)
		}
		if bytes.Count(events, []byte("\n\n")) != 2 || bytes.Contains(events, []byte("\r")) {
			t.Errorf("%q is told as other events: %q", push, events)
		}
	})
}
