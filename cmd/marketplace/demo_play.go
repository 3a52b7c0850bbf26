package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/client"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// demo is one play: the server, the people, and what they heard.
type demo struct {
	data      string
	narration io.Writer
	began     time.Time
	server    child
	alice     *client.Client
	olga      *client.Client
	kills     int
	granted   int64 // what acknowledged grants add up to
	commands  int   // acknowledged

	mu    sync.Mutex
	heard heard
	news  chan struct{} // closed and made anew with every event
}

// heard is what alice heard on her socket.
type heard struct {
	account       *marketplacev1.Account
	deployment    *marketplacev1.Deployment
	notifications []*marketplacev1.Notification
	broadcasts    []*marketplacev1.Broadcast
	positions     map[string]string
	resumed       int // streams that went on without a loss after the kill
	broken        int // streams that did not
	connections   int
}

func newDemo(file, data string, narration io.Writer) *demo {
	return &demo{data: data, narration: narration, began: time.Now(), server: child{config: file, data: data}, news: make(chan struct{}), heard: heard{positions: map[string]string{}}}
}

func (d *demo) close() {
	for _, c := range []*client.Client{d.alice, d.olga} {
		if c != nil {
			c.Close()
		}
	}
	if err := d.server.stop(); err != nil {
		d.say("%v", err)
	}
}

// play is the story.
func (d *demo) play(ctx context.Context) error {
	for _, scene := range []func(context.Context) error{d.open, d.credit, d.find, d.deploy, d.bill, d.killed, d.warned, d.broadcast, d.end} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return nil
}

// open starts the server and signs alice and olga in.
func (d *demo) open(ctx context.Context) error {
	d.say("A server starts on an empty folder; its hours pass ten a second.")
	if err := d.server.start(ctx); err != nil {
		return err
	}
	var err error
	if d.alice, err = d.connect(ctx, "alice"); err != nil {
		return err
	}
	if d.olga, err = d.connect(ctx, "olga"); err != nil {
		return err
	}
	d.say("alice, a cloud-user, signs in over ws://%s/ws and watches her account.", d.server.addresses.API)
	return d.watchAll()
}

func (d *demo) connect(ctx context.Context, who string) (*client.Client, error) {
	c, err := client.Dial(ctx, client.Config{
		URL: "ws://" + d.server.addresses.API + "/ws", Token: d.server.tokens(who), MaxPause: 500 * time.Millisecond,
		OnConnect: func() {
			if who == "alice" {
				d.hear(func(h *heard) { h.connections++ })
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", who, err)
	}
	return c, nil
}

// hear changes what was heard and wakes whoever waits for it.
func (d *demo) hear(change func(*heard)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.heard)
	close(d.news)
	d.news = make(chan struct{})
}

// now returns what was heard so far.
func (d *demo) now() heard {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.heard
}

// sceneLimit is how long anything may take that the story waits for.
const sceneLimit = 40 * time.Second

// until waits until what was heard is as wanted.
func (d *demo) until(ctx context.Context, what string, holds func(*heard) bool) error {
	ctx, cancel := context.WithTimeout(ctx, sceneLimit)
	defer cancel()
	for {
		d.mu.Lock()
		ok, news := holds(&d.heard), d.news
		d.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("waited too long for %s", what)
		}
	}
}

// watch hears a stream of alice's into the demo.
func (d *demo) watch(method string, req, into proto.Message, take func(*heard)) error {
	_, err := d.alice.Watch(method, req, "", func(e client.Event) {
		d.hear(func(h *heard) {
			h.positions[method] = e.Position
			switch {
			case errors.Is(e.End, client.ErrClosed): // the demo itself hangs up at its end
			case e.End != nil:
				h.broken++
			case e.Begun && h.connections > 1 && e.Recovered:
				h.resumed++
			case e.Begun && h.connections > 1:
				h.broken++
			case !e.Begun && e.Decode(into) == nil:
				take(h)
			}
		})
	})
	return err
}

func (d *demo) watchAll() error {
	account, notes, casts := &marketplacev1.WatchAccountResponse{}, &marketplacev1.WatchNotificationsResponse{}, &marketplacev1.WatchBroadcastsResponse{}
	if err := d.watch("cloud-user/watch-account", &marketplacev1.WatchAccountRequest{}, account, func(h *heard) { h.account = proto.CloneOf(account.GetAccount()) }); err != nil {
		return err
	}
	if err := d.watch("cloud-user/watch-notifications", &marketplacev1.WatchNotificationsRequest{}, notes, func(h *heard) {
		for _, n := range notes.GetNotifications() {
			d.say("  push: %s", n.GetText())
			h.notifications = append(h.notifications, proto.CloneOf(n))
		}
	}); err != nil {
		return err
	}
	return d.watch("session/watch-broadcasts", &marketplacev1.WatchBroadcastsRequest{}, casts, func(h *heard) {
		for _, b := range casts.GetBroadcasts() {
			d.say("  push: an operator says: %s", b.GetText())
			h.broadcasts = append(h.broadcasts, proto.CloneOf(b))
		}
	})
}

// watchDeployment tells every step of a deployment as it is pushed.
func (d *demo) watchDeployment(id string) error {
	told := 0
	view := &marketplacev1.WatchDeploymentResponse{}
	return d.watch("cloud-user/watch-deployment", &marketplacev1.WatchDeploymentRequest{DeploymentId: id}, view, func(h *heard) {
		h.deployment = proto.CloneOf(view.GetDeployment())
		for ; told < len(h.deployment.GetSteps()); told++ {
			step := h.deployment.GetSteps()[told]
			d.say("  push: %-12s %s", strings.TrimPrefix(step.GetState().String(), "DEPLOYMENT_STATE_"), step.GetText())
		}
	})
}

// dollars spells USD/7.
func dollars(units int64) string {
	sign := ""
	if units < 0 {
		sign, units = "-", -units
	}
	return fmt.Sprintf("%s$%d.%04d", sign, units/10_000_000, units%10_000_000/1000)
}
