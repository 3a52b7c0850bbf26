package identity

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/keyfunc/v3"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

const (
	refreshEvery = 15 * time.Minute // how long a key that was withdrawn may still be believed
	firstRetry   = time.Second
	lastRetry    = time.Minute
	readWithin   = 3 * time.Second
	waitAtMost   = 2 * time.Second // for keys that are being read
	setBytes     = 256 << 10

	unknownBurst = 3 // readings that unknown keys may cause at once,
	unknownEvery = 30 * time.Second
)

// keys are the keys of an issuer, by id.
type keys struct {
	url    string
	client *http.Client
	clock  clock.Clock
	log    *slog.Logger

	set  atomic.Pointer[map[string]keyfunc.Keyfunc]
	wake chan struct{} // asks for a reading
	quit chan struct{} // closed when there will be no more

	mu      sync.Mutex
	reading chan struct{} // closed when the reading under way has ended; nil: there is none
	allowed float64       // readings that unknown keys may still cause
	counted time.Time     // when allowed was right
}

func newKeys(c Config) *keys {
	return &keys{
		url: c.JWKSURL, client: c.HTTPClient, clock: c.Clock, log: c.Log,
		wake: make(chan struct{}, 1), quit: make(chan struct{}),
		reading: make(chan struct{}), allowed: unknownBurst, counted: c.Clock.Now(),
	}
}

func (k *keys) all() map[string]keyfunc.Keyfunc {
	if set := k.set.Load(); set != nil {
		return *set
	}
	return nil
}

// find returns the key of an id. If it is unknown, the keys may be read again.
func (k *keys) find(id string) (keyfunc.Keyfunc, error) {
	if key, ok := k.all()[id]; ok {
		return key, nil
	}
	if reading := k.ask(); reading != nil {
		late := time.NewTimer(waitAtMost) //nolint:forbidigo // a limit of the call
		defer late.Stop()
		select {
		case <-reading:
		case <-k.quit:
		case <-late.C:
		}
	}
	set := k.all()
	if key, ok := set[id]; ok {
		return key, nil
	}
	e := invalid("the access token is signed with a key that its issuer does not publish")
	if len(set) == 0 {
		e = invalid("the issuer's keys could not be read yet: ask again in a moment")
		e.Retry = 5 * time.Second
	}
	return nil, e
}

// ask returns the reading under way, or begins one if unknown keys may cause
// it now. Nil means that there is nothing to wait for.
func (k *keys) ask() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reading != nil {
		return k.reading
	}
	now := k.clock.Now()
	if passed := now.Sub(k.counted); passed > 0 {
		k.allowed = min(unknownBurst, k.allowed+passed.Seconds()/unknownEvery.Seconds())
	}
	k.counted = now
	if k.allowed < 1 {
		return nil
	}
	k.allowed--
	k.reading = make(chan struct{})
	k.wake <- struct{}{} // has room: who began the last reading has taken its own
	return k.reading
}

// begin marks that a reading is under way.
func (k *keys) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reading == nil {
		k.reading = make(chan struct{})
	}
}

// end tells those who wait that the reading has ended.
func (k *keys) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.reading)
	k.reading = nil
	select {
	case <-k.wake: // it was asked for when the clock had begun it already
	default:
	}
}

// run reads the keys until ctx ends.
func (k *keys) run(ctx context.Context) {
	defer close(k.quit)
	retry := firstRetry
	for {
		next := refreshEvery
		if err := k.read(ctx); err != nil {
			next, retry = retry, min(2*retry, lastRetry)
			if ctx.Err() != nil {
				return
			}
			k.log.WarnContext(ctx, "issuer's keys not read", slog.String("url", k.url), slog.Any("error", err), slog.Duration("again_in", next))
		} else {
			retry = firstRetry
		}
		k.end()
		pause := time.NewTimer(next) //nolint:forbidigo // how often to look, not a time that anything is decided by
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-k.wake:
			pause.Stop()
		case <-pause.C:
			k.begin()
		}
	}
}

// read replaces the keys by those that the issuer publishes now. Without any,
// it keeps those there are and returns an error.
func (k *keys) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := k.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the issuer answers %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, setBytes+1))
	if err != nil {
		return err
	}
	if len(body) > setBytes {
		return fmt.Errorf("the answer is larger than %d bytes", setBytes)
	}
	set, err := parseSet(ctx, body)
	if err != nil {
		return err
	}
	k.set.Store(&set)
	return nil
}
