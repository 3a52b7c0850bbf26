package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

// soon is how long an answer may take that waits for nothing.
const soon = 5 * time.Second

// call is a request as it is sent.
func call(id int, method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"meta":{"commandId":%q},"params":%s}`, id, method, messages.NewCommandID(), params)
}

// sent is an attack that sends bytes on a socket that is signed in, and hears
// how it ends.
func sent(name, want string, b ...[]byte) attack {
	return attack{name: "frame: " + name, want: want, do: func(ctx context.Context, f *field) string {
		s, err := f.visitor("cloud-user").open(ctx)
		if err != nil {
			return err.Error()
		}
		for _, one := range b {
			_, _ = s.Write(one)
		}
		if strings.HasPrefix(want, "open") { // there is no end to wait for
			return s.verdict(time.Second)
		}
		return s.verdict(soon)
	}}
}

// handshakes are attacks on the way in.
func handshakes() []attack {
	header := func(name, want string, header func(f *field) map[string]string) attack {
		return attack{name: "handshake: " + name, want: want, do: func(ctx context.Context, f *field) string {
			s, said := f.visitor("cloud-user").handshake(ctx, header(f))
			if s != nil {
				_ = s.Close()
			}
			return said
		}}
	}
	one := func(name, value string) func(*field) map[string]string {
		return func(*field) map[string]string { return map[string]string{name: value} }
	}
	return []attack{
		header("page of another site", "403 ORIGIN_REFUSED", one("Origin", "https://evil.example")),
		header("page of a site whose name begins as ours", "403 ORIGIN_REFUSED", func(f *field) map[string]string {
			return map[string]string{"Origin": "http://" + f.server.At.API + ".evil.example"}
		}),
		header("page of a site whose name ends as ours", "403 ORIGIN_REFUSED", func(f *field) map[string]string {
			return map[string]string{"Origin": "http://evil-" + f.server.At.API}
		}),
		header("page of our host at another port", "403 ORIGIN_REFUSED", one("Origin", "http://127.0.0.1:1")),
		header("page of our host by another scheme", "403 ORIGIN_REFUSED", func(f *field) map[string]string {
			return map[string]string{"Origin": "https://" + f.server.At.API}
		}),
		header("page without an origin of its own", "403 ORIGIN_REFUSED", one("Origin", "null")),
		header("rebound name: Host and Origin agree", "421 HOST_REFUSED", func(*field) map[string]string {
			return map[string]string{"Host": "evil.example", "Origin": "http://evil.example"}
		}),
		header("Host that begins as ours", "421 HOST_REFUSED", one("Host", "127.0.0.1.evil.example")),
		header("Host with a name before it", "421 HOST_REFUSED or 400", one("Host", "127.0.0.1@evil.example")),
		header("forwarded Host", "101", one("X-Forwarded-Host", "evil.example")), // it means nothing
		header("another version of WebSocket", "400", one("Sec-WebSocket-Version", "8")),
		header("no key", "400", one("Sec-WebSocket-Key", "")),
		header("header of 2 MiB", "431 or cut", one("X-Padding", strings.Repeat("x", 2<<20))),
		header("compression that was never offered", "101", one("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")),
		{
			name: "handshake: another version of the protocol", want: "400 MALFORMED_REQUEST", do: another,
		},
		{name: "handshake: token in the URL", want: "4504 TOKEN_REQUIRED", do: tokenInURL},
	}
}

// another asks for a protocol that is not spoken here.
func another(ctx context.Context, f *field) string {
	s, said := f.visitor("cloud-user").handshake(ctx, map[string]string{"Sec-WebSocket-Protocol": "marketplace.jsonrpc.v9"})
	if s != nil {
		_ = s.Close()
	}
	return said
}

// tokenInURL shows a good token where it must not count.
func tokenInURL(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user")
	token := v.token
	v.token = ""
	s, said := v.handshake(ctx, map[string]string{"path": "/ws?access_token=" + token + "&authorization=Bearer%20" + token})
	if s == nil {
		return said
	}
	s.text(`{"jsonrpc":"2.0","id":1,"method":"session/get"}`)
	return s.verdict(soon)
}

// broken are frames that are none, and messages that are no requests.
func broken() []attack {
	get := `{"jsonrpc":"2.0","id":1,"method":"session/get"}`
	first := func(b byte) []byte { return frame(b, get) }
	const malformed = "4505 MALFORMED_REQUEST"
	return []attack{
		sent("message of 65 KiB", "1009", frame(final|opText, strings.Repeat("x", 65<<10))),
		sent("200 fragments of 400 bytes", "1009", frame(opText, strings.Repeat("x", 400)), []byte(strings.Repeat(string(frame(opMore, strings.Repeat("x", 400))), 200))),
		sent("without a mask", "1002 or cut", append(head(final|opText, false, uint64(len(get))), get...)),
		sent("ping of 126 bytes", "1002", frame(final|opPing, strings.Repeat("x", 126))),
		sent("ping in fragments", "1002", frame(opPing, "x")),
		sent("reserved bit 1", "1002", first(final|0x40|opText)),
		sent("reserved bit 2", "1002", first(final|0x20|opText)),
		sent("reserved bit 3", "1002", first(final|0x10|opText)),
		sent("reserved opcode 3", "1002", first(final|3)),
		sent("reserved control opcode 11", "1002", first(final|11)),
		sent("continuation of nothing", "1002 or cut", first(final|opMore)),
		sent("new message within another", "1002 or cut", frame(opText, "{"), first(final|opText)),
		sent("length with its highest bit", "1002 or 1009 or cut", head(final|opText, true, 1<<63)),
		sent("close of one byte", "1002 or cut", frame(final|opClose, "x")),
		sent("close with a reserved code", "1002 or cut", frame(final|opClose, "\x03\xed")),
		sent("pong that nobody asked for", "open", frame(final|opPong, "x")),
		sent("binary", "4505", first(final|opBinary)),
		sent("invalid UTF-8", malformed, frame(final|opText, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}")),
		sent("batch", malformed, frame(final|opText, "["+get+"]")),
		sent("nested 40 deep", malformed, frame(final|opText, `{"jsonrpc":"2.0","id":1,"method":"session/get","params":`+strings.Repeat(`{"a":`, 40)+"1"+strings.Repeat("}", 41))),
		sent("60,000 brackets", malformed, frame(final|opText, strings.Repeat("[", 60_000))),
		sent("half an object", malformed, frame(final|opText, `{"jsonrpc":"2.0","id"`)),
		sent("number of 60,000 digits as id", "open MALFORMED_REQUEST", frame(final|opText, `{"jsonrpc":"2.0","method":"session/get","id":`+strings.Repeat("9", 60_000)+"}")),
		sent("two ids that are open at once", "open MALFORMED_REQUEST", frame(final|opText, call(5, "cloud-user/watch-account", "{}")), frame(final|opText, call(5, "cloud-user/get-account", "{}"))),
		sent("response in place of a request", "open MALFORMED_REQUEST", frame(final|opText, `{"jsonrpc":"2.0","id":1,"result":{}}`)),
		sent("session/open once more", "open WRONG_STATE", frame(final|opText, call(1, "session/open", `{"accessToken":"x"}`))),
		sent("method for actors alone", "open UNKNOWN_METHOD", frame(final|opText, call(1, "marketplace.task.v1.UserTaskService.SettleDeployment", "{}"))),
		{name: "frame: command behind what closes the connection", want: "4505 MALFORMED_REQUEST, not decided", do: afterClose},
		{name: "frame: garbage and a command behind the own close", want: "1000, not decided", do: afterOwnClose},
		{name: "frame: half-close with a request under way", want: "cut", do: halfClose},
	}
}

// rename is a command whose outcome is easily seen.
var rename = frame(final|opText, call(9, "cloud-user/update-settings", `{"settings":{"displayName":"late"}}`))

// decided says whether the command rename was.
func (v *visitor) decided(ctx context.Context) string {
	if strings.Contains(v.post(ctx, "cloud-user/get-account", "", "{}").body, "late") {
		return ", decided"
	}
	return ", not decided"
}

// afterClose sends a command behind a frame that ends the connection.
func afterClose(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user")
	s, err := v.open(ctx)
	if err != nil {
		return err.Error()
	}
	_, _ = s.Write(append(frame(final|opText, "[]"), rename...))
	defer func() { _ = s.Close() }()
	said := s.ending(soon)
	_ = clock.Pause(ctx, 1500*time.Millisecond) // until the server has hung up
	return said + v.decided(ctx)
}

// afterOwnClose closes and goes on speaking.
func afterOwnClose(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user")
	s, err := v.open(ctx)
	if err != nil {
		return err.Error()
	}
	_, _ = s.Write(append(append(frame(final|opClose, "\x03\xe8"), rename...), strings.Repeat("\xff", 10_000)...))
	defer func() { _ = s.Close() }()
	said := s.ending(soon)
	_ = clock.Pause(ctx, 1500*time.Millisecond) // until the server has hung up
	return said + v.decided(ctx)
}

// halfClose asks and hangs up in one direction.
func halfClose(ctx context.Context, f *field) string {
	s, err := f.visitor("cloud-user").open(ctx)
	if err != nil {
		return err.Error()
	}
	s.text(call(1, "cloud-user/watch-account", "{}"))
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	return s.verdict(soon)
}
