package actors_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/actors"
	"github.com/threefoldtech/cloud-marketplace/actors/deployment"
	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/persistence"
)

var record = flag.String("record", "", "write a golden file of this version's name, from the simulation")

// golden is an entity as some version of the program stored it, and what it
// then took it for.
type golden struct {
	Kind      string          `json:"kind"`
	ID        string          `json:"id"`
	Version   uint64          `json:"version"`
	Snapshots []goldenData    `json:"snapshots"`
	Journal   []goldenData    `json:"journal"`
	State     json.RawMessage `json:"state"`
}

type goldenData struct {
	Version uint64 `json:"version"`
	Data    []byte `json:"data"`
}

// loaded is what a store would load.
func (g *golden) loaded() persistence.Loaded {
	l := persistence.Loaded{Version: g.Version}
	for _, d := range g.Snapshots {
		l.Snapshots = append(l.Snapshots, persistence.Snapshot(d))
	}
	for _, d := range g.Journal {
		l.Tail = append(l.Tail, persistence.Record{Version: d.Version, Events: d.Data})
	}
	return l
}

// TestGolden loads what earlier versions stored: every journal and snapshot must
// still lead to the state that it led to then.
func TestGolden(t *testing.T) {
	if *record != "" {
		recordGolden(t, *record)
	}
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no golden files: %v", err)
	}
	kinds := map[string]*entity.Kind{}
	for _, k := range actors.Kinds(deployment.Terms{}) {
		kinds[k.Name] = k
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var all []golden
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		for _, g := range all {
			state, err := entity.Replay(kinds[g.Kind], g.ID, g.loaded())
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			want := state.ProtoReflect().New().Interface()
			if err := protojson.Unmarshal(g.State, want); err != nil {
				t.Errorf("%s: the state of %s/%s cannot be read any more: %v", file, g.Kind, g.ID, err)
			}
			if got := compact(t, state); !bytes.Equal(got, compact(t, want)) {
				t.Errorf("%s: %s/%s leads to another state now:\n%s\n%s", file, g.Kind, g.ID, got, g.State)
			}
		}
	}
}

// recordGolden plays a seed, with snapshots and without, and keeps what is stored at its end.
func recordGolden(t *testing.T, version string) {
	var all []golden
	for _, s := range []*simulation{play(3, false, often), play(3, false, never)} {
		all = append(all, s.golden(t)...)
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata/golden", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata/golden", version+".json"), append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// golden returns some entities of every kind as the store has them.
func (s *simulation) golden(t *testing.T) []golden {
	var all []golden
	for _, kind := range []string{"broadcast", "deployment", "node", "user"} {
		refs, _, err := s.store.Entities(t.Context(), kind, "", 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, ref := range refs {
			l, err := s.store.Load(t.Context(), ref.Entity)
			if err != nil {
				t.Fatal(err)
			}
			state, err := entity.Replay(s.kinds[kind], ref.Entity.ID, l)
			if err != nil {
				t.Fatal(err)
			}
			g := golden{Kind: kind, ID: ref.Entity.ID, Version: l.Version, State: compact(t, state)}
			for _, v := range l.Snapshots {
				g.Snapshots = append(g.Snapshots, goldenData(v))
			}
			for _, r := range l.Tail {
				g.Journal = append(g.Journal, goldenData{Version: r.Version, Data: r.Events})
			}
			all = append(all, g)
		}
	}
	return all
}

// compact spells a state in the one way that can be compared.
func compact(t *testing.T, m proto.Message) []byte {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
