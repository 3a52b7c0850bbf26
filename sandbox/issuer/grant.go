package issuer

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
)

const (
	codeTTL    = time.Minute
	refreshTTL = 24 * time.Hour
)

// grant is what a person agreed to: that a client acts for them.
type grant struct {
	client    string
	person    Person
	audience  string // empty: userinfo only
	scope     []string
	redirect  string
	challenge string
	nonce     string
}

// family is all that came of one signing in. It dies when any code or refresh
// token of it is used a second time, for then somebody else has it, too.
type family struct{ dead bool }

// ticket is a code or a refresh token, which are used once.
type ticket struct {
	grant   grant
	family  *family
	expires time.Time
	forget  time.Time // until then a second use is noticed
	spent   bool
}

// grants remembers tickets. What is older than a refresh token lives is forgotten.
type grants struct {
	clock clock.Clock

	mu      sync.Mutex
	tickets map[string]*ticket
	swept   time.Time
}

func newGrants(c clock.Clock) *grants {
	return &grants{clock: c, tickets: map[string]*ticket{}}
}

// issue returns the name of a new ticket. No family starts one.
func (g *grants) issue(what grant, f *family, ttl time.Duration) string {
	if f == nil {
		f = &family{}
	}
	now, name := g.clock.Now(), rand.Text()
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.swept) >= codeTTL {
		for n, t := range g.tickets {
			if now.After(t.forget) {
				delete(g.tickets, n)
			}
		}
		g.swept = now
	}
	g.tickets[name] = &ticket{grant: what, family: f, expires: now.Add(ttl), forget: now.Add(refreshTTL)}
	return name
}

// redeem returns what a ticket of this client stands for, and spends it. A
// ticket that is spent already is a failure, and kills its family.
func (g *grants) redeem(name, client string) (grant, *family, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t, ok := g.tickets[name]
	switch {
	case !ok || t.grant.client != client:
		return grant{}, nil, invalidGrant("It is unknown here.")
	case t.spent:
		t.family.dead = true
		return grant{}, nil, invalidGrant("It was used before; whoever has it must sign in again.")
	case t.family.dead:
		return grant{}, nil, invalidGrant("Something that came of the same signing in was used twice; sign in again.")
	case g.clock.Now().After(t.expires):
		return grant{}, nil, invalidGrant("It has expired.")
	}
	t.spent = true
	return t.grant, t.family, nil
}
