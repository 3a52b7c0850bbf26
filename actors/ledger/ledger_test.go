package ledger

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
)

// model is a book as a child would keep it.
type model struct {
	came, went map[string]*big.Int
	holds      map[string]hold
}

type hold struct {
	account string
	amount  int64
}

func (m *model) side(of map[string]*big.Int, name string) *big.Int {
	if of[name] == nil {
		of[name] = new(big.Int)
	}
	return of[name]
}

// mayPost says whether both sides stay within 64 bits.
func (m *model) mayPost(from, to string, amount int64) error {
	fits := func(n *big.Int) bool { return new(big.Int).Add(n, big.NewInt(amount)).IsInt64() }
	switch {
	case amount <= 0:
		return ErrAmount
	case !fits(m.side(m.went, from)) || !fits(m.side(m.came, to)):
		return ErrOverflow
	}
	return nil
}

// TestAgainstModel does random things to a book and to the model.
func TestAgainstModel(t *testing.T) {
	names := []string{"credit", "granted", "used"}
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			b, m := New(USD), &model{map[string]*big.Int{}, map[string]*big.Int{}, map[string]hold{}}
			refused := 0
			for range 1000 {
				from, to := names[r.IntN(3)], names[r.IntN(3)]
				amount := r.Int64N(math.MaxInt64)>>r.IntN(63) - r.Int64N(3)
				if r.IntN(3) == 0 {
					purpose := fmt.Sprint("d", r.IntN(5))
					Hold(b, from, purpose, amount>>8)
					delete(m.holds, purpose)
					if amount>>8 > 0 {
						m.holds[purpose] = hold{from, amount >> 8}
					}
				} else {
					err := Check(b, from, to, amount)
					if !errors.Is(err, m.mayPost(from, to, amount)) {
						t.Fatalf("posting %d from %s to %s: %v, want %v", amount, from, to, err, m.mayPost(from, to, amount))
					}
					if err == nil {
						Post(b, from, to, amount)
						m.side(m.went, from).Add(m.side(m.went, from), big.NewInt(amount))
						m.side(m.came, to).Add(m.side(m.came, to), big.NewInt(amount))
					} else {
						refused++
					}
				}
				compare(t, b, m, names)
			}
			if refused < 10 {
				t.Errorf("only %d postings were refused: the test stays away from the edge", refused)
			}
		})
	}
}

func compare(t *testing.T, b *journalv1.Book, m *model, names []string) {
	t.Helper()
	if err := Verify(b); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		balance := new(big.Int).Sub(m.side(m.came, name), m.side(m.went, name)).Int64()
		var held int64
		for _, h := range m.holds {
			if h.account == name {
				held += h.amount
			}
		}
		if Balance(b, name) != balance || Held(b, name) != held || Available(b, name) != balance-held {
			t.Fatalf("%s: balance %d, held %d, available %d; want %d, %d, %d", name, Balance(b, name), Held(b, name), Available(b, name), balance, held, balance-held)
		}
	}
}

func TestEmptyBook(t *testing.T) {
	for _, b := range []*journalv1.Book{nil, {}, New(USD)} {
		if Balance(b, "credit") != 0 || Held(b, "credit") != 0 || Available(b, "credit") != 0 || Verify(b) != nil {
			t.Errorf("an empty book holds something: %v", b)
		}
		if err := Check(b, "granted", "credit", math.MaxInt64); err != nil {
			t.Errorf("an empty book refuses what fits: %v", err)
		}
	}
}

// TestCheckChangesNothing because what is refused was only asked.
func TestCheckChangesNothing(t *testing.T) {
	b := New(USD)
	Post(b, "granted", "credit", math.MaxInt64)
	before := proto.CloneOf(b)
	for _, c := range []struct {
		from, to string
		amount   int64
		want     error
	}{
		{"granted", "credit", 1, ErrOverflow},
		{"granted", "used", 1, ErrOverflow},
		{"used", "credit", 1, ErrOverflow},
		{"credit", "used", math.MaxInt64, nil},
		{"credit", "credit", 1, ErrOverflow},
		{"credit", "used", 0, ErrAmount},
		{"credit", "used", math.MinInt64, ErrAmount},
	} {
		if err := Check(b, c.from, c.to, c.amount); !errors.Is(err, c.want) {
			t.Errorf("%d from %s to %s: %v, want %v", c.amount, c.from, c.to, err, c.want)
		}
	}
	if !proto.Equal(b, before) {
		t.Errorf("asking changed the book to %v", b)
	}
}

func TestVerifyFinds(t *testing.T) {
	for name, damage := range map[string]func(*journalv1.Book){
		"a unit from nowhere":    func(b *journalv1.Book) { b.GetAccounts()["credit"].Credits++ },
		"a unit that is gone":    func(b *journalv1.Book) { b.GetAccounts()["granted"].Debits-- },
		"a side below zero":      func(b *journalv1.Book) { b.GetAccounts()["used"] = &journalv1.LedgerAccount{Debits: -1, Credits: -1} },
		"a hold of nothing":      func(b *journalv1.Book) { b.GetHolds()["d"].Amount = 0 },
		"a hold of less than it": func(b *journalv1.Book) { b.GetHolds()["d"].Amount = -1 },
	} {
		b := New(USD)
		Post(b, "granted", "credit", 10)
		Hold(b, "credit", "d", 5)
		if err := Verify(b); err != nil {
			t.Fatal(err)
		}
		damage(b)
		if Verify(b) == nil {
			t.Errorf("%s is not found", name)
		}
	}
}
