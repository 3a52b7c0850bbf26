package persistence

import (
	"context"
	"fmt"
)

// Lag is how many messages of a topic a consumer group has not handled yet.
type Lag struct {
	Topic, Group string
	Unread       uint64
}

// Lags returns the lag of every group of every topic, by topic and group. A
// topic that never had a message has none.
func Lags(ctx context.Context, s Store) ([]Lag, error) {
	topics, err := s.Topics(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out the lags: %w", err)
	}
	var all []Lag
	for _, topic := range topics {
		more, err := lagsOf(ctx, s, topic)
		if err != nil {
			return nil, fmt.Errorf("find out the lags: %w", err)
		}
		all = append(all, more...)
	}
	return all, nil
}

// lagsOf returns the lags of one topic. The end is read last: it is not before
// any group.
func lagsOf(ctx context.Context, s Store, topic string) ([]Lag, error) {
	groups, err := s.Groups(ctx, topic)
	if err != nil || len(groups) == 0 {
		return nil, err
	}
	position, err := s.End(ctx, topic)
	if err != nil {
		return nil, err
	}
	end, err := position.Number()
	if err != nil {
		return nil, err
	}
	all := make([]Lag, len(groups))
	for i, g := range groups {
		at, err := g.At.Number()
		if err != nil {
			return nil, err
		}
		all[i] = Lag{Topic: topic, Group: g.Name, Unread: end - min(at, end)}
	}
	return all, nil
}
