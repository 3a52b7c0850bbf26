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
	seen int             // how many of them the user has heard of
	at   string          // the position of the last push
}

// events grants credit to users in turn, so many times a second whatever
// comes back, and follows each grant to the frame at its user.
//
// The time runs from the moment that the command was due, so it holds the way
// to the server and the commit with its sync, too. The answer to the operator
// takes that way as well: what it takes is printed beside.
func (c *crowd) events(rate int, length time.Duration) (map[string]float64, error) {
	books := make([]ledger, len(c.clients))
	var frames, answers []time.Duration
	var due []time.Duration // of each command, by number
	var problem error
	c.call(func() {
		c.missed = func(_ *client, why error) { problem = why }
		c.heard = func(one *client, m message, at time.Duration) {
			switch {
			case one == c.operator && m.kind == reply:
				answers = append(answers, at-due[m.id-readID])
			case m.kind == push && one.index >= 0:
				took, err := books[one.index].take(m.body, at)
				frames = append(frames, took...)
				if err != nil {
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
				due = append(due, at)
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
	lost := 0
	c.call(func() {
		c.heard = nil
		for _, b := range books {
			lost += len(b.due) - b.seen
		}
	})
	return map[string]float64{
		"p50": percentile(frames, 0.50), "p99": percentile(frames, 0.99), "max": percentile(frames, 1), "answer": percentile(answers, 0.99),
		"lost": float64(lost), "cpu": float64((after - before).Nanoseconds()) / 1e3 / float64(len(due)),
	}, problem
}

// grant is the command of an operator who grants the least there is.
func grant(id, user int) []byte {
	return []byte(`{"jsonrpc":"2.0","id":` + strconv.Itoa(id) + `,"method":"cloud-operator/grant-credit","meta":{"commandId":"` + messages.NewCommandID() +
		`"},"params":{"userId":"` + userName(user) + `","amount":"1","note":"bench"}}`)
}

// take follows a push: it returns how long each grant took that it is the first
// to show, and fails when it does not follow the push before it.
func (b *ledger) take(body []byte, at time.Duration) (took []time.Duration, err error) {
	position, previous := member(body, `"position"`), member(body, `"previous"`)
	if b.at != "" && previous != b.at {
		err = fmt.Errorf("a push follows %s, and the one before it was %s", previous, b.at)
	}
	b.at = position
	total, _ := strconv.Atoi(member(body, `"grantedTotal"`))
	for ; b.seen < min(total, len(b.due)); b.seen++ {
		took = append(took, at-b.due[b.seen])
	}
	return took, err
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
