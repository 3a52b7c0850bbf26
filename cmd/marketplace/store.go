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
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/internal/clock"
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

// openStore opens the store that is configured, which may have to exist. What
// contradicts itself is left as it is, and the error says what to do.
func openStore(ctx context.Context, c configs.Config, existing bool, log *slog.Logger) (store, error) {
	s, err := openAny(ctx, c, existing, log)
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, persistence.ErrCorrupt), errors.Is(err, persistence.ErrLost):
		err = fmt.Errorf("%w; move it out of the way and make another of a backup: marketplace restore FILE", err)
	}
	return nil, err // s holds a pointer to nothing
}

func openAny(ctx context.Context, c configs.Config, existing bool, log *slog.Logger) (store, error) {
	if c.Store.Redis.URL == "" {
		path := filepath.Join(c.Data, storeFile)
		if _, err := os.Stat(path); existing && err != nil {
			return nil, fmt.Errorf("there is no store: %w", err)
		}
		return boltstore.Open(path, boltstore.Options{})
	}
	options, err := redisOptions(c.Store.Redis)
	if err != nil {
		return nil, fmt.Errorf("store.redis: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	return redisstore.Open(ctx, redisstore.Options{Redis: options, Tag: c.Store.Redis.Tag, AcceptLoss: c.Store.Redis.AcceptLoss, Existing: existing, Log: log})
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

// lockFile is what one process at a time has locked in a data folder.
const lockFile = "lock"

// lockFolder keeps other processes from a data folder. The system lets go of it
// when this one ends, however that is.
func lockFolder(folder string) (unlock func(), err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(persistence.ErrLocked, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// hold takes a store for this process, and waits as long as one that died would
// hold it. A process with the same data folder, which it has locked, takes over
// at once. lost is called when another has taken the store; release gives it back.
func hold(ctx context.Context, s persistence.Store, c configs.Config, lost func(error)) (release func(), err error) {
	folder, err := filepath.Abs(c.Data)
	if err != nil {
		return nil, err
	}
	unlock, err := lockFolder(folder)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
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
		if !held && !clock.Pause(waiting, holdFor/40) {
			return nil, errors.Join(persistence.ErrLocked, ctx.Err())
		}
	}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for clock.Pause(keeping, holdFor/4) {
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
		unlock()
	}, nil
}
