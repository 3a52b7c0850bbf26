package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.etcd.io/bbolt"

	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/boltstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/redisstore"
)

// What a commit of the store tables holds.
var (
	storeEvent    = []byte(strings.Repeat("e", 200))
	storeMessage  = []byte(strings.Repeat("m", 200))
	storeSnapshot = []byte(strings.Repeat("s", 1024)) // with every hundredth
)

// statistics is what a store under measurement also tells.
type statistics interface {
	persistence.Store
	Stats() persistence.Stats
}

// stores measures commits a second of the stores alone, each against a peer in
// the same round: one commit in flight for each entity, an event and a message
// of 200 bytes each, and every hundredth a snapshot of 1 KiB.
//
//   - "redis-benchmark" is redis-benchmark -c 50 -P 64 with the store's own
//     script, of which two lines are left out: those that compare the version and
//     the commit id, for it cannot count. As it can choose one random key for a
//     call, two lines in front make the others of that.
//   - "one at a time" is go-redis sending that script from as many goroutines,
//     through its usual pool.
//   - "db.Batch" is bbolt's own way to share a transaction, with the same keys
//     and values put, and up to 1,000 commits in each.
func stores(ctx context.Context, dir string, rounds int, length time.Duration) error {
	fmt.Println("\n| store alone | commits/s (range) | peer | peer's commits/s (range) | ratio (range) | goal |\n|---|---|---|---|---|---|")
	if err := storesRedis(ctx, dir, rounds, length); err != nil {
		return fmt.Errorf("Redis: %w", err)
	}
	if err := storesBolt(ctx, dir, rounds, length); err != nil {
		return fmt.Errorf("bbolt: %w", err)
	}
	return idleMemory(ctx, dir)
}

func storesRedis(ctx context.Context, dir string, rounds int, length time.Duration) error {
	var thousand, ceiling, five, ceilingFive, single, thousandAgain []float64
	for round := range rounds {
		measure := func(name string, into *[]float64, rate func(addr string) (float64, error)) error {
			s, err := startRedis(ctx, dir, fmt.Sprintf("%s-%d", name, round), redistest.Durable()...)
			if err != nil {
				return err
			}
			defer s.Kill()
			r, err := rate(s.Addr)
			*into = append(*into, r)
			return err
		}
		err := errors.Join(
			measure("thousand", &thousand, func(addr string) (float64, error) { return redisRate(ctx, addr, 1000, length) }),
			measure("ceiling", &ceiling, func(addr string) (float64, error) { return benchmarkRate(ctx, addr, 1000, length) }),
			measure("five", &five, func(addr string) (float64, error) { return redisRate(ctx, addr, 5000, length) }),
			measure("ceilingfive", &ceilingFive, func(addr string) (float64, error) { return benchmarkRate(ctx, addr, 5000, length) }),
			measure("again", &thousandAgain, func(addr string) (float64, error) { return redisRate(ctx, addr, 1000, length) }),
			measure("single", &single, func(addr string) (float64, error) { return singleRate(ctx, addr, 1000, length) }),
		)
		if err != nil {
			return err
		}
	}
	against("Redis, 1,000 entities", thousand, "redis-benchmark", ceiling, "0.70")
	against("Redis, 5,000 entities", five, "redis-benchmark", ceilingFive, "0.60")
	against("Redis, 1,000 entities", thousandAgain, "one at a time", single, "2")
	return nil
}

// redisRate measures the store.
func redisRate(ctx context.Context, addr string, entities int, length time.Duration) (float64, error) {
	s, err := redisstore.Open(ctx, redisstore.Options{Redis: &redis.Options{Addr: addr}})
	if err != nil {
		return 0, err
	}
	rate, _, err := commitRate(s, entities, length)
	return rate, errors.Join(err, s.Close())
}

// commitRate has every entity commit one thing after another. It also returns
// how many commits shared a transaction.
func commitRate(s statistics, entities int, length time.Duration) (rate, shared float64, err error) {
	var over atomic.Bool
	var failed atomic.Value
	var wait sync.WaitGroup
	for i := range entities {
		wait.Add(1)
		e := persistence.Entity{Kind: "user", ID: userName(i)}
		var next func(version uint64)
		next = func(version uint64) {
			if over.Load() {
				wait.Done()
				return
			}
			c := &persistence.Commit{Entity: e, Expect: version, ID: "c" + strconv.FormatUint(version, 10), Events: storeEvent, Out: []persistence.Message{{Topic: "t", Payload: storeMessage}}}
			if version%snapshotEvery == snapshotEvery-1 {
				c.Snapshot = storeSnapshot
			}
			s.Commit(c, func(err error) {
				if err != nil {
					failed.Store(err)
					over.Store(true)
				}
				next(version + 1)
			})
		}
		next(0)
	}
	time.Sleep(length / 4)
	from, began := s.Stats(), time.Now()
	time.Sleep(length)
	to, took := s.Stats(), time.Since(began)
	over.Store(true)
	wait.Wait()
	err, _ = failed.Load().(error)
	commits := float64(to.Commits - from.Commits)
	return commits / took.Seconds(), commits / float64(max(to.Transactions-from.Transactions, 1)), err
}

