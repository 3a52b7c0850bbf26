package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

// floods are attacks that send more than is taken.
func floods() []attack {
	return []attack{
		{name: "flood: 300 commands at once", want: "300 answered, open RATE_LIMITED", do: burst(300, "cloud-user/update-settings", `{"settings":{"displayName":"x"}}`)},
		{name: "flood: 150 commands to one actor at once", want: "150 answered, open RATE_LIMITED", do: burst(150, "cloud-operator/grant-credit", `{"userId":"somebody","amount":"1","note":"flood"}`)},
		{name: "flood: 5,000 requests at once", want: "4004 RATE_LIMITED", do: sendMany(frame(final|opText, call(1, "session/get", "{}")), 5000)},
		{name: "flood: 5,000 notifications at once", want: "4004 MALFORMED_REQUEST RATE_LIMITED", do: sendMany(frame(final|opText, `{"jsonrpc":"2.0","method":"session/get"}`), 5000)},
		{name: "flood: 5,000 cancellations at once", want: "4004", do: sendMany(frame(final|opText, `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}`), 5000)},
		{name: "flood: pings without end", want: "4004", do: endless(frame(final|opPing, strings.Repeat("p", 125)))},
		{name: "flood: pongs without end", want: "4004", do: endless(frame(final|opPong, strings.Repeat("p", 125)))},
		{name: "flood: pings, and their pongs are not read", want: "4004", do: unreadPongs},
		{name: "flood: answers that are not read", want: "4000", do: unreadAnswers},
		{name: "flood: pushes that are not read", want: "4000", do: unreadPushes},
		{name: "flood: events by HTTP that are not read", want: "4000", do: unreadEvents},
		{name: "flood: all that was ever said, again and again, and not read", want: "4000", do: unreadHistory},
		{name: "flood: 3,000 sign-ins begun from one address", want: "some 303, then 429 RATE_LIMITED", do: signIns},
		{name: "flood: 129 subscriptions", want: "128 watched, open TOO_MANY_SUBSCRIPTIONS", do: subscriptions},
		{name: "flood: 2,000 connections from one address under many names", want: "1000 let in, then 429 RATE_LIMITED", do: connections},
		{name: "flood: 60 connections of one person", want: "10 replaced with 4502, 50 open", do: connectionsOfOne},
		{name: "flood: 400 requests by HTTP at once", want: "400 answered, some 429 RATE_LIMITED", do: requestsAtOnce},
	}
}

// burst sends requests in one write; each must be answered, and the connection
// go on.
func burst(n int, method, params string) func(context.Context, *field) string {
	return func(ctx context.Context, f *field) string {
		s, err := f.visitor("cloud-user", "cloud-operator").open(ctx)
		if err != nil {
			return err.Error()
		}
		var all []byte
		for i := range n {
			all = append(all, frame(final|opText, call(i, method, params))...)
		}
		_, _ = s.Write(all)
		answered, limited := s.answers(n, attackWithin/2), []string(nil)
		for _, r := range s.reasons { // that settings were changed meanwhile is no matter
			if r == "RATE_LIMITED" {
				limited = append(limited, r)
			}
		}
		s.reasons = limited
		return fmt.Sprintf("%d answered, %s", answered, s.verdict(100*time.Millisecond))
	}
}

// sendMany sends the same frame many times.
func sendMany(b []byte, n int) func(context.Context, *field) string {
	return func(ctx context.Context, f *field) string {
		s, err := f.visitor("cloud-user").open(ctx)
		if err != nil {
			return err.Error()
		}
		go func() { _, _ = s.Write([]byte(strings.Repeat(string(b), n))) }()
		return s.verdict(soon)
	}
}

// endless sends frames for as long as a flood lasts, and reads what comes.
func endless(b []byte) func(context.Context, *field) string {
	return func(ctx context.Context, f *field) string {
		s, err := f.visitor("cloud-user").open(ctx)
		if err != nil {
			return err.Error()
		}
		many, sent := []byte(strings.Repeat(string(b), 100)), make(chan int, 1)
		ctx, cancel := context.WithTimeout(ctx, f.options.flood)
		defer cancel()
		go func() {
			n := 0
			for ; ctx.Err() == nil; n += 100 {
				if _, err := s.Write(many); err != nil {
					break
				}
			}
			sent <- n
		}()
		said := s.verdict(f.options.flood + time.Second)
		if n := <-sent; said == "open" {
			said += fmt.Sprintf(", %.0f frames a second were taken", float64(n)/f.options.flood.Seconds())
		}
		return said
	}
}

