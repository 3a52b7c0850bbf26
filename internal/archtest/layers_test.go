package archtest

// layer is one row of the dependency table: what the non-test files of some
// packages may import from this module and from outside the standard library.
// In all three, "x/..." means x and everything below it, and "*" anything.
type layer struct {
	packages string
	own      []string
	outside  []string
}

// Modules that more than one layer uses.
const (
	protobuf     = "google.golang.org/protobuf/..."
	rpcTypes     = "google.golang.org/genproto/googleapis/rpc/..." // google.rpc.Status and what belongs to it
	protoactor   = "github.com/asynkron/protoactor-go/..."
	watermill    = "github.com/ThreeDotsLabs/watermill/..."
	watermillMsg = "github.com/ThreeDotsLabs/watermill/message"
	websocket    = "github.com/coder/websocket/..."
	cobra        = "github.com/spf13/cobra"
)

// layers is the dependency table, from the bottom up. The first row that
// matches a package holds for it.
var layers = []layer{
	{"messages/...", []string{"messages/..."}, []string{protobuf, rpcTypes, "buf.build/go/protovalidate", "buf.build/gen/go/bufbuild/protovalidate/...", "github.com/google/uuid"}},
	{"configs", nil, []string{"github.com/knadh/koanf/...", "go.yaml.in/yaml/v3"}},
	{"internal/telemetry", nil, []string{"github.com/prometheus/...", "go.opentelemetry.io/..."}},
	{"internal/schedule", []string{"internal/pool"}, nil},
	{"internal/rig", []string{"client", "internal/clock"}, []string{"github.com/golang-jwt/jwt/v5"}},
	{"internal/faults", []string{"client", "messages/...", "internal/..."}, []string{protobuf}},
	{"internal/attacks", []string{"messages/...", "internal/clock", "internal/rig"}, []string{"github.com/golang-jwt/jwt/v5", websocket, protobuf}},
	{"internal/soak", []string{"client", "messages/...", "internal/clock", "internal/rig"}, []string{websocket}},
	{"internal/...", nil, nil},

	{"persistence", []string{"messages/...", "internal/..."}, []string{watermill}},
	{"persistence/backup", []string{"persistence", "persistence/codec", "messages/..."}, []string{protobuf}},
	{"persistence/codec", []string{"persistence", "messages/..."}, nil},
	{"persistence/redisstore", []string{"persistence", "persistence/codec", "messages/...", "internal/..."}, []string{"github.com/redis/go-redis/...", "github.com/hdt3213/rdb/..."}},
	{"persistence/boltstore", []string{"persistence", "persistence/codec", "messages/...", "internal/..."}, []string{"go.etcd.io/bbolt/..."}},
	{"persistence/memstore", []string{"persistence", "persistence/codec", "messages/...", "internal/..."}, nil},
	{"persistence/storetest", []string{"persistence", "messages/..."}, []string{watermill}},

	{"actors/engine", []string{"messages/...", "internal/..."}, []string{protoactor, "google.golang.org/grpc/...", protobuf, rpcTypes}},
	{"actors/entity", []string{"messages/...", "persistence", "actors/engine", "internal/..."}, []string{protoactor, protobuf, rpcTypes, "github.com/google/uuid"}},
	{"actors/ledger", []string{"messages/..."}, nil},
	{"actors/price", []string{"messages/..."}, nil},
	{"actors/capacity", []string{"messages/..."}, nil},
	{"actors/inbox", []string{"messages/...", "actors/engine", "persistence", "internal/..."}, []string{watermill, protobuf}},
	{"actors/readmodel", []string{"messages/...", "persistence"}, []string{watermillMsg, protobuf}},
	{"actors/catalogue", []string{"messages/...", "persistence", "actors/readmodel", "actors/price", "actors/capacity"}, []string{watermillMsg, protobuf}},
	{"actors/archive", []string{"messages/...", "persistence", "persistence/backup", "persistence/codec", "actors/entity"}, []string{protobuf}},
	{"actors/audit", []string{"messages/...", "persistence", "actors/entity", "actors/inbox", "actors/ledger"}, []string{protobuf}},
	{"actors/overview", []string{"messages/...", "persistence", "actors/readmodel", "internal/clock"}, []string{watermillMsg, protobuf}},
	{"actors", []string{"messages/...", "persistence", "actors/...", "internal/..."}, []string{protoactor, watermill, protobuf}},
	// Tests alone import it.
	{"actors/story", []string{"messages/...", "actors/entity"}, []string{protobuf, "github.com/cockroachdb/datadriven"}},
	// A kind never imports a kind.
	{kinds, []string{"messages/...", "actors/entity", "actors/ledger", "actors/price", "actors/capacity"}, []string{protobuf}},

	{"gateway/identity", []string{"messages/...", "internal/..."}, []string{
		"github.com/MicahParks/keyfunc/...", "github.com/golang-jwt/jwt/...", "github.com/coreos/go-oidc/...", "golang.org/x/oauth2/...", protobuf,
	}},
	{"gateway/...", []string{"messages/...", "internal/...", "gateway/..."}, []string{websocket, watermillMsg, protobuf, rpcTypes}},
	// An integration may use the SDK of what it integrates.
	{"integrations/...", []string{"messages/...", "internal/..."}, []string{"*"}},
	{"sandbox/...", []string{"internal/...", "messages/...", "sandbox/..."}, []string{"*"}},
	{"client", []string{"messages/..."}, []string{websocket, protobuf, rpcTypes}},
	{"web", nil, nil},
	{"docs/api", nil, nil},

	{"cmd/marketplace", []string{"*"}, []string{"*"}},
	{"cmd/marketctl", []string{"messages/...", "client"}, []string{cobra, protobuf, rpcTypes}},
	// The generator runs where the generated code is missing: it imports none of it.
	{"cmd/protoc-gen-market", nil, []string{
		"github.com/bufbuild/protocompile/...", protobuf, rpcTypes, "buf.build/gen/go/bufbuild/protovalidate/...",
	}},
}

// kinds is the row of the packages that decide. They are held to be pure.
const kinds = "actors/..."

// impure is what a kind does not import from the standard library: whatever
// knows of time passing, of the outside, of chance, or of others at work.
var impure = []string{
	"context", "crypto/rand", "database/...", "io/fs", "io/ioutil", "log/...", "math/rand/...", "net/...", "os/...", "plugin", "runtime/...", "sync/...", "syscall", "testing",
}

// clockReaders are the functions of package time that a kind does not call.
var clockReaders = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}
