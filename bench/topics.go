package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/redisstore"
)

// How much the measurements of topics read.
const (
	topicMessages = 200_000
	topicPayload  = 200
	topicBatch    = 128 // the subscriber's, and the COUNT of its peer
	benchTopic    = "bench"
)

// topics measures messages a second of one consumer group against what reads
// the same bytes without Watermill. Every round reads everything once with each.
//
//   - "a plain group" is go-redis in a loop of XREADGROUP COUNT 128 and one XACK
//     of all it got, over a stream of entries with one field of 200 bytes. It is
//     measured on the store's own server, which syncs its log for every answer,
//     and on one that keeps no log.
//   - "a plain scan" is one read transaction and one cursor over the store's own
//     file: it looks at key and value and copies the value.
//   - "handed over one at a time" is the same scan, which makes a Watermill message
//     of each, hands it over and waits for its ack: what keeping the order costs
//     whoever speaks Watermill.
func topics(ctx context.Context, dir string, rounds int) error {
	fmt.Println("\n| messages of 200 bytes, one group | messages/s (range) | peer | peer's messages/s (range) | ratio (range) | goal |\n|---|---|---|---|---|---|")
	if err := topicsRedis(ctx, dir, rounds); err != nil {
		return fmt.Errorf("topics in Redis: %w", err)
	}
	if err := topicsBolt(ctx, filepath.Join(dir, "topics.db"), rounds); err != nil {
		return fmt.Errorf("topics in a file: %w", err)
	}
	return nil
}

// against prints a row of the table.
func against(what string, ours []float64, peer string, theirs []float64, goal string) {
	var ratios []float64
	for i := range ours {
		ratios = append(ratios, ours[i]/theirs[i])
	}
	rate := func(all []float64) string {
		return fmt.Sprintf("%.0f (%.0f…%.0f)", middle(all), slices.Min(all), slices.Max(all))
	}
	fmt.Printf("| %s | %s | %s | %s | %.2f (%.2f…%.2f) | %s |\n", what, rate(ours), peer, rate(theirs), middle(ratios), slices.Min(ratios), slices.Max(ratios), goal)
}

