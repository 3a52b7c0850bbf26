package gateway

import "time"

// memory is what one connection costs a server: signed in by a token, watching
// its own account, and silent.
func (c *crowd) memory(n int) (map[string]float64, error) {
	if err := c.warm(); err != nil {
		return nil, err
	}
	from, before, err := c.holding()
	if err != nil {
		return nil, err
	}
	c.profileMemory("before")
	if err := c.enter(0, n, c.account); err != nil {
		return nil, err
	}
	time.Sleep(2 * time.Second)
	if err := c.server.quiet(); err != nil {
		return nil, err
	}
	settled, err := c.server.resident()
	if err != nil {
		return nil, err
	}
	to, after, err := c.holding()
	if err != nil {
		return nil, err
	}
	c.profileMemory("after")
	idle, err := c.idle()
	if err != nil {
		return nil, err
	}
	each := func(bytes float64) float64 { return bytes / 1024 / float64(n) }
	return map[string]float64{
		"idle": idle * 1e6 / float64(n),
		"rss":  each(to - from), "settled": each(settled - from),
		"heap": each(float64(after.Heap - before.Heap)), "spans": each(float64(after.Spans - before.Spans)),
		"runtime": each(float64(after.Runtime - before.Runtime)), "stack": each(float64(after.Stack - before.Stack)),
		"goroutines": float64(after.Goroutines-before.Goroutines) / float64(n),
	}, nil
}

// holding is what the server holds when it has given its garbage back.
func (c *crowd) holding() (rss float64, h held, err error) {
	if h, err = c.server.settle(); err != nil {
		return 0, h, err
	}
	rss, err = c.server.resident()
	return rss, h, err
}

// idle is the share of a processor that the server takes while nobody says anything.
func (c *crowd) idle() (float64, error) {
	before, err := c.server.cpu()
	if err != nil {
		return 0, err
	}
	time.Sleep(c.env.Idle)
	after, err := c.server.cpu()
	return (after - before).Seconds() / c.env.Idle.Seconds(), err
}
