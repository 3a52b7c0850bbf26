package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/redisstore"
)

// store is what the server asks of a store besides the contract.
type store interface {
	persistence.Store
	Stats() persistence.Stats
	Health() persistence.Health
}

const (
	// holding is the lease by which one process at a time works on a store.
	holding = "server"
	// holdFor is how long a store stays held after its process died.
	holdFor = 10 * time.Second
	// reachWithin is how long a Redis may take to be there and ready.
	reachWithin = 2 * time.Minute
)

// openStore opens the store that is configured. What contradicts itself is left
// as it is, and the error says what to do.
func openStore(ctx context.Context, c configs.Config, log *slog.Logger) (store, error) {
	s, err := openAny(ctx, c, log)
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, persistence.ErrCorrupt), errors.Is(err, persistence.ErrLost):
		err = fmt.Errorf("%w; move it out of the way and make another of a backup: marketplace restore FILE", err)
	}
	return nil, err // s holds a pointer to nothing
}

func openAny(ctx context.Context, c configs.Config, log *slog.Logger) (store, error) {
	if c.Store.Redis.URL == "" {
		return boltstore.Open(filepath.Join(c.Data, storeFile), boltstore.Options{})
	}
	options, err := redisOptions(c.Store.Redis)
	if err != nil {
		return nil, fmt.Errorf("store.redis: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	return redisstore.Open(ctx, redisstore.Options{Redis: options, Tag: c.Store.Redis.Tag, AcceptLoss: c.Store.Redis.AcceptLoss, Log: log})
}

// redisOptions says how the Redis of a configuration is reached.
func redisOptions(r configs.Redis) (*redis.Options, error) {
	o, err := redis.ParseURL(r.URL)
	if err != nil {
		return nil, err
	}
	o.Username, o.Password = r.User, r.Password
	if o.TLSConfig == nil {
		return o, nil
	}
	if r.CAFile != "" {
		text, err := os.ReadFile(filepath.Clean(r.CAFile))
		if err != nil {
			return nil, err
		}
		o.TLSConfig.RootCAs = x509.NewCertPool()
		if !o.TLSConfig.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate", r.CAFile)
		}
	}
	if r.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(r.CertFile, r.KeyFile)
		if err != nil {
			return nil, err
		}
		o.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	return o, nil
}

// hold takes a store for this process, and waits as long as one that died would
// hold it. A process with the same data folder takes over at once. lost is
// called when another has taken the store; release gives it back.
func hold(ctx context.Context, s persistence.Store, c configs.Config, lost func(error)) (release func(), err error) {
	folder, err := filepath.Abs(c.Data)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	holder := host + ":" + folder
	waiting, cancel := context.WithTimeout(ctx, holdFor+holdFor/4)
	defer cancel()
	for held := false; !held; {
		if held, err = s.Lease(waiting, holding, holder, holdFor); err != nil && waiting.Err() == nil {
			return nil, err
		}
		if !held && !pause(waiting, holdFor/40) {
			return nil, errors.Join(persistence.ErrLocked, ctx.Err())
		}
	}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for pause(keeping, holdFor/4) {
			if held, err := s.Lease(keeping, holding, holder, holdFor); err == nil && !held {
				lost(persistence.ErrLocked)
				return
			}
		}
	}()
	return func() {
		stop()
		<-done
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = s.Lease(ctx, holding, holder, 0) // else it runs out
	}, nil
}

// pause waits for d; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d): //nolint:forbidigo // A wait, not a reading of the clock.
		return true
	case <-ctx.Done():
		return false
	}
}
