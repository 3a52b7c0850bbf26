package gateway

// Code is why a connection is closed. Codes below 4500 mean: come back.
type Code uint16

// The close codes.
const (
	CodeSlow       Code = 4000 // the client reads too slowly; what it missed is resumed
	CodeNoPong     Code = 4001 // the client does not answer
	CodeDraining   Code = 4002 // this server stops; another one answers
	CodePosition   Code = 4003 // the server lost the place of the stream
	CodeTooMany    Code = 4004 // the client asks too much
	CodeFault      Code = 4005 // something went wrong here
	CodeExpired    Code = 4500 // the token has expired or was refused
	CodeForbidden  Code = 4501 // the caller may not connect
	CodeReplaced   Code = 4502 // another connection took its place
	CodeSignedOut  Code = 4503 // the person has signed out
	CodeNotOpened  Code = 4504 // no session/open came in time
	CodeProtocol   Code = 4505 // what came is not the protocol
	closeReasonMax      = 123  // bytes, by RFC 6455
)

// appendFrame appends a text frame as a server sends it.
func appendFrame(to, text []byte) []byte { return append(appendHeader(to, 0x81, len(text)), text...) }

// appendHeader appends the header of an unmasked frame of n bytes.
func appendHeader(to []byte, first byte, n int) []byte {
	to = append(to, first)
	switch {
	case n < 126:
		return append(to, byte(n)) //nolint:gosec // less than 126
	case n < 1<<16:
		return append(to, 126, byte(n>>8), byte(n)) //nolint:gosec // cut to bytes on purpose
	default:
		return append(to, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n)) //nolint:gosec // as above
	}
}

// closeFrame is the frame that closes a connection.
func closeFrame(code Code, reason string) []byte {
	reason = reason[:min(len(reason), closeReasonMax)]
	b := appendHeader(nil, 0x88, 2+len(reason))
	return append(append(b, byte(code>>8), byte(code)), reason...) //nolint:gosec // as above
}

var pingFrame = []byte{0x89, 0}

// beginFrame makes room for the header of a text frame whose size is not known yet.
func beginFrame(to []byte) ([]byte, int) { return append(to, 0, 0, 0, 0), len(to) }

// endFrame writes the header of the frame that began at a place.
func endFrame(b []byte, at int) []byte {
	const room = 4
	n := len(b) - at - room
	var head [10]byte
	h := appendHeader(head[:0], 0x81, n)
	if len(h) > room {
		b = append(b, head[:len(h)-room]...)
	}
	if len(h) != room {
		copy(b[at+len(h):], b[at+room:at+room+n])
		b = b[:at+len(h)+n]
	}
	copy(b[at:], h)
	return b
}
