package gateway

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/messages"
	clusterv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/cluster/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
)

// withActors runs something beside the marketplace's actors, on a store of its own.
func withActors(dir string, onPush func(*clusterv1.Push), do func(*actors.System) error) error {
	own, err := os.MkdirTemp(dir, "actors-")
	if err != nil {
		return err
	}
	store, err := boltstore.Open(filepath.Join(own, "marketplace.db"), boltstore.Options{})
	if err != nil {
		return err
	}
	s, err := actors.Start(context.Background(), actors.Config{Store: store, IdleAfter: time.Hour, OnPush: onPush})
	if err != nil {
		return err
	}
	return do(s)
}

// reading is an order to read without a socket: so many users, so many reads of
// each in flight, for so long. The answer is how many there were.
type reading struct {
	Users, Depth int
	For          time.Duration
}

// serveNoSocket does what the gateway does for a read, and has no socket: it
// parses and checks the parameters, asks the actor, and writes the answer.
func serveNoSocket(dir string) error {
	return withActors(dir, nil, func(s *actors.System) error {
		say("")
		return orders(func(_, args string) {
			var what reading
			if json.Unmarshal([]byte(args), &what) == nil {
				say(readFor(s, what))
			}
		})
	})
}

// readFor reads, and returns how often.
func readFor(s *actors.System, what reading) int64 {
	var over atomic.Bool
	var answered atomic.Int64
	var wait sync.WaitGroup
	for user := range what.Users {
		wait.Go(func() {
			answers := make(chan *clusterv1.Response, what.Depth)
			for range what.Depth {
				readOnce(s, userName(user), answers)
			}
			for waiting := what.Depth; waiting > 0; {
				if !written(<-answers) {
					return
				}
				answered.Add(1)
				if over.Load() {
					waiting--
					continue
				}
				readOnce(s, userName(user), answers)
			}
		})
	}
	time.Sleep(what.For)
	over.Store(true)
	wait.Wait()
	return answered.Load()
}

var getAccount = messages.ByPath("cloud-user/get-account")

// readOnce asks for an account; the answer comes to a channel.
func readOnce(s *actors.System, user string, to chan<- *clusterv1.Response) {
	body := getAccount.Request()
	if messages.ParseJSON([]byte("{}"), body) != nil || messages.Validate(body) != nil {
		return
	}
	id, err := getAccount.ActorID(user, "", body)
	if err != nil {
		return
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(body)
	if err != nil {
		return
	}
	req := &clusterv1.Request{Kind: getAccount.Actor, Id: id, Method: getAccount.Name, Payload: payload, Subject: user}
	s.Call(req, 10*time.Second, func(r *clusterv1.Response) { to <- r })
}

// written writes an answer as JSON; false when it is a refusal.
func written(r *clusterv1.Response) bool {
	body := getAccount.Response()
	if r.GetError() != nil || proto.Unmarshal(r.GetPayload(), body) != nil {
		return false
	}
	_, err := messages.AppendJSON(nil, body)
	return err == nil
}

// readsWithoutSocket measures the same reads as crowd.reads.
func readsWithoutSocket(ctx context.Context, env *Environment, users, depth int, length time.Duration) (f map[string]float64, err error) {
	c, err := startPeer(ctx, *env, noSocket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.stop() }()
	for _, l := range []time.Duration{length / 4, length} {
		before, err := c.cpu()
		if err != nil {
			return nil, err
		}
		if err := c.tell("read", reading{users, depth, l}); err != nil {
			return nil, err
		}
		var n int64
		if err := c.hear(&n); err != nil {
			return nil, err
		}
		after, err := c.cpu()
		if err != nil {
			return nil, err
		}
		f = map[string]float64{"rate": float64(n) / l.Seconds(), "cpu": float64((after - before).Nanoseconds()) / 1e3 / float64(n)}
	}
	return f, nil
}
