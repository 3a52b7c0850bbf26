package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// block is how long one question for news waits in the server.
const block = 2 * time.Second

// Append publishes messages that no entity commits. It sends nothing twice: when
// the answer does not come, the outcome is ErrUnknown.
func (s *Store) Append(ctx context.Context, ms []persistence.Message) error {
	err := errors.Join(persistence.ValidateMessages(ms), s.open(ctx))
	if err == nil && len(ms) > 0 {
		err = s.append(ctx, ms)
	}
	if err != nil {
		return fmt.Errorf("append messages: %w", err)
	}
	return nil
}

func (s *Store) append(ctx context.Context, ms []persistence.Message) error {
	k := append(make([]string, 0, 2+len(ms)), s.keys.ends(), s.keys.meta())
	a := make([]any, 0, 2*len(ms))
	for i := range ms {
		k = append(k, s.keys.topic(ms[i].Topic))
		a = append(a, ms[i].Topic, codec.AppendMessage(nil, &ms[i], persistence.Origin{}))
	}
	text, err := appendScript.Run(ctx, s.writes, k, a...).Text()
	switch {
	case err != nil:
		return classify(s.wrap(err))
	case text != "OK":
		return refusal(strings.TrimPrefix(text, "REFUSED "))
	}
	return nil
}

// Read returns up to n messages of a topic after a position, and waits for one.
func (s *Store) Read(ctx context.Context, topic string, after persistence.Position, n int) ([]persistence.Message, error) {
	ms, err := s.read(ctx, topic, after, max(n, 1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("read topic %s: %w", topic, err)
	}
	return ms, nil
}

// read asks again and again for news. A question under way cannot be taken
// back: when ctx ends first, a goroutine waits for its answer.
func (s *Store) read(ctx context.Context, topic string, after persistence.Position, n int) ([]persistence.Message, error) {
	number, err := after.Number()
	if err != nil {
		return nil, err
	}
	type answer struct {
		entries []redis.XMessage
		err     error
	}
	answers := make(chan answer, 1)
	for {
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		go func() {
			entries, err := s.news(topic, number, n)
			answers <- answer{entries, err}
		}()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ctx.Done():
			return nil, persistence.ErrClosed
		case a := <-answers:
			if a.err != nil {
				return nil, s.wrap(a.err)
			}
			if len(a.entries) > 0 {
				return messages(topic, a.entries)
			}
		}
	}
}

// news waits in the server for what a topic holds after a number; there may be nothing.
func (s *Store) news(topic string, after uint64, n int) ([]redis.XMessage, error) {
	streams, err := s.waits.XRead(s.ctx, &redis.XReadArgs{
		Streams: []string{s.keys.topic(topic), persistence.FormatCursor(after, 0)}, Count: int64(n), Block: block,
	}).Result()
	if errors.Is(err, redis.Nil) || err == nil && len(streams) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return streams[0].Messages, nil
}

// messages are messages as they were stored.
func messages(topic string, entries []redis.XMessage) ([]persistence.Message, error) {
	ms := make([]persistence.Message, len(entries))
	for i, entry := range entries {
		number, _, err := place(entry.ID)
		if err != nil {
			return nil, err
		}
		text, has := entry.Values["m"].(string)
		if !has {
			return nil, fmt.Errorf("message %d is empty: %w", number, persistence.ErrCorrupt)
		}
		m, err := codec.DecodeMessage([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", number, err)
		}
		m.Topic, m.Position = topic, persistence.FormatPosition(number)
		ms[i] = m
	}
	return ms, nil
}

// End returns the position of the newest message of a topic.
func (s *Store) End(ctx context.Context, topic string) (persistence.Position, error) {
	end, err := s.position(ctx, s.keys.ends(), topic)
	if err != nil {
		return "", fmt.Errorf("find the end of topic %s: %w", topic, err)
	}
	return end, nil
}

// Cursor returns how far a consumer group has come.
func (s *Store) Cursor(ctx context.Context, group, topic string) (persistence.Position, error) {
	at, err := s.position(ctx, s.keys.groups(), member(group, topic))
	if err != nil {
		return "", fmt.Errorf("find group %s in topic %s: %w", group, topic, err)
	}
	return at, nil
}

// position reads a position out of a hash.
func (s *Store) position(ctx context.Context, key, field string) (persistence.Position, error) {
	if err := s.open(ctx); err != nil {
		return "", err
	}
	text, err := s.reads.HGet(ctx, key, field).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", s.wrap(err)
	}
	n, err := number(text)
	return persistence.FormatPosition(n), err
}

// Groups returns the consumer groups of a topic.
func (s *Store) Groups(ctx context.Context, topic string) ([]persistence.Group, error) {
	all, err := s.groups(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("list the groups of topic %s: %w", topic, err)
	}
	return all, nil
}

func (s *Store) groups(ctx context.Context, topic string) ([]persistence.Group, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	fields, err := s.reads.HGetAll(ctx, s.keys.groups()).Result()
	if err != nil {
		return nil, s.wrap(err)
	}
	var all []persistence.Group
	for field, text := range fields {
		name, ours := strings.CutPrefix(field, member("", topic))
		if !ours {
			continue
		}
		n, err := number(text)
		if err != nil {
			return nil, err
		}
		all = append(all, persistence.Group{Name: name, At: persistence.FormatPosition(n)})
	}
	slices.SortFunc(all, func(a, b persistence.Group) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Topics returns the names of all topics.
func (s *Store) Topics(ctx context.Context) ([]string, error) {
	err := s.open(ctx)
	var all []string
	if err == nil {
		all, err = s.reads.HKeys(ctx, s.keys.ends()).Result()
	}
	if err != nil {
		return nil, fmt.Errorf("list the topics: %w", s.wrap(err))
	}
	slices.Sort(all)
	return all, nil
}

// Trim drops messages that every group has read.
func (s *Store) Trim(ctx context.Context, topic string, upTo persistence.Position) (int, error) {
	limit, err := upTo.Number()
	dropped := 0
	if err == nil {
		dropped, err = s.run(ctx, trimScript, []string{s.keys.groups(), s.keys.topic(topic)}, member("", topic), limit).Int()
	}
	if err != nil {
		return 0, fmt.Errorf("trim topic %s: %w", topic, s.wrap(err))
	}
	return dropped, nil
}

// Advance moves a consumer group, never back.
func (s *Store) Advance(ctx context.Context, group, topic string, to persistence.Position) error {
	n, err := to.Number()
	err = errors.Join(err, persistence.ValidateName(group), persistence.ValidateName(topic))
	if err == nil {
		var said string
		said, err = s.run(ctx, advanceScript, []string{s.keys.groups(), s.keys.ends()}, member(group, topic), n, topic).Text()
		if err = s.wrap(err); err == nil && said != "OK" {
			err = fmt.Errorf("to %d, which ends at %s: %w", n, said, persistence.ErrInvalid)
		}
	}
	if err != nil {
		return fmt.Errorf("advance group %s in topic %s: %w", group, topic, err)
	}
	return nil
}