// plainScript is the store's script without what compares.
func plainScript() (string, error) {
	text, err := os.ReadFile(filepath.Join("..", "persistence", "redisstore", "lua", "commit.lua"))
	if err != nil {
		return "", err
	}
	script := string(text)
	for _, line := range []string{"if was[2] == ARGV[2] then return 'OK' end\n", "if version ~= ARGV[1] then return 'AT ' .. version end\n"} {
		if strings.Count(script, line) != 1 {
			return "", errors.New("the store's script has changed: " + line)
		}
		script = strings.Replace(script, line, "", 1)
	}
	return `local id = string.sub(KEYS[1], 12)
local KEYS, ARGV = {KEYS[1], '{b}:j:user/' .. id, '{b}:wakes', '{b}:ids:user', '{b}:ends', '{b}:meta', '{b}:t:t'},
  {ARGV[1], ARGV[2], 'user ' .. id, id, ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]}
` + script, nil
}

// plainArguments are those of one commit to an entity.
func plainArguments(entity string) (keys, args []string) {
	return []string{"{b}:e:user/" + entity}, []string{"0", "c", "", "1", string(storeEvent), "0", "", "0", "t", string(storeMessage)}
}

// benchmarkRate measures redis-benchmark.
func benchmarkRate(ctx context.Context, addr string, entities int, length time.Duration) (float64, error) {
	script, err := plainScript()
	if err != nil {
		return 0, err
	}
	c := redis.NewClient(&redis.Options{Addr: addr})
	sha, err := c.ScriptLoad(ctx, script).Result()
	if err = errors.Join(err, c.HSet(ctx, "{b}:meta", "epoch", "e").Err(), c.Close()); err != nil {
		return 0, err
	}
	_, port, _ := strings.Cut(addr, ":")
	keys, args := plainArguments("__rand_int__")
	once := func(n int) (float64, error) {
		words := append([]string{"-p", port, "-c", "50", "-P", "64", "-n", strconv.Itoa(n), "-r", strconv.Itoa(entities), "--csv", "EVALSHA", sha, strconv.Itoa(len(keys))}, append(keys, args...)...)
		out, err := exec.CommandContext(ctx, "redis-benchmark", words...).CombinedOutput()
		if err != nil {
			return 0, fmt.Errorf("redis-benchmark: %w: %s", err, out)
		}
		found := regexp.MustCompile(`","([0-9.]+)"`).FindSubmatch(out)
		if found == nil {
			return 0, fmt.Errorf("redis-benchmark said %s", out)
		}
		return strconv.ParseFloat(string(found[1]), 64)
	}
	warm, err := once(20_000)
	if err != nil {
		return 0, err
	}
	rate, err := once(int(warm * length.Seconds()))
	if err != nil {
		return 0, err
	}
	// It does not look at answers: whether all were stored is to be asked.
	c = redis.NewClient(&redis.Options{Addr: addr})
	defer func() { _ = c.Close() }()
	ends, err := c.HGet(ctx, "{b}:ends", "t").Int()
	if want := 20_000 + int(warm*length.Seconds()); err != nil || ends < want { // it sends whole pipelines
		return 0, fmt.Errorf("redis-benchmark stored %d of %d, %w", ends, want, err)
	}
	return rate, nil
}

// singleRate measures go-redis with a round trip for each commit.
func singleRate(ctx context.Context, addr string, entities int, length time.Duration) (float64, error) {
	text, err := plainScript()
	if err != nil {
		return 0, err
	}
	script := redis.NewScript(text)
	c := redis.NewClient(&redis.Options{Addr: addr, PoolTimeout: time.Minute, ReadTimeout: time.Minute})
	defer func() { _ = c.Close() }()
	if err := errors.Join(script.Load(ctx, c).Err(), c.HSet(ctx, "{b}:meta", "epoch", "e").Err()); err != nil {
		return 0, err
	}
	return closedLoop(entities, length, func(i int) func() error {
		keys, texts := plainArguments(userName(i))
		args := make([]any, len(texts))
		for n, t := range texts {
			args[n] = t
		}
		return func() error { return script.EvalSha(ctx, c, keys, args...).Err() }
	})
}

// closedLoop has each of n do one thing after another, and returns how many were
// done in a second.
func closedLoop(n int, length time.Duration, doer func(i int) func() error) (float64, error) {
	var done atomic.Int64
	var over atomic.Bool
	var failed atomic.Value
	var wait sync.WaitGroup
	for i := range n {
		do := doer(i)
		wait.Go(func() {
			for !over.Load() {
				if err := do(); err != nil {
					failed.Store(err)
					over.Store(true)
				}
				done.Add(1)
			}
		})
	}
	time.Sleep(length / 4)
	from, began := done.Load(), time.Now()
	time.Sleep(length)
	did, took := done.Load()-from, time.Since(began)
	over.Store(true)
	wait.Wait()
	err, _ := failed.Load().(error)
	return float64(did) / took.Seconds(), err
}