// unread waits until the server counts one more close of a code. The client reads
// nothing, so that it would not hear of it.
func (f *field) unread(ctx context.Context, code string, send func(ctx context.Context)) string {
	slow := `marketplace_closes_total{code="` + code + `"}`
	before, err := f.server.Metric(ctx, slow)
	if err != nil {
		return err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var sending sync.WaitGroup
	sending.Go(func() { send(ctx) })
	defer sending.Wait()
	defer cancel()
	for clock.Pause(ctx, 50*time.Millisecond) {
		if n, err := f.server.Metric(ctx, slow); err == nil && n > before {
			return code
		}
	}
	return "open"
}

func unreadPongs(ctx context.Context, f *field) string {
	s, err := f.visitor("cloud-user").open(ctx)
	if err != nil {
		return err.Error()
	}
	return f.unread(ctx, "4004", func(ctx context.Context) {
		defer func() { _ = s.Close() }()
		s.write(ctx, []byte(strings.Repeat(string(frame(final|opPing, strings.Repeat("p", 125))), 100)), 0)
	})
}

// write sends the same again and again until ctx ends or the socket does.
func (s *socket) write(ctx context.Context, b []byte, every time.Duration) {
	for ctx.Err() == nil {
		_ = s.SetWriteDeadline(now().Add(time.Second))
		if _, err := s.Write(b); err != nil {
			return
		}
		if every > 0 && !clock.Pause(ctx, every) {
			return
		}
	}
}

func unreadAnswers(ctx context.Context, f *field) string {
	s, err := f.visitor("cloud-user").open(ctx)
	if err != nil {
		return err.Error()
	}
	ask := frame(final|opText, call(1, "cloud-user/find-nodes", `{"spec":{"vcpus":1,"memoryMib":512,"diskGib":1},"pageSize":200}`))
	return f.unread(ctx, "4000", func(ctx context.Context) {
		defer func() { _ = s.Close() }()
		s.write(ctx, ask, 20*time.Millisecond)
	})
}

func unreadPushes(ctx context.Context, f *field) string {
	s, err := f.visitor("cloud-user").open(ctx)
	if err != nil {
		return err.Error()
	}
	s.text(call(1, "session/watch-broadcasts", "{}"))
	s.answers(1, soon)
	return f.unread(ctx, "4000", func(ctx context.Context) {
		defer func() { _ = s.Close() }()
		f.shout(ctx)
	})
}

func unreadEvents(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user")
	c, err := v.dial(ctx)
	if err != nil {
		return err.Error()
	}
	_, _ = fmt.Fprintf(c, "GET /api/session/watch-broadcasts HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", f.server.At.API, v.token)
	return f.unread(ctx, "4000", func(ctx context.Context) {
		defer func() { _ = c.Close() }()
		f.shout(ctx)
	})
}

// unreadHistory asks for all broadcasts and gives them up, again and again.
func unreadHistory(ctx context.Context, f *field) string {
	s, err := f.visitor("cloud-user").open(ctx)
	if err != nil {
		return err.Error()
	}
	s.text(call(0, "session/watch-broadcasts", "{}"))
	_, answer, err := s.next(now().Add(soon))
	_, after, found := strings.Cut(answer, `"position":"`)
	epoch, _, _ := strings.Cut(after, ".")
	if err != nil || !found {
		return fmt.Sprint("no position: ", answer, err)
	}
	s.text(`{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":0}}`)
	return f.unread(ctx, "4000", func(ctx context.Context) {
		defer func() { _ = s.Close() }()
		for i := 1; clock.Pause(ctx, 20*time.Millisecond); i++ {
			s.text(call(i, "session/watch-broadcasts", fmt.Sprintf(`{"after":"%s.0"}`, epoch)))
			s.text(fmt.Sprintf(`{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":%d}}`, i))
		}
	})
}

// signIns begins to sign in again and again.
func signIns(ctx context.Context, f *field) string {
	v, let := f.visitor(), 0
	for range 3000 {
		a := v.ask(ctx, http.MethodGet, "/auth/login", nil, nil)
		if a.status != http.StatusSeeOther {
			return fmt.Sprintf("%s 303, then %s", map[bool]string{true: "some", false: "no"}[let > 0], a)
		}
		let++
	}
	return fmt.Sprintf("%d times 303", let)
}

// shout broadcasts long texts, as fast as operators may.
func (f *field) shout(ctx context.Context) {
	var all sync.WaitGroup
	for range 8 {
		s, err := f.visitor("cloud-operator").open(ctx)
		if err != nil {
			continue
		}
		go func() { s.verdict(attackWithin) }()
		all.Go(func() {
			defer func() { _ = s.Close() }()
			for i := 0; clock.Pause(ctx, 10*time.Millisecond); i++ {
				s.text(call(i, "cloud-operator/broadcast", fmt.Sprintf(`{"severity":"SEVERITY_INFO","text":%q}`, strings.Repeat("x", 2000))))
			}
		})
	}
	all.Wait()
}

// subscriptions watches more deployments than a connection may.
func subscriptions(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user", "cloud-operator")
	v.post(ctx, "cloud-operator/grant-credit", messages.NewCommandID(), fmt.Sprintf(`{"userId":%q,"amount":"100000000000"}`, v.subject))
	nodes := v.nodes(ctx)
	s, err := v.open(ctx)
	if err != nil || len(nodes) == 0 {
		return fmt.Sprint("nothing to watch: ", err)
	}
	watched := 0
	for i := range 140 {
		command := messages.NewCommandID()
		made := v.post(ctx, "cloud-user/create-deployment", command, fmt.Sprintf(`{"name":"w","spec":%s,"nodeId":%d,"maxHourlyPrice":"1000000000"}`, smallest, nodes[i%len(nodes)]))
		if made.status == 429 {
			_ = clock.Pause(ctx, 200*time.Millisecond)
			continue
		} else if made.status != 200 {
			return "no deployment: " + made.String()
		}
		before := len(s.reasons)
		s.text(call(1000+i, "cloud-user/watch-deployment", fmt.Sprintf(`{"deploymentId":%q}`, messages.NewID(v.subject, command))))
		s.answers(1, soon)
		if len(s.reasons) > before {
			break
		}
		watched++
	}
	return fmt.Sprintf("%d watched, %s", watched, s.verdict(100*time.Millisecond))
}

// smallest is the specification of a deployment that fits anywhere.
const smallest = `{"vcpus":1,"memoryMib":256,"diskGib":1}`

// nodes are some that deployments fit on.
func (v *visitor) nodes(ctx context.Context) (ids []uint32) {
	found := v.post(ctx, "cloud-user/find-nodes", "", `{"spec":`+smallest+`,"pageSize":100}`)
	var list struct {
		Nodes []struct {
			Node struct {
				NodeID uint32 `json:"nodeId"`
			} `json:"node"`
		} `json:"nodes"`
	}
	_ = json.Unmarshal([]byte(found.body), &list) //nolint:forbidigo // of an answer, the ids alone
	for _, n := range list.Nodes {
		ids = append(ids, n.Node.NodeID)
	}
	return ids
}

// connections opens many from one address, each said to be on behalf of another.
func connections(ctx context.Context, f *field) string {
	v := f.visitor()
	v.token = ""
	let, refused := 0, map[string]int{}
	for i := range 2000 {
		s, said := v.handshake(ctx, map[string]string{"X-Forwarded-For": fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)})
		if s == nil {
			refused[said]++
			continue
		}
		defer func() { _ = s.Close() }() // all are to be open at once
		let++
	}
	return fmt.Sprintf("%d let in, then %s", let, strings.Join(slices.Sorted(maps.Keys(refused)), ", "))
}

