package gateway

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

// ledger is what the load knows of the grants to one user.
type ledger struct {
	due  []time.Duration // when each grant was due, in order
	seen []time.Duration // when the user heard of each
	at   string          // the position of the last push
}

// events grants credit to users in turn, so many times a second whatever
// comes back, and follows each grant to the frame at its user.
//
// One time runs from the moment that the command was due, so it holds the way to
// the server and the commit with its sync, too. The answer to the operator takes
// that way as well, and leaves when the event is committed: the other time runs
// from its arrival, and is negative when the frame came first.
func (c *crowd) events(rate int, length time.Duration) (map[string]float64, error) {
	books := make([]ledger, len(c.clients))
	var answered []time.Duration // when each command was, by number
	var problem error
	c.call(func() {
		c.missed = func(_ *client, why error) { problem = why }
		c.heard = func(one *client, m message, at time.Duration) {
			switch {
			case one == c.operator && m.kind == reply:
				answered[m.id-readID] = at
			case m.kind == push && one.index >= 0:
				if err := books[one.index].take(m.body, at); err != nil {
					problem = err
				}
			}
		}
	})
	before, err := c.server.cpu()
	if err != nil {
		return nil, err
	}
	c.profile(length)
	began := c.now()
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for sent, total := 0, int(length.Seconds()*float64(rate)); sent < total; {
		<-pace.C
		c.call(func() {
			for ; sent < total; sent++ {
				at := began + time.Duration(sent)*time.Second/time.Duration(rate)
				if at > c.now() {
					break
				}
				user := sent % len(books)
				answered = append(answered, 0)
				books[user].due = append(books[user].due, at)
				c.operator.say(grant(readID+sent, user))
			}
			c.flush(c.operator)
		})
	}
	time.Sleep(time.Second)
	after, err := c.server.cpu()
	if err != nil {
		return nil, err
	}
	c.call(func() { c.heard = nil })
	var whole, answers, beyond []time.Duration
	for n, at := range answered {
		b := books[n%len(books)]
		if k := n / len(books); k < len(b.seen) {
			whole = append(whole, b.seen[k]-b.due[k])
			answers = append(answers, at-b.due[k])
			beyond = append(beyond, b.seen[k]-at)
		}
	}
	return map[string]float64{
		"p50": percentile(whole, 0.50), "p99": percentile(whole, 0.99), "max": percentile(whole, 1), "answer": percentile(answers, 0.99),
		"beyond50": percentile(beyond, 0.50), "beyond": percentile(beyond, 0.99),
		"lost": float64(len(answered) - len(whole)), "cpu": float64((after - before).Nanoseconds()) / 1e3 / float64(len(answered)),
	}, problem
}

// grant is the command of an operator who grants the least there is.
func grant(id, user int) []byte {
	return []byte(`{"jsonrpc":"2.0","id":` + strconv.Itoa(id) + `,"method":"cloud-operator/grant-credit","meta":{"commandId":"` + messages.NewCommandID() +
		`"},"params":{"userId":"` + userName(user) + `","amount":"1","note":"bench"}}`)
}

// take follows a push: it may be the first to show some grants. It fails when
// the push does not follow the one before it.
func (b *ledger) take(body []byte, at time.Duration) (err error) {
	position, previous := member(body, `"position"`), member(body, `"previous"`)
	if b.at != "" && previous != b.at {
		err = fmt.Errorf("a push follows %s, and the one before it was %s", previous, b.at)
	}
	b.at = position
	total, _ := strconv.Atoi(member(body, `"grantedTotal"`))
	for len(b.seen) < min(total, len(b.due)) {
		b.seen = append(b.seen, at)
	}
	return err
}

// member returns the text after a key; what is between them varies.
func member(body []byte, key string) string {
	_, rest, found := bytes.Cut(body, []byte(key))
	if !found {
		return ""
	}
	rest = bytes.TrimLeft(rest, `: "`)
	end := bytes.IndexByte(rest, '"')
	return string(rest[:max(end, 0)])
}
