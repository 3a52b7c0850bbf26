package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

// Compact has the server write its log anew, without what was deleted or
// replaced, and waits for the end of it.
func (s *Store) Compact(ctx context.Context) error {
	err := s.open(ctx)
	if err == nil {
		err = s.reads.BgRewriteAOF(ctx).Err()
	}
	if err != nil && !strings.Contains(err.Error(), "already in progress") {
		return fmt.Errorf("compact: %w", err)
	}
	for {
		text, err := s.reads.Info(ctx, "persistence").Result()
		if err != nil {
			return fmt.Errorf("compact: %w", err)
		}
		info := parseInfo(text)
		if info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0" {
			if info["aof_last_bgrewrite_status"] != "ok" {
				return errors.New("compact: the server failed to write its log anew; its own log says why")
			}
			return nil
		}
		if !clock.Pause(ctx, askAgain/2) {
			return ctx.Err()
		}
	}
}
