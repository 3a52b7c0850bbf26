package memstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
)

// Append publishes messages that no entity commits.
func (s *Store) Append(ctx context.Context, ms []persistence.Message) error {
	err := persistence.ValidateMessages(ms)
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return fmt.Errorf("append messages: %w", err)
	}
	defer s.mu.Unlock()
	var topics []string
	for _, m := range ms {
		topics = append(topics, s.data.publish(m, persistence.Origin{}))
	}
	s.tell(topics)
	return nil
}

// Read returns messages of a topic after a position, and waits until there are some.
func (s *Store) Read(ctx context.Context, topic string, after persistence.Position, n int) ([]persistence.Message, error) {
	from, err := after.Number()
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", topic, err)
	}
	for {
		if err := s.begin(ctx); err != nil {
			return nil, fmt.Errorf("read topic %s: %w", topic, err)
		}
		if all := s.data.topics[topic].after(from); len(all) > 0 {
			ms := slices.Clone(all[:min(max(n, 1), len(all))])
			s.mu.Unlock()
			return ms, nil
		}
		news := s.news[topic]
		if news == nil {
			news = make(chan struct{})
			s.news[topic] = news
		}
		s.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return nil, fmt.Errorf("read topic %s: %w", topic, ctx.Err())
		}
	}
}

// End returns the position of the newest message of a topic.
func (s *Store) End(ctx context.Context, topic string) (persistence.Position, error) {
	if err := s.begin(ctx); err != nil {
		return "", fmt.Errorf("find the end of topic %s: %w", topic, err)
	}
	defer s.mu.Unlock()
	if t := s.data.topics[topic]; t != nil {
		return persistence.FormatPosition(t.end), nil
	}
	return "", nil
}

// Cursor returns how far a consumer group has come.
func (s *Store) Cursor(ctx context.Context, group, topic string) (persistence.Position, error) {
	if err := s.begin(ctx); err != nil {
		return "", fmt.Errorf("find group %s in topic %s: %w", group, topic, err)
	}
	defer s.mu.Unlock()
	return persistence.FormatPosition(s.data.cursors[groupTopic{group, topic}]), nil
}

// Advance moves a consumer group, never back.
func (s *Store) Advance(ctx context.Context, group, topic string, to persistence.Position) error {
	number, err := to.Number()
	for _, name := range []string{group, topic} {
		if err == nil {
			err = persistence.ValidateName(name)
		}
	}
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return fmt.Errorf("advance group %s in topic %s: %w", group, topic, err)
	}
	defer s.mu.Unlock()
	if end := s.data.end(topic); number > end {
		return fmt.Errorf("advance group %s to %d of topic %s, which ends at %d: %w", group, number, topic, end, persistence.ErrInvalid)
	}
	k := groupTopic{group, topic}
	s.data.cursors[k] = max(s.data.cursors[k], number)
	return nil
}

// Groups returns the consumer groups of a topic.
func (s *Store) Groups(ctx context.Context, topic string) ([]persistence.Group, error) {
	if err := s.begin(ctx); err != nil {
		return nil, fmt.Errorf("list the groups of topic %s: %w", topic, err)
	}
	defer s.mu.Unlock()
	var all []persistence.Group
	for k, at := range s.data.cursors {
		if k.topic == topic {
			all = append(all, persistence.Group{Name: k.group, At: persistence.FormatPosition(at)})
		}
	}
	slices.SortFunc(all, func(a, b persistence.Group) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Topics returns the names of all topics.
func (s *Store) Topics(ctx context.Context) ([]string, error) {
	if err := s.begin(ctx); err != nil {
		return nil, fmt.Errorf("list the topics: %w", err)
	}
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.data.topics)), nil
}

// Trim drops messages that every group has read.
func (s *Store) Trim(ctx context.Context, topic string, upTo persistence.Position) (int, error) {
	limit, err := upTo.Number()
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("trim topic %s: %w", topic, err)
	}
	defer s.mu.Unlock()
	known := false
	for k, at := range s.data.cursors {
		if k.topic == topic {
			known, limit = true, min(limit, at)
		}
	}
	t := s.data.topics[topic]
	if !known || t == nil {
		return 0, nil
	}
	dropped := len(t.messages) - len(t.after(limit))
	t.messages = slices.Clone(t.after(limit))
	return dropped, nil
}

// lease is a name that is held.
type lease struct {
	holder string
	until  time.Time
}

// Lease lets one holder have a name.
func (s *Store) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	err := persistence.ValidateName(name)
	if err == nil {
		err = persistence.ValidateName(holder)
	}
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("lease %s: %w", name, err)
	}
	defer s.mu.Unlock()
	now := s.options.Clock.Now()
	if h, held := s.leases[name]; held && h.holder != holder && now.Before(h.until) {
		return false, nil
	}
	if ttl <= 0 {
		delete(s.leases, name)
	} else {
		s.leases[name] = lease{holder, now.Add(ttl)}
	}
	return true, nil
}
