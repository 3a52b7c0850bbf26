package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// errNoNews says that a topic holds nothing after a position.
var errNoNews = errors.New("no news")

// Append publishes messages that no entity commits.
func (s *Store) Append(ctx context.Context, ms []persistence.Message) error {
	err := persistence.ValidateMessages(ms)
	if err == nil && len(ms) > 0 {
		err = s.write(ctx, func(c *change) (refused, err error) {
			return nil, c.publish(ms, persistence.Origin{})
		})
	}
	if err != nil {
		return fmt.Errorf("append messages: %w", err)
	}
	return nil
}

// Read returns up to n messages of a topic after a position, and waits for one.
func (s *Store) Read(ctx context.Context, topic string, after persistence.Position, n int) ([]persistence.Message, error) {
	number, err := after.Number()
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", topic, err)
	}
	for {
		news := s.news.of(topic) // Before we look: what comes after is not missed.
		var ms []persistence.Message
		err := s.view(ctx, func(tx *bbolt.Tx) (err error) {
			ms, err = messages(tx, topic, number, n)
			return err
		})
		switch {
		case err == nil:
			return ms, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, errNoNews):
			return nil, fmt.Errorf("read topic %s: %w", topic, err)
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.closing:
			return nil, fmt.Errorf("read topic %s: %w", topic, persistence.ErrClosed)
		}
	}
}

// Topics returns the names of all topics.
func (s *Store) Topics(ctx context.Context) ([]string, error) {
	var all []string
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTopics).ForEachBucket(func(k []byte) error {
			all = append(all, string(k))
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list the topics: %w", err)
	}
	return all, nil
}

// Trim drops messages that every group has read.
func (s *Store) Trim(ctx context.Context, topic string, upTo persistence.Position) (int, error) {
	limit, err := upTo.Number()
	dropped := 0
	if err == nil {
		err = s.write(ctx, func(c *change) (refused, err error) {
			dropped, err = s.trim(c, topic, limit)
			return nil, err
		})
	}
	if err != nil {
		return 0, fmt.Errorf("trim topic %s: %w", topic, err)
	}
	return dropped, nil
}

// trim deletes the messages up to a number, as far as every group has come.
func (s *Store) trim(c *change, topic string, limit uint64) (int, error) {
	groups, err := groupsOf(c.groups, topic)
	b := c.all.Bucket([]byte(topic))
	if err != nil || len(groups) == 0 || b == nil {
		return 0, err
	}
	for _, at := range groups {
		limit = min(limit, at)
	}
	var keys [][]byte
	cursor := b.Cursor()
	for k, _ := cursor.First(); k != nil && bytes.Compare(k, appendNumber(nil, limit)) <= 0; k, _ = cursor.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if err := b.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// messages reads what a topic holds after a number; errNoNews if nothing.
func messages(tx *bbolt.Tx, topic string, after uint64, n int) ([]persistence.Message, error) {
	b := tx.Bucket(bucketTopics).Bucket([]byte(topic))
	if b == nil {
		return nil, errNoNews
	}
	c := b.Cursor()
	ms := make([]persistence.Message, 0, min(uint64(max(n, 1)), b.Sequence()-min(after, b.Sequence())))
	for k, v := c.Seek(appendNumber(nil, after+1)); k != nil && len(ms) < max(n, 1); k, v = c.Next() {
		number, err := parseNumber(k)
		if err != nil {
			return nil, err
		}
		m, err := codec.DecodeMessage(v)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", number, err)
		}
		m.Topic, m.Position = topic, persistence.FormatPosition(number)
		ms = append(ms, m)
	}
	if len(ms) == 0 {
		return nil, errNoNews
	}
	return ms, nil
}

// End returns the position of the newest message of a topic.
func (s *Store) End(ctx context.Context, topic string) (persistence.Position, error) {
	var end persistence.Position
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketTopics).Bucket([]byte(topic)); b != nil {
			end = persistence.FormatPosition(b.Sequence())
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("find the end of topic %s: %w", topic, err)
	}
	return end, nil
}