func storesBolt(ctx context.Context, dir string, rounds int, length time.Duration) error {
	var ours, theirs, shared []float64
	for round := range rounds {
		s, err := boltstore.Open(filepath.Join(dir, fmt.Sprintf("commits-%d.db", round)), boltstore.Options{})
		if err != nil {
			return err
		}
		rate, together, err := commitRate(s, 1000, length)
		if err := errors.Join(err, s.Close(), ctx.Err()); err != nil {
			return err
		}
		ours, shared = append(ours, rate), append(shared, together)
		if rate, err = batchRate(filepath.Join(dir, fmt.Sprintf("batch-%d.db", round)), 1000, length); err != nil {
			return err
		}
		theirs = append(theirs, rate)
	}
	against("bbolt, 1,000 entities", ours, "db.Batch", theirs, "1.0")
	fmt.Printf("\nbbolt: %.0f commits for each transaction, which is two syncs (goal: 300)\n", middle(shared))
	return nil
}

// batchRate measures bbolt's own way to share a transaction: the same keys and values.
func batchRate(path string, entities int, length time.Duration) (float64, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }()
	db.MaxBatchSize = 1000
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("entities"))
		_, err2 := tx.CreateBucket([]byte("snapshots"))
		_, err3 := tx.CreateBucket([]byte("t"))
		return errors.Join(err, err2, err3)
	})
	if err != nil {
		return 0, err
	}
	return closedLoop(entities, length, func(i int) func() error {
		prefix, version := "user\x00"+userName(i)+"\x00", uint64(0)
		return func() error {
			version++
			return db.Batch(func(tx *bbolt.Tx) error { return putPlain(tx, prefix, version) })
		}
	})
}

// putPlain puts what a commit of the store puts, after the same look at the state.
func putPlain(tx *bbolt.Tx, prefix string, version uint64) error {
	entities, topic := tx.Bucket([]byte("entities")), tx.Bucket([]byte("t"))
	state := []byte(prefix + "\x02")
	if old := entities.Get(state); old != nil && binary.BigEndian.Uint64(old) != version-1 {
		return errors.New("another owner")
	}
	number := binary.BigEndian.AppendUint64(nil, version)
	if err := entities.Put(state, append(number, "commit id"...)); err != nil {
		return err
	}
	if err := entities.Put(append([]byte(prefix+"\x01"), number...), storeEvent); err != nil {
		return err
	}
	if version%snapshotEvery == 0 {
		if err := tx.Bucket([]byte("snapshots")).Put(append([]byte(prefix), number...), storeSnapshot); err != nil {
			return err
		}
	}
	n, err := topic.NextSequence()
	if err != nil {
		return err
	}
	return topic.Put(binary.BigEndian.AppendUint64(nil, n), storeMessage)
}

// idleMemory measures what an entity takes of a Redis' memory that sleeps: two
// snapshots of 500 bytes, the journal trimmed to what lies between them, no lists.
func idleMemory(ctx context.Context, dir string) (err error) {
	const entities = 20_000
	server, err := startRedis(ctx, dir, "idle", redistest.Durable()...)
	if err != nil {
		return err
	}
	defer server.Kill()
	s, err := redisstore.Open(ctx, redisstore.Options{Redis: &redis.Options{Addr: server.Addr}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	c := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer func() { err = errors.Join(err, c.Close()) }()
	before, err := usedMemory(ctx, c)
	if err != nil {
		return err
	}
	results := make(chan error, 2*entities)
	for version := range uint64(2) {
		for i := range entities {
			s.Commit(&persistence.Commit{
				Entity: persistence.Entity{Kind: "user", ID: fmt.Sprintf("auth0|%024d", i)}, Expect: version, ID: fmt.Sprintf("3w5e11264sgsf-%d", version), Events: storeEvent, Snapshot: storeSnapshot[:500],
			}, func(err error) { results <- err })
			if i%4000 == 3999 {
				for range 4000 {
					if err := <-results; err != nil {
						return err
					}
				}
			}
		}
	}
	after, err := usedMemory(ctx, c)
	fmt.Printf("\nRedis: %.0f bytes of memory for each idle entity (goal: 2,800)\n", float64(after-before)/entities)
	return err
}

func usedMemory(ctx context.Context, c *redis.Client) (int, error) {
	text, err := c.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`used_memory:(\d+)`).FindStringSubmatch(text)
	if found == nil {
		return 0, errors.New("the server does not tell its memory")
	}
	return strconv.Atoi(found[1])
}
