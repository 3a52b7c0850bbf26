package gateway

import "time"

// reads keeps depth reads of the own account in flight on each connection and
// measures what one costs the server.
func (c *crowd) reads(depth int, length time.Duration) (map[string]float64, error) {
	var took []time.Duration
	var measuring bool
	failed := make(chan error, 1)
	c.call(func() {
		c.missed = func(_ *client, why error) {
			select {
			case failed <- why:
			default:
			}
		}
		c.heard = func(one *client, m message, at time.Duration) {
			slot := m.id - readID
			if m.kind != reply || slot < 0 || slot >= depth {
				return
			}
			if measuring {
				took = append(took, at-one.sent[slot])
			}
			c.ask(one, slot, at)
		}
		for _, one := range c.clients {
			one.sent = make([]time.Duration, depth)
			for slot := range depth {
				c.ask(one, slot, c.now())
			}
			c.flush(one)
		}
	})
	time.Sleep(length / 4)
	before, err := c.server.cpu()
	if err != nil {
		return nil, err
	}
	c.profile(length)
	began := c.now()
	c.call(func() { measuring = true })
	select {
	case err := <-failed:
		return nil, err
	case <-time.After(length):
	}
	c.call(func() { measuring = false })
	seconds := (c.now() - began).Seconds()
	after, err := c.server.cpu()
	if err != nil {
		return nil, err
	}
	c.call(func() { c.heard = nil })
	c.profileMemory("after")
	return map[string]float64{
		"rate": float64(len(took)) / seconds,
		"cpu":  float64((after - before).Nanoseconds()) / 1e3 / float64(len(took)),
		"p50":  percentile(took, 0.50), "p99": percentile(took, 0.99),
	}, nil
}

// ask sends a read; it leaves with the others of its turn.
func (c *crowd) ask(one *client, slot int, at time.Duration) {
	one.sent[slot] = at
	one.say(c.speaks.read(readID + slot))
}
