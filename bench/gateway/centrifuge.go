package gateway

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/asynkron/protoactor-go/actor"
	"github.com/centrifugal/centrifuge"
	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/encoding/protojson"

	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// peer is the least that a marketplace on centrifuge would be: tokens are
// verified, everyone hears their own account, and a read asks an actor.
type peer struct {
	node   *centrifuge.Node
	keys   keyfunc.Keyfunc
	parser *jwt.Parser
	system *actor.ActorSystem

	mu     sync.Mutex
	actors map[string]*actor.PID
}

// serveCentrifuge serves until its input ends.
func serveCentrifuge(jwks string, pooledBuffers bool) error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	p := &peer{
		node: node, system: actor.NewActorSystem(actor.WithLoggerFactory(silent)), actors: map[string]*actor.PID{},
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience(audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt()),
	}
	if p.keys, err = keyfunc.NewDefaultCtx(context.Background(), []string{jwks}); err != nil {
		return err
	}
	node.OnConnecting(p.connecting)
	node.OnConnect(p.connected)
	if err := node.Run(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(theirs{}.path(), centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{UseWriteBufferPool: pooledBuffers}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	go func() { _ = server.Serve(l) }()
	say(l.Addr().String())
	return orders(func(_, args string) {
		var what publication
		if json.Unmarshal([]byte(args), &what) == nil {
			p.publish(what)
		}
	})
}

func silent(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }

// connecting verifies the token.
func (p *peer) connecting(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	claims := jwt.MapClaims{}
	if _, err := p.parser.ParseWithClaims(e.Token, claims, p.keys.Keyfunc); err != nil {
		return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
	}
	subject, err := claims.GetSubject()
	return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: subject}}, err
}

// connected lets a client hear its own account and what is said to all, and
// read its account.
func (p *peer) connected(c *centrifuge.Client) {
	c.OnSubscribe(func(e centrifuge.SubscribeEvent, cb centrifuge.SubscribeCallback) {
		user, own := strings.CutPrefix(e.Channel, "account:")
		if e.Channel != broadcasts && (!own || user != c.UserID()) {
			cb(centrifuge.SubscribeReply{}, centrifuge.ErrorPermissionDenied)
			return
		}
		cb(centrifuge.SubscribeReply{}, nil)
	})
	c.OnRPC(func(e centrifuge.RPCEvent, cb centrifuge.RPCCallback) {
		req := &marketplacev1.GetAccountRequest{}
		if err := protojson.Unmarshal(e.Data, req); err != nil {
			cb(centrifuge.RPCReply{}, centrifuge.ErrorBadRequest)
			return
		}
		// The actor answers through a function: cheaper than a future, and than
		// a goroutine for each request.
		p.system.Root.Send(p.actorOf(c.UserID()), &question{req, func(r *marketplacev1.GetAccountResponse) {
			data, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(r)
			cb(centrifuge.RPCReply{Data: data}, err)
		}})
	})
}

// publish says something to all; a burst comes from four at once.
func (p *peer) publish(what publication) {
	data := []byte(broadcastResult(what.Text))
	const publishers = 4
	var wait sync.WaitGroup
	for n := range min(what.Times, publishers) {
		wait.Go(func() {
			for range (what.Times + publishers - 1 - n) / publishers {
				_, _ = p.node.Publish(broadcasts, data)
			}
		})
	}
	wait.Wait()
}

// question is what an actor is asked.
type question struct {
	req    *marketplacev1.GetAccountRequest
	answer func(*marketplacev1.GetAccountResponse)
}

// accountActor has the account of one user.
type accountActor struct{ account *marketplacev1.Account }

// Receive answers.
func (a *accountActor) Receive(ctx actor.Context) {
	if q, ok := ctx.Message().(*question); ok {
		q.answer(&marketplacev1.GetAccountResponse{Account: a.account})
	}
}

// actorOf returns the actor of a user.
func (p *peer) actorOf(user string) *actor.PID {
	p.mu.Lock()
	defer p.mu.Unlock()
	pid := p.actors[user]
	if pid == nil {
		pid = p.system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &accountActor{&marketplacev1.Account{UserId: user}} }))
		p.actors[user] = pid
	}
	return pid
}
