package actors_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/audit"
	"github.com/threefoldtech/cloud-marketplace/actors/deployment"
	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence/codec"
	"github.com/threefoldtech/cloud-marketplace/persistence/memstore"
)

// played is what a seed left in its store.
func played(t *testing.T, seed uint64) []*backupv1.Part {
	t.Helper()
	s := play(seed, false, often)
	if len(s.wrong) > 0 {
		t.Fatalf("seed %d: %v", seed, s.wrong)
	}
	var parts []*backupv1.Part
	if err := s.store.Dump(t.Context(), func(p *backupv1.Part) error {
		parts = append(parts, proto.CloneOf(p))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return parts
}

// audited is what an audit finds in a store of these parts.
func audited(t *testing.T, parts []*backupv1.Part) []string {
	t.Helper()
	s := memstore.New(memstore.Options{Schedule: func(step func()) { step() }})
	for _, p := range parts {
		if err := s.Fill(p); err != nil {
			t.Fatal(err)
		}
	}
	r, err := audit.Verify(t.Context(), s, actors.Kinds(deployment.Terms{}))
	if err != nil {
		t.Fatal(err)
	}
	if r.Entities == 0 || r.Records == 0 || r.Items == 0 || r.Messages == 0 {
		t.Fatalf("the audit saw %+v", r)
	}
	return append(r.Faults, r.Halted...)
}

func TestAuditOfWhatIsSound(t *testing.T) {
	for seed := range uint64(10) {
		if faults := audited(t, played(t, seed+1)); len(faults) > 0 {
			t.Errorf("seed %d: %v", seed+1, faults)
		}
	}
}

// TestAuditMissesWakeUps takes the wake-ups away of what runs.
func TestAuditMissesWakeUps(t *testing.T) {
	w := newWorld(t)
	w.node(7)
	w.must("cloud-operator/grant-credit", "olga", &marketplacev1.GrantCreditRequest{UserId: "alice", Amount: 1_000_000_000}, &marketplacev1.GrantCreditResponse{})
	created := &marketplacev1.CreateDeploymentResponse{}
	w.must("cloud-user/create-deployment", "alice", &marketplacev1.CreateDeploymentRequest{
		Name: "web", Spec: spec, NodeId: 7, MaxHourlyPrice: 1_000_000,
	}, created)
	w.until(created.GetDeploymentId(), marketplacev1.DeploymentState_DEPLOYMENT_STATE_RUNNING)
	var parts []*backupv1.Part
	if err := w.store.Dump(t.Context(), func(p *backupv1.Part) error {
		if p.GetWake() == nil {
			parts = append(parts, proto.CloneOf(p))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	faults := audited(t, parts)
	if want := "deployment/" + created.GetDeploymentId() + " must be woken, and has no wake-up"; !slices.Contains(faults, want) {
		t.Errorf("the audit found %q, not %q", faults, want)
	}
}

// TestAuditNamesFaults spoils one thing at a time.
func TestAuditNamesFaults(t *testing.T) {
	parts := played(t, 1)
	// first applies a change to the first part that it fits.
	first := func(change func(*backupv1.Part) bool) func([]*backupv1.Part) []*backupv1.Part {
		return func(all []*backupv1.Part) []*backupv1.Part {
			if !slices.ContainsFunc(all, change) {
				t.Error("there is nothing to spoil")
			}
			return all
		}
	}
	without := func(drop func(*backupv1.Part) bool) func([]*backupv1.Part) []*backupv1.Part {
		return func(all []*backupv1.Part) []*backupv1.Part { return slices.DeleteFunc(all, drop) }
	}
	for name, c := range map[string]struct {
		spoil func([]*backupv1.Part) []*backupv1.Part
		want  string
	}{
		"a record is missing": {first(func(p *backupv1.Part) bool {
			n := len(p.GetRecords().GetEvents())
			if n > 1 {
				p.GetRecords().Events = p.GetRecords().GetEvents()[:n-1]
			}
			return n > 1
		}), "ends at"},
		"a record is garbage": {first(func(p *backupv1.Part) bool {
			n := len(p.GetRecords().GetEvents())
			if n > 0 {
				p.GetRecords().Events[n-1] = []byte{0xff}
			}
			return n > 0
		}), "journal of"},
		"a snapshot is changed": {first(func(p *backupv1.Part) bool {
			n := len(p.GetState().GetSnapshots())
			if n == 2 {
				p.GetState().GetSnapshots()[1].Data[10] ^= 1
			}
			return n == 2
		}), "snapshot"},
		"a transaction is missing": {first(func(p *backupv1.Part) bool {
			n := len(p.GetItems().GetItems())
			fits := p.GetItems().GetList() == "transactions" && n > 2
			if fits {
				p.GetItems().Items = slices.Delete(p.GetItems().GetItems(), 1, 2)
			}
			return fits
		}), "list transactions: transaction"},
		"all transactions are missing": {without(func(p *backupv1.Part) bool { return p.GetItems().GetList() == "transactions" }), "the transactions make 0"},
		"messages went unread": {func(all []*backupv1.Part) []*backupv1.Part {
			for _, p := range all {
				if m := p.GetMessages(); len(m.GetMessages()) > 3 {
					m.Messages = m.GetMessages()[3:]
				}
			}
			return append(all, codec.Group("node.changed", "g", 1))
		}, "and group g has read up to 1"},
		"a transaction is larger": {first(func(p *backupv1.Part) bool {
			n := len(p.GetItems().GetItems())
			fits := p.GetItems().GetList() == "transactions" && n > 0
			if fits {
				last, row := p.GetItems().GetItems()[n-1], &marketplacev1.Transaction{}
				if err := proto.Unmarshal(last.GetData(), row); err != nil {
					t.Fatal(err)
				}
				row.Amount, row.CreditAfter = row.GetAmount()+1, row.GetCreditAfter()+1
				last.Data, _ = proto.Marshal(row)
			}
			return fits
		}), "the transactions make"},
		"an item is of the future": {first(func(p *backupv1.Part) bool {
			n := len(p.GetItems().GetItems())
			if n > 0 {
				p.GetItems().GetItems()[n-1].Version = 1_000_000
			}
			return n > 0
		}), "has an item of version 1000000"},
		"an item is garbage": {first(func(p *backupv1.Part) bool {
			n := len(p.GetItems().GetItems())
			if n > 0 {
				p.GetItems().GetItems()[0].Data = []byte{0xff}
			}
			return n > 0
		}), "item"},
		"a message is missing": {first(func(p *backupv1.Part) bool {
			n := len(p.GetMessages().GetMessages())
			if n > 2 {
				p.GetMessages().Messages = slices.Delete(p.GetMessages().GetMessages(), 1, 2)
			}
			return n > 2
		}), "goes from"},
		"a group is ahead": {func(all []*backupv1.Part) []*backupv1.Part {
			return append(all, codec.Group("node.changed", "g", 1_000_000))
		}, "group g stands at"},
		"a deployment is missing": {without(func(p *backupv1.Part) bool {
			return p.GetState().GetKind() == "deployment" || p.GetRecords().GetKind() == "deployment"
		}), "which is not there"},
		"a node is of another kind": {func(all []*backupv1.Part) []*backupv1.Part {
			for _, p := range all {
				switch {
				case p.GetState().GetKind() == "node":
					p.GetState().Kind = "ghost"
				case p.GetRecords().GetKind() == "node":
					p.GetRecords().Kind = "ghost"
				}
			}
			return all
		}, "of a kind that this program does not know"},
		"an entity is halted": {first(func(p *backupv1.Part) bool {
			if p.GetState() != nil {
				p.GetState().Halted = "it went back"
				return true
			}
			return false
		}), "is halted: it went back"},
	} {
		t.Run(name, func(t *testing.T) {
			copied := make([]*backupv1.Part, len(parts))
			for i, p := range parts {
				copied[i] = proto.CloneOf(p)
			}
			faults := audited(t, c.spoil(copied))
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("the audit found %q, not %q", faults, c.want)
			}
		})
	}
}
