package gateway

import "time"

// connects keeps so many handshakes under way: a client that is signed in and
// watches its account is reset, and another begins.
func (c *crowd) connects(length time.Duration) (map[string]float64, error) {
	users := len(c.env.tokens)
	next, over := 0, false
	var took []time.Duration
	var measuring bool
	failed := make(chan error, 1)
	fail := func(why error) {
		select {
		case failed <- why:
		default:
		}
	}
	dial := func() {
		if over {
			return
		}
		user := next % users
		next++
		if err := c.dial(&client{index: user, first: c.account(user)}); err != nil {
			fail(err)
		}
	}
	c.do(func() {
		c.missed = func(_ *client, why error) { fail(why) }
		c.ready = func(one *client) {
			if measuring {
				took = append(took, c.now()-one.dialled)
			}
			c.drop(one)
			dial()
		}
		for range dialing {
			dial()
		}
	})
	// Everybody comes once before anything is measured: a first sign-in makes the
	// person's account, which waits for the disk, and nobody's second does.
	for came := 0; came < users; time.Sleep(20 * time.Millisecond) {
		c.call(func() { came = next })
		select {
		case err := <-failed:
			return nil, err
		default:
		}
	}
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
	c.call(func() { measuring, over = false, true })
	seconds := (c.now() - began).Seconds()
	after, err := c.server.cpu()
	if err != nil {
		return nil, err
	}
	return map[string]float64{
		"rate": float64(len(took)) / seconds,
		"cpu":  float64((after - before).Nanoseconds()) / 1e3 / float64(len(took)),
		"p99":  percentile(took, 0.99),
	}, nil
}
