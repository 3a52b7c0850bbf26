package gateway

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

// mark is in every text that is said to all, once.
const mark = "bench-mark"

var (
	markBytes = []byte(mark)
	// text has about the length of what operators say.
	text = mark + " " + strings.Repeat("the grid will be under maintenance ", 5)
)

// publish says a text to all, so many times at once.
func (c *crowd) publish(times int) error {
	if c.operator == nil {
		return c.server.tell(publishOrder, publication{Text: text, Times: times})
	}
	c.do(func() {
		for n := range times {
			c.operator.say([]byte(`{"jsonrpc":"2.0","id":` + strconv.Itoa(readID+n) + `,"method":"cloud-operator/broadcast","meta":{"commandId":"` +
				messages.NewCommandID() + `"},"params":{"text":"` + text + `","severity":"SEVERITY_INFO"}}`))
		}
		c.flush(c.operator)
	})
	return nil
}

// spread is when the first and the last delivery of something came.
type spread struct{ first, last time.Duration }

// deliver publishes and waits until everyone has heard it so many times.
func (c *crowd) deliver(times int) (s spread, err error) {
	done := make(chan error, 1)
	want, got := times*len(c.clients), 0
	c.call(func() {
		c.missed = func(_ *client, why error) { done <- why }
		c.heard = func(_ *client, m message, at time.Duration) {
			if m.kind != push {
				return
			}
			if got == 0 {
				s.first = at
			}
			if got += bytes.Count(m.body, markBytes); got >= want {
				s.last = at
				done <- nil
			}
		}
	})
	if err := c.publish(times); err != nil {
		return s, err
	}
	select {
	case err = <-done:
	case <-time.After(time.Minute):
		c.call(func() { err = fmt.Errorf("%s: %d of %d deliveries came within a minute", c.name, got, want) })
	}
	c.call(func() { c.heard = nil })
	return s, err
}

// single says one thing at a time to all, and measures the server.
func (c *crowd) single(times int) (map[string]float64, error) {
	if _, err := c.deliver(1); err != nil { // the first one is not counted
		return nil, err
	}
	idle, err := c.idle()
	if err != nil {
		return nil, err
	}
	began := c.now()
	before, err := c.server.cpu()
	if err != nil {
		return nil, err
	}
	c.profile(5 * time.Second)
	var took []time.Duration
	for range times {
		time.Sleep(10 * time.Millisecond)
		s, err := c.deliver(1)
		if err != nil {
			return nil, err
		}
		took = append(took, s.last-s.first)
	}
	after, err := c.server.cpu()
	if err != nil {
		return nil, err
	}
	lasted := (c.now() - began).Seconds()
	used, deliveries := (after - before).Seconds(), float64(times*len(c.clients))
	return map[string]float64{
		"cpu": used * 1e6 / deliveries, "net": (used - idle*lasted) * 1e6 / deliveries,
		"spread": percentile(took, 0.5),
	}, nil
}

// burst says many things at once to all.
func (c *crowd) burst(bursts, times int) (map[string]float64, error) {
	if _, err := c.deliver(1); err != nil {
		return nil, err
	}
	before, err := c.server.cpu()
	if err != nil {
		return nil, err
	}
	c.profile(2 * time.Second)
	var took time.Duration
	for range bursts {
		time.Sleep(50 * time.Millisecond)
		began := c.now()
		s, err := c.deliver(times)
		if err != nil {
			return nil, err
		}
		took += s.last - began
	}
	after, err := c.server.cpu()
	if err != nil {
		return nil, err
	}
	deliveries := float64(bursts * times * len(c.clients))
	return map[string]float64{
		"rate": deliveries / took.Seconds(),
		"cpu":  float64((after - before).Nanoseconds()) / 1e3 / deliveries,
	}, nil
}
