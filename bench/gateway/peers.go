package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// The servers that are measured.
const (
	marketplace = "marketplace"
	library     = "centrifuge"
	pooled      = "centrifuge, write-buffer pool"
	ceiling     = "bare epoll"
	wideCeiling = "bare epoll, all processors"
	noSocket    = "in process"
	sessions    = "sessions without sockets"
)

// peerVerb is the argument by which this program knows that it is a peer.
const peerVerb = "serve-as-peer"

// Peer serves as one of the peers if the arguments say so, and never returns then.
func Peer(args []string) {
	if len(args) < 6 || args[1] != peerVerb {
		return
	}
	if err := servePeer(args[2], args[3], args[4], args[5]); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func servePeer(kind, jwks, dir, count string) error {
	switch kind {
	case library, pooled:
		return serveCentrifuge(jwks, kind == pooled)
	case ceiling:
		return serveBare(1)
	case wideCeiling:
		return serveBare(runtime.NumCPU())
	}
	// The others are the marketplace without its binary, which sets this, too.
	debug.SetGCPercent(200)
	switch kind {
	case noSocket:
		return serveNoSocket(dir)
	case sessions:
		return serveSessions(dir, count)
	}
	return fmt.Errorf("nobody knows the peer %q", kind)
}

// say tells the bench something.
func say(what any) {
	text, err := json.Marshal(what)
	if err != nil {
		text = []byte("null")
	}
	fmt.Printf("%s%s\n", saying, text)
}

// orders gives each order of the bench to a function, until there are no more.
func orders(do func(order, args string)) error {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		order, args, _ := strings.Cut(in.Text(), " ")
		do(order, args)
	}
	return in.Err()
}

// publication is an order to push the same text to all who listen.
type publication struct {
	Text  string
	Times int // as one burst
}

// publishOrder is its name.
const publishOrder = "publish"

// broadcasts is the channel, or the path's second half, of what is said to all.
const broadcasts = "broadcasts"

// broadcastPush is the whole frame of it.
func broadcastPush(text string) string {
	return `{"jsonrpc":"2.0","method":"session/watch-broadcasts","params":{"subscription":"broadcast/marketplace",` +
		`"position":"1b9d6bcdbbfd4b2d9b5d1b9d6bcdbbfd.1","previous":"1b9d6bcdbbfd4b2d9b5d1b9d6bcdbbfd.0","result":` + broadcastResult(text) + `}}`
}

// broadcastResult is what the marketplace pushes for a broadcast; the peers
// push the same, so that all frames are of one size.
func broadcastResult(text string) string {
	return `{"broadcasts":[{"broadcastId":"1b9d6bcd-bbfd-4b2d-9b5d","time":"2026-01-01T00:00:00.000000000Z","severity":"SEVERITY_INFO","text":"` + text + `"}]}`
}
