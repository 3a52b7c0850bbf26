package keyring

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func ring(t *testing.T, current []byte, previous ...[]byte) *Ring {
	t.Helper()
	r, err := New(current, previous...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRing unwraps what any of its keys wrapped, for the name it was wrapped for.
func TestRing(t *testing.T) {
	one, two, data := NewKey(), NewKey(), NewKey()
	old, both, other := ring(t, one), ring(t, two, one), ring(t, NewKey())
	wrapped := old.Wrap("user/ann", data)
	if bytes.Contains(wrapped, data) || bytes.Equal(wrapped, old.Wrap("user/ann", data)) {
		t.Error("the data key can be seen, or recognized")
	}
	for _, r := range []*Ring{old, both} {
		if got, err := r.Unwrap("user/ann", wrapped); err != nil || !bytes.Equal(got, data) {
			t.Errorf("unwrapped as %x, %v", got, err)
		}
	}
	if both.Current(wrapped) || !both.Current(both.Wrap("user/ann", data)) || !old.Current(wrapped) {
		t.Error("the current key is not known")
	}
	forged := bytes.Clone(wrapped)
	forged[len(forged)-1]++
	for name, c := range map[string]struct {
		r    *Ring
		name string
		data []byte
		want error
	}{
		"another's name": {old, "user/bob", wrapped, ErrForged},
		"changed":        {old, "user/ann", forged, ErrForged},
		"cut":            {old, "user/ann", wrapped[:20], ErrForged},
		"empty":          {old, "user/ann", nil, ErrForged},
		"another ring":   {other, "user/ann", wrapped, ErrNoKey},
	} {
		if _, err := c.r.Unwrap(c.name, c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(one[:31]); err == nil {
		t.Error("a short key is taken")
	}
}

// TestBox opens what it sealed, for the name it was sealed for.
func TestBox(t *testing.T) {
	b := NewBox(NewKey())
	for _, value := range []string{"", "secret", "sealed:x", strings.Repeat("é", 3000)} {
		sealed := b.Seal("a", value)
		if got, err := b.Open("a", sealed); err != nil || got != value {
			t.Errorf("opened as %q, %v", got, err)
		}
		if value != "" && strings.Contains(sealed, value) || sealed == b.Seal("a", value) {
			t.Error("the value can be seen, or recognized")
		}
		for _, wrong := range []string{sealed[:len(sealed)-1], sealed + "A", "sealed:", value, "", "sealed:!"} {
			if _, err := b.Open("a", wrong); !errors.Is(err, ErrForged) {
				t.Errorf("%q opens: %v", wrong, err)
			}
		}
		if _, err := b.Open("b", sealed); !errors.Is(err, ErrForged) {
			t.Errorf("it opens for another name: %v", err)
		}
		if _, err := NewBox(NewKey()).Open("a", sealed); !errors.Is(err, ErrForged) {
			t.Errorf("it opens with another key: %v", err)
		}
	}
}
