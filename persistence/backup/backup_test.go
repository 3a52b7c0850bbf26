package backup

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/memstore"
)

// written is the backup of a store with a thousand entities.
func written(t *testing.T) []byte {
	t.Helper()
	s := memstore.New(memstore.Options{Schedule: func(step func()) { step() }})
	for i := range 1000 {
		s.Commit(&persistence.Commit{
			Entity: persistence.Entity{Kind: "k", ID: strconv.Itoa(i)}, ID: "c", Events: []byte(fmt.Sprint("event ", i)),
		}, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	var b bytes.Buffer
	if err := Write(t.Context(), &b, s, time.UnixMilli(1_000_000)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBackup(t *testing.T) {
	head, err := Check(bytes.NewReader(written(t)))
	if err != nil || head.GetTimeMs() != 1_000_000 || head.GetEpoch() == "" {
		t.Fatalf("head %v, %v", head, err)
	}
	parts := 0
	for p, err := range Read(bytes.NewReader(written(t))) {
		if err != nil || p == nil {
			t.Fatal(err)
		}
		parts++
	}
	if parts != 2001 {
		t.Fatalf("%d parts", parts)
	}
}

// TestDamagedBackups cuts a backup off everywhere and changes each of its bytes,
// also behind the back of the compression.
func TestDamagedBackups(t *testing.T) {
	whole := written(t)
	zip, err := gzip.NewReader(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	mustFail := func(b []byte, what string, at int) {
		t.Helper()
		if _, err := Check(bytes.NewReader(b)); !errors.Is(err, ErrDamaged) && !errors.Is(err, persistence.ErrTooNew) {
			t.Fatalf("%s at %d: %v", what, at, err)
		}
	}
	for at := 0; at < len(whole); at += 397 {
		mustFail(whole[:at], "cut", at)
	}
	for at := 0; at < len(plain); at += 311 {
		for _, changed := range [][]byte{plain[:at], append(append(bytes.Clone(plain[:at]), plain[at]^1), plain[at+1:]...)} {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			if _, err := w.Write(changed); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			mustFail(b.Bytes(), "changed", at)
		}
	}
}
