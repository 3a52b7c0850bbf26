// Package ledger is a double-entry book as a plain value: accounts that only
// ever grow on either side, and holds that set a part of a balance aside.
//
// Every posting takes from one account what it gives to another, so the sum
// over all accounts is zero at any time. Amounts are whole units of the book's
// asset; arithmetic that would overflow is refused, never wrapped.
package ledger

import (
	"errors"
	"fmt"
	"math"

	journalv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/journal/v1"
)

// USD is the asset of users' books: 1e-7 dollar, the chain's own unit.
const USD = "USD/7"

// Errors of a posting.
var (
	// ErrAmount says that an amount is not above zero.
	ErrAmount = errors.New("the amount must be above zero")
	// ErrOverflow says that an account would grow past what 64 bits hold.
	ErrOverflow = errors.New("the amount is too large for the account")
)

// New returns an empty book.
func New(asset string) *journalv1.Book {
	return &journalv1.Book{Asset: asset}
}

// Check says whether amount may be posted from one account to another: ErrAmount or ErrOverflow if not.
func Check(b *journalv1.Book, from, to string, amount int64) error {
	switch {
	case amount <= 0:
		return ErrAmount
	case amount > math.MaxInt64-b.GetAccounts()[from].GetDebits(), amount > math.MaxInt64-b.GetAccounts()[to].GetCredits():
		return ErrOverflow
	}
	return nil
}

// Post moves amount, which Check has allowed.
func Post(b *journalv1.Book, from, to string, amount int64) {
	account(b, from).Debits += amount
	account(b, to).Credits += amount
}

func account(b *journalv1.Book, name string) *journalv1.LedgerAccount {
	a := b.GetAccounts()[name]
	if a == nil {
		if b.Accounts == nil {
			b.Accounts = map[string]*journalv1.LedgerAccount{}
		}
		a = &journalv1.LedgerAccount{}
		b.Accounts[name] = a
	}
	return a
}

// Balance returns what came to an account less what came from it.
func Balance(b *journalv1.Book, name string) int64 {
	a := b.GetAccounts()[name]
	return a.GetCredits() - a.GetDebits()
}

// Held returns how much of an account's balance is set aside.
func Held(b *journalv1.Book, name string) (sum int64) {
	for _, h := range b.GetHolds() {
		if h.GetAccount() == name {
			sum += h.GetAmount()
		}
	}
	return sum
}

// Available returns what of an account's balance is not set aside.
func Available(b *journalv1.Book, name string) int64 {
	return Balance(b, name) - Held(b, name)
}

// Hold sets amount aside for a purpose, in place of what was set aside for it
// before. Zero gives it back.
func Hold(b *journalv1.Book, name, purpose string, amount int64) {
	if amount <= 0 {
		delete(b.GetHolds(), purpose)
		return
	}
	if b.Holds == nil {
		b.Holds = map[string]*journalv1.LedgerHold{}
	}
	b.Holds[purpose] = &journalv1.LedgerHold{Account: name, Amount: amount}
}

// Verify says what is wrong with a book, if anything.
func Verify(b *journalv1.Book) error {
	var sum int64
	for name, a := range b.GetAccounts() {
		if a.GetDebits() < 0 || a.GetCredits() < 0 {
			return fmt.Errorf("account %s: a side is below zero", name)
		}
		sum += a.GetCredits() - a.GetDebits()
	}
	if sum != 0 {
		return fmt.Errorf("the accounts sum to %d %s, not to zero", sum, b.GetAsset())
	}
	for purpose, h := range b.GetHolds() {
		if h.GetAmount() <= 0 {
			return fmt.Errorf("hold %s: %d is not above zero", purpose, h.GetAmount())
		}
	}
	return nil
}
