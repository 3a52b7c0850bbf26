package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// crowd is a server with the load that is on it.
type crowd struct {
	*engine
	env     *Environment
	server  *child
	name    string
	clients []*client
	// operator speaks for the operators of the marketplace; nil for peers,
	// which are told through their input.
	operator *client
	table    string // what is measured
	profiles sync.WaitGroup
}

// dialing is how many connections are on their way at once.
const dialing = 64

// gather starts a server, for a table, and an engine for it.
func gather(ctx context.Context, env *Environment, table, name string) (*crowd, error) {
	c := &crowd{env: env, table: table, name: name}
	var err error
	speaks := dialect(ours{})
	switch name {
	case marketplace:
		c.server, err = startOurs(ctx, *env, env.Profiles != "" && table == "memory")
	case library, pooled:
		speaks = theirs{}
		fallthrough
	default:
		c.server, err = startPeer(ctx, *env, name)
	}
	if err != nil {
		return nil, err
	}
	if err := c.server.quiet(); err != nil { // what it does at its start is over
		return nil, errors.Join(err, c.server.stop())
	}
	if c.engine, err = newEngine(c.server.address, speaks); err != nil {
		return nil, errors.Join(err, c.server.stop())
	}
	if name == marketplace {
		err = c.hireOperator()
	}
	return c, err
}

// leave ends both.
func (c *crowd) leave() error {
	c.profiles.Wait()
	c.close()
	return c.server.stop()
}

// hireOperator connects whoever speaks to all.
func (c *crowd) hireOperator() error {
	token, err := c.env.token("bench|operator", "cloud-operator")
	if err != nil {
		return err
	}
	operator := &client{index: -1, first: [][]byte{c.speaks.open(token)}}
	if err := c.connect([]*client{operator}); err != nil {
		return err
	}
	c.operator = operator
	return nil
}

// enter connects users from a number on; each says what say returns.
func (c *crowd) enter(from, n int, say func(user int) [][]byte) error {
	fresh := make([]*client, n)
	for i := range fresh {
		fresh[i] = &client{index: from + i, first: say(from + i)}
	}
	c.clients = append(c.clients, fresh...)
	return c.connect(fresh)
}

// account signs in and watches the own account.
func (c *crowd) account(user int) [][]byte {
	return [][]byte{c.speaks.open(c.env.tokens[user]), c.speaks.watch(userName(user))}
}

// everything is account and what is said to all.
func (c *crowd) everything(user int) [][]byte { return append(c.account(user), c.speaks.listen()) }

// connect dials clients, some at a time, and returns when all are ready.
func (c *crowd) connect(all []*client) error {
	done := make(chan error, 1)
	over, next, open := false, 0, 0
	end := func(err error) {
		if !over {
			over = true
			done <- err
		}
	}
	dial := func() {
		if next < len(all) && !over {
			next++
			if err := c.dial(all[next-1]); err != nil {
				end(err)
			}
		}
	}
	c.do(func() {
		c.missed = func(_ *client, why error) { end(why) }
		c.ready = func(*client) {
			if open++; open == len(all) {
				end(nil)
			}
			dial()
		}
		for range dialing {
			dial()
		}
	})
	select {
	case err := <-done:
		return err
	case <-time.After(3 * time.Minute):
		return fmt.Errorf("%s: not all connections are there after three minutes", c.name)
	}
}

// part drops the last n clients, and waits until the server knows.
func (c *crowd) part(n int) {
	gone := c.clients[len(c.clients)-n:]
	c.clients = c.clients[:len(c.clients)-n]
	c.call(func() {
		for _, g := range gone {
			c.drop(g)
		}
	})
	time.Sleep(time.Second)
}

// join has every client say one more thing, and waits until all are answered.
func (c *crowd) join(what []byte) error {
	done := make(chan error, 1)
	answered := 0
	c.do(func() {
		c.missed = func(_ *client, why error) { done <- why }
		c.heard = func(_ *client, m message, _ time.Duration) {
			if m.kind != reply {
				return
			}
			if answered++; answered == len(c.clients) {
				done <- nil
			}
		}
		for _, one := range c.clients {
			one.say(what)
			c.flush(one)
		}
	})
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		return fmt.Errorf("%s: not all clients were answered within a minute", c.name)
	}
}

// warm has the server do once what it does at its first connections.
func (c *crowd) warm() error {
	if err := c.enter(0, min(64, len(c.env.tokens)), c.account); err != nil {
		return err
	}
	c.part(len(c.clients))
	return nil
}
