package identity

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

// accepts says whether a good token under a key is accepted.
func accepts(t *testing.T, v *Verifier, id string, key int) error {
	t.Helper()
	_, err := v.Verify(good(t, id, rsaKeys()[key], claims(time.Now())))
	return err
}

// bubble runs a test in which time passes when everybody waits. The keys must
// have been made before: they belong to all bubbles.
func bubble(t *testing.T, test func(t *testing.T, from *issuer)) {
	rsaKeys()
	synctest.Test(t, func(t *testing.T) {
		from := &issuer{}
		from.says(200, set(t, published("k0", rsaKeys()[0])))
		test(t, from)
	})
}

func TestRotation(t *testing.T) {
	bubble(t, func(t *testing.T, from *issuer) {
		v := open(t, from, clock.Real{})
		if err := accepts(t, v, "k0", 0); err != nil {
			t.Fatal(err)
		}
		both := set(t, published("k1", rsaKeys()[1]), published("k0", rsaKeys()[0]))
		from.says(200, both)
		if err := accepts(t, v, "k1", 1); err != nil {
			t.Errorf("the first token under a new key: %v", err)
		}
		if err := accepts(t, v, "k0", 0); err != nil {
			t.Errorf("a token under the old key: %v", err)
		}
		from.says(200, set(t, published("k2", rsaKeys()[2])))
		if err := accepts(t, v, "k2", 2); err != nil {
			t.Errorf("a second rotation right after it: %v", err)
		}
		if err := accepts(t, v, "k1", 1); err == nil {
			t.Error("a key that was withdrawn is believed after a reading")
		}
	})
}

func TestWithdrawnKey(t *testing.T) {
	bubble(t, func(t *testing.T, from *issuer) {
		v := open(t, from, clock.Real{})
		synctest.Wait()
		from.says(200, set(t, published("k1", rsaKeys()[1])))
		time.Sleep(refreshEvery - time.Second)
		if err := accepts(t, v, "k0", 0); err != nil {
			t.Errorf("before the next reading: %v", err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := accepts(t, v, "k0", 0); err == nil {
			t.Error("a key that was withdrawn is believed for more than a quarter of an hour")
		}
	})
}

// TestBadAnswers makes sure that keys are only ever replaced by keys.
func TestBadAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, from *issuer) {
		v := open(t, from, clock.Real{})
		synctest.Wait()
		fresh := published("k9", rsaKeys()[1])
		with := func(name string, value any) string {
			k := published("k9", rsaKeys()[1])
			k[name] = value
			return set(t, k)
		}
		for name, c := range map[string]struct {
			status int
			body   string
		}{
			"no connection":      {0, ""},
			"out of order":       {503, set(t, fresh)},
			"elsewhere":          {302, set(t, fresh)},
			"wiped":              {200, `{"keys":[]}`},
			"without a list":     {200, `{}`},
			"a page":             {200, "<html>"},
			"nothing":            {200, ""},
			"too large":          {200, set(t, fresh) + strings.Repeat(" ", setBytes)},
			"for encryption":     {200, with("use", "enc")},
			"another algorithm":  {200, with("alg", "RS512")},
			"without a name":     {200, with("kid", "")},
			"a name too long":    {200, with("kid", strings.Repeat("k", 129))},
			"a secret":           {200, `{"keys":[{"kty":"oct","use":"sig","kid":"k9","k":"c2VjcmV0"}]}`},
			"a short key":        {200, with("n", "AQAB")},
			"not a number":       {200, with("n", "!")},
			"not an object":      {200, `{"keys":[7]}`},
			"a name of no text":  {200, with("kid", 7)},
			"an elliptic curve":  {200, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k9","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`},
			"a list of nothings": {200, `{"keys":[null,{}]}`},
		} {
			asked := from.requests()
			from.says(c.status, c.body)
			time.Sleep(time.Hour)
			synctest.Wait()
			if from.requests() == asked {
				t.Errorf("%s: nobody asked", name)
			}
			if err := accepts(t, v, "k0", 0); err != nil || !v.Ready() {
				t.Errorf("%s: a good token is refused: %v", name, err)
			}
			if err := accepts(t, v, "k9", 1); err == nil {
				t.Errorf("%s: the answer was believed", name)
			}
		}
		from.says(200, set(t, jwk{"kty": "EC", "kid": "odd"}, fresh))
		time.Sleep(lastRetry)
		if err := accepts(t, v, "k9", 1); err != nil {
			t.Errorf("a good key beside an odd one: %v", err)
		}
	})
}

func TestStartDuringOutage(t *testing.T) {
	bubble(t, func(t *testing.T, from *issuer) {
		good := from.answer
		from.says(503, "")
		v := open(t, from, clock.Real{})
		err := accepts(t, v, "k0", 0)
		if e := messages.AsError(err); e.Reason != wrong || e.Retry == 0 || v.Ready() {
			t.Errorf("without keys: %v, ready %t", err, v.Ready())
		}
		status, body := good()
		from.says(status, body)
		time.Sleep(lastRetry)
		synctest.Wait()
		if err := accepts(t, v, "k0", 0); err != nil || !v.Ready() {
			t.Errorf("after the outage: %v, ready %t", err, v.Ready())
		}
	})
}

func TestFlood(t *testing.T) {
	bubble(t, func(t *testing.T, from *issuer) {
		v := open(t, from, clock.Real{})
		synctest.Wait()
		before, begun := from.requests(), time.Now()
		forged := good(t, "made-up", rsaKeys()[1], claims(begun))
		for range 50 {
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if _, err := v.Verify(forged); err == nil {
						t.Error("a forged token was accepted")
					}
				})
			}
			all.Wait()
		}
		if took, n := time.Since(begun), from.requests()-before; took != 0 || n > unknownBurst {
			t.Errorf("1000 forged tokens took %v and %d readings", took, n)
		}
		if err := accepts(t, v, "k0", 0); err != nil {
			t.Errorf("a good token meanwhile: %v", err)
		}
		from.says(200, set(t, published("k1", rsaKeys()[1])))
		time.Sleep(unknownEvery)
		if err := accepts(t, v, "k1", 1); err != nil {
			t.Errorf("a rotation after the flood: %v", err)
		}
	})
}

func TestSlowIssuer(t *testing.T) {
	bubble(t, func(t *testing.T, from *issuer) {
		v := open(t, from, clock.Real{})
		synctest.Wait()
		from.mu.Lock()
		from.hold = make(chan struct{})
		from.mu.Unlock()
		before := from.requests()
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				begun := time.Now()
				if err := accepts(t, v, fmt.Sprint("made-up-", n), 1); err == nil || time.Since(begun) > waitAtMost {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
				if err := accepts(t, v, "k0", 0); err != nil {
					t.Errorf("a good token meanwhile: %v", err)
				}
			})
		}
		all.Wait()
		if n := from.requests() - before; n != 1 {
			t.Errorf("%d readings at once, want one", n)
		}
	})
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, from *issuer) {
		v := open(t, from, clock.Real{})
		synctest.Wait()
		v.Close()
		asked, begun := from.requests(), time.Now()
		time.Sleep(24 * time.Hour)
		if from.requests() != asked {
			t.Error("keys are read after Close")
		}
		if err := accepts(t, v, "k0", 0); err != nil {
			t.Errorf("a good token after Close: %v", err)
		}
		for range 3 {
			if err := accepts(t, v, "k1", 1); err == nil || time.Since(begun) != 24*time.Hour {
				t.Errorf("an unknown key after Close: %v after %v", err, time.Since(begun))
			}
		}
		v.Close()
	})
}
