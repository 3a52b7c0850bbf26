package actors_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/archive"
	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/backup"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
)

// TestArchive moves old transactions away, twice: nothing is lost, the books
// still agree with the list, and what stands for others leads to them.
func TestArchive(t *testing.T) {
	w := newWorld(t)
	grant := func(n int) {
		for i := range n {
			w.must("cloud-operator/grant-credit", "olga", &marketplacev1.GrantCreditRequest{UserId: "alice", Amount: int64(1 + i)}, &marketplacev1.GrantCreditResponse{})
		}
	}
	w.node(7)
	rules := actors.Lists()
	for i := range rules {
		rules[i].Keep = 5
	}
	folder := filepath.Join(t.TempDir(), "archive")
	grant(20)
	if moved, err := archive.Run(t.Context(), w.store, rules, folder, w.domain.Now().Add(time.Hour)); err != nil || moved.File != "" {
		t.Fatalf("what is new was moved: %+v, %v", moved, err)
	}
	w.domain.Advance(400 * 24 * time.Hour)
	grant(3)
	first, err := archive.Run(t.Context(), w.store, rules, folder, w.domain.Now())
	if err != nil || first.Lists != 1 || first.Items != 18 {
		t.Fatalf("moved %+v, %v", first, err)
	}
	w.domain.Advance(400 * 24 * time.Hour)
	grant(1)
	second, err := archive.Run(t.Context(), w.store, rules, folder, w.domain.Now())
	if err != nil || second.Items != 2 { // what stands for 18, and one more
		t.Fatalf("moved %+v, %v", second, err)
	}
	items, err := w.store.Since(t.Context(), persistence.Entity{Kind: "user", ID: "alice"}, "transactions", 0, 0, 100)
	if err != nil || len(items) != 6 {
		t.Fatalf("%d items are left, %v", len(items), err)
	}
	leads(t, items[0].Data, second.File, 2)
	var parts []*backupv1.Part
	if err := w.store.Dump(t.Context(), func(p *backupv1.Part) error {
		parts = append(parts, proto.CloneOf(p))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if faults := audited(t, parts); len(faults) > 0 {
		t.Errorf("the audit found %v", faults)
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 2 {
		t.Errorf("the folder has %v, %v", left, err)
	}
}

// leads follows what stands for others to their file.
func leads(t *testing.T, data []byte, file string, want int) {
	t.Helper()
	stands := &marketplacev1.Transaction{}
	if err := proto.Unmarshal(data, stands); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var found []persistence.ListItem
	for p, err := range backup.Read(f) {
		if err != nil {
			t.Fatal(err)
		}
		if p.GetItems() != nil {
			found = append(found, codec.ItemsOf(p.GetItems())...)
		}
	}
	if note := fmt.Sprintf("%d transactions, kept in %s with SHA-256 %s", want, filepath.Base(file), archive.Sum(found)); stands.GetNote() != note {
		t.Errorf("what stands for others says %q, not %q", stands.GetNote(), note)
	}
	sum := int64(0)
	for _, i := range found {
		one := &marketplacev1.Transaction{}
		if err := proto.Unmarshal(i.Data, one); err != nil {
			t.Fatal(err)
		}
		sum += one.GetAmount()
	}
	if len(found) != want || stands.GetAmount() != sum || !strings.HasPrefix(stands.GetTransactionId(), "archive-") {
		t.Errorf("%v stands for %d items of %d", stands, len(found), sum)
	}
}