// connectionsOfOne opens more than a person may have.
func connectionsOfOne(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user")
	var all []*socket
	for range 60 {
		s, err := v.open(ctx)
		if err != nil {
			return err.Error()
		}
		s.text(call(1, "session/get", "{}"))
		s.answers(1, soon)
		all = append(all, s)
	}
	ends := map[string]int{}
	for _, s := range all {
		ends[s.verdict(20*time.Millisecond)]++
	}
	return fmt.Sprintf("%d replaced with 4502, %d open", ends["4502"], ends["open"])
}

// requestsAtOnce asks by HTTP more than a person may.
func requestsAtOnce(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user")
	var all sync.WaitGroup
	said := make(chan string, 400)
	for range 16 {
		all.Go(func() {
			for range 25 {
				said <- v.post(ctx, "cloud-user/get-account", "", "{}").String()
			}
		})
	}
	all.Wait()
	close(said)
	counts, answered := map[string]int{}, 0
	for one := range said {
		counts[one]++
		if one == "200" || strings.HasPrefix(one, "429") {
			answered++
		}
	}
	if counts["429 RATE_LIMITED"] == 0 {
		return fmt.Sprintf("%d answered", answered)
	}
	return fmt.Sprintf("%d answered, some 429 RATE_LIMITED", answered)
}
