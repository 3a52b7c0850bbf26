package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/threefoldtech/cloud-marketplace/actors/inbox"
	"github.com/threefoldtech/cloud-marketplace/internal/telemetry"
)

// askWithin is how long the store may take to tell what a metric asks for.
const askWithin = time.Second

// topicMetrics tells what waits in the topics. When the store does not answer in
// time, these metrics are missing and the others are not.
func (m *Main) topicMetrics(t *telemetry.Metrics) {
	t.Gauges("topic_unread", "Messages of a topic that a consumer group has not handled. Alarm above 10,000.", []string{"topic", "group"},
		func(tell func(uint64, ...string)) {
			m.ask("lags of the consumer groups", func(ctx context.Context) error {
				all, err := m.system.Lags(ctx)
				for _, l := range all {
					tell(l.Unread, l.Topic, l.Group)
				}
				return err
			})
		})
	t.Gauges("poison_waiting", "Messages that nobody could decide and that wait for an operator; /poison lists them. Alarm above zero.", nil,
		func(tell func(uint64, ...string)) {
			m.ask("poison messages", func(ctx context.Context) error {
				n, err := inbox.Poison{Store: m.store}.Waiting(ctx)
				if err == nil {
					tell(n)
				}
				return err
			})
		})
}

// ask has the store asked for a metric.
func (m *Main) ask(what string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	if err := do(ctx); err != nil {
		m.Log.WarnContext(ctx, "metric not told", slog.String("metric", what), slog.Any("error", err))
	}
}