func topicsRedis(ctx context.Context, dir string, rounds int) error {
	synced, err := startRedis(ctx, dir, "synced", redistest.Durable()...)
	if err != nil {
		return err
	}
	defer synced.Kill()
	memory, err := startRedis(ctx, dir, "memory", "--appendonly", "no")
	if err != nil {
		return err
	}
	defer memory.Kill()
	store, err := redisstore.Open(ctx, redisstore.Options{Redis: &redis.Options{Addr: synced.Addr}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := fill(ctx, store); err != nil {
		return err
	}
	plain := redis.NewClient(&redis.Options{Addr: synced.Addr})
	defer func() { err = errors.Join(err, plain.Close()) }()
	plainMemory := redis.NewClient(&redis.Options{Addr: memory.Addr})
	defer func() { err = errors.Join(err, plainMemory.Close()) }()
	for _, c := range []*redis.Client{plain, plainMemory} {
		if err := fillStream(ctx, c); err != nil {
			return err
		}
	}
	var ours, theirs, unlogged []float64
	for round := range rounds {
		for _, m := range []struct {
			into *[]float64
			of   func() (float64, error)
		}{
			{&ours, func() (float64, error) { return throughSubscriber(ctx, store, "group"+strconv.Itoa(round)) }},
			{&theirs, func() (float64, error) { return throughPlainGroup(ctx, plain, "group"+strconv.Itoa(round)) }},
			{&unlogged, func() (float64, error) { return throughPlainGroup(ctx, plainMemory, "group"+strconv.Itoa(round)) }},
		} {
			rate, err := m.of()
			if err != nil {
				return err
			}
			*m.into = append(*m.into, rate)
		}
	}
	against("subscriber over Redis", ours, "a plain group, the same server", theirs, "≥ 0.5")
	against("subscriber over Redis", ours, "a plain group, a server without a log", unlogged, "≥ 0.5")
	return err
}

func topicsBolt(ctx context.Context, file string, rounds int) error {
	var ours, theirs, handed []float64
	for round := range rounds {
		rate, err := throughBolt(ctx, file, round)
		if err != nil {
			return err
		}
		ours = append(ours, rate)
		if rate, err = plainScan(file, func([]byte) {}); err != nil {
			return err
		}
		theirs = append(theirs, rate)
		if rate, err = handedOver(file); err != nil {
			return err
		}
		handed = append(handed, rate)
	}
	against("subscriber over a file", ours, "a plain scan of the file", theirs, "≥ 0.5")
	against("subscriber over a file", ours, "the scan, handed over one at a time", handed, "")
	against("the scan, handed over one at a time", handed, "a plain scan of the file", theirs, "")
	return nil
}

// startRedis starts a server with a folder of its own.
func startRedis(ctx context.Context, dir, name string, settings ...string) (*redistest.Server, error) {
	folder := filepath.Join(dir, name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	s, err := redistest.New(ctx, folder, settings...)
	if err != nil {
		return nil, err
	}
	return s, s.Start()
}

// payload is what the nth message says.
func payload(n int) []byte {
	return fmt.Appendf(make([]byte, 0, topicPayload), "%0*d", topicPayload, n)
}

// fill publishes what is to be read.
func fill(ctx context.Context, store persistence.Store) error {
	for n := 0; n < topicMessages; {
		ms := make([]persistence.Message, min(1000, topicMessages-n))
		for i := range ms {
			ms[i] = persistence.Message{Topic: benchTopic, Payload: payload(n)}
			n++
		}
		if err := store.Append(ctx, ms); err != nil {
			return err
		}
	}
	return nil
}

// throughSubscriber reads everything as a group that was never there; its
// handler looks at the payload and acks.
func throughSubscriber(ctx context.Context, store persistence.Store, group string) (float64, error) {
	sub := persistence.NewSubscriber(store, persistence.SubscriberConfig{Group: group, Batch: topicBatch})
	began := time.Now()
	in, err := sub.Subscribe(ctx, benchTopic)
	if err != nil {
		return 0, err
	}
	for n := range topicMessages {
		m := <-in
		if m == nil || len(m.Payload) != topicPayload {
			return 0, fmt.Errorf("message %d is not what was published", n)
		}
		m.Ack()
	}
	rate := perSecond(began)
	return rate, sub.Close()
}

func perSecond(began time.Time) float64 { return topicMessages / time.Since(began).Seconds() }

// fillStream adds what a plain group reads.
func fillStream(ctx context.Context, c *redis.Client) error {
	for n := 0; n < topicMessages; {
		pipe := c.Pipeline()
		for range min(1000, topicMessages-n) {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: "plain", Values: []any{"m", payload(n)}})
			n++
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// throughPlainGroup reads everything as a group that was never there.
func throughPlainGroup(ctx context.Context, c *redis.Client, group string) (float64, error) {
	if err := c.XGroupCreate(ctx, "plain", group, "0").Err(); err != nil {
		return 0, err
	}
	ids := make([]string, 0, topicBatch)
	began := time.Now()
	for n := 0; n < topicMessages; n += len(ids) {
		streams, err := c.XReadGroup(ctx, &redis.XReadGroupArgs{Streams: []string{"plain", ">"}, Group: group, Consumer: "c", Count: topicBatch}).Result()
		if err != nil {
			return 0, err
		}
		ids = ids[:0]
		for _, m := range streams[0].Messages {
			if text, _ := m.Values["m"].(string); len(text) != topicPayload {
				return 0, fmt.Errorf("entry %s is not what was added", m.ID)
			}
			ids = append(ids, m.ID)
		}
		if err := c.XAck(ctx, "plain", group, ids...).Err(); err != nil {
			return 0, err
		}
	}
	return perSecond(began), nil
}

// throughBolt opens the file, which the first round fills, and reads everything.
func throughBolt(ctx context.Context, file string, round int) (rate float64, err error) {
	store, err := boltstore.Open(file, boltstore.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if round == 0 {
		if err := fill(ctx, store); err != nil {
			return 0, err
		}
	}
	return throughSubscriber(ctx, store, "group"+strconv.Itoa(round))
}

// plainScan reads everything out of the file of a closed store.
func plainScan(file string, take func([]byte)) (rate float64, err error) {
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var last []byte
	read := 0
	began := time.Now()
	err = db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte("topics")).Bucket([]byte(benchTopic)).Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if len(k) != 8 {
				return fmt.Errorf("key %x is not a number", k)
			}
			last = bytes.Clone(v)
			take(last)
			read++
		}
		return nil
	})
	rate = perSecond(began)
	if err == nil && (read != topicMessages || !bytes.HasSuffix(last, payload(topicMessages-1))) {
		err = fmt.Errorf("%d messages were read, the last is %q", read, last)
	}
	return rate, err
}

// handedOver is a plain scan that hands over what it reads as Watermill wants it.
func handedOver(file string) (rate float64, err error) {
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		rate, err = plainScan(file, func(text []byte) {
			m := message.NewMessage("", text)
			out <- m
			<-m.Acked()
		})
	}()
	for m := range out {
		m.Ack()
	}
	return rate, err
}
