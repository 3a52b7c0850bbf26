package memstore

import (
	"context"
	"fmt"
	"slices"
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
	from, err := place(after)
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", topic, err)
	}
	for {
		if err := s.begin(ctx); err != nil {
			return nil, fmt.Errorf("read topic %s: %w", topic, err)
		}
		if all := s.data.topics[topic]; from < len(all) {
			ms := slices.Clone(all[from:min(from+n, len(all))])
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
	if n := len(s.data.topics[topic]); n > 0 {
		return position(n), nil
	}
	return "", nil
}

// Cursor returns how far a consumer group has come.
func (s *Store) Cursor(ctx context.Context, group, topic string) (persistence.Position, error) {
	if err := s.begin(ctx); err != nil {
		return "", fmt.Errorf("find group %s in topic %s: %w", group, topic, err)
	}
	defer s.mu.Unlock()
	return s.data.cursors[groupTopic{group, topic}], nil
}

// Advance moves a consumer group, never back.
func (s *Store) Advance(ctx context.Context, group, topic string, to persistence.Position) error {
	_, err := place(to)
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
	k := groupTopic{group, topic}
	s.data.cursors[k] = max(s.data.cursors[k], to)
	return nil
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
