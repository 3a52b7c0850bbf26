package main

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// sound is a schema that breaks no rule; the tests break one at a time.
const sound = `syntax = "proto3";
package marketplace.v1;
import "buf/validate/validate.proto";
import "google/protobuf/descriptor.proto";
import "marketplace/options/v1/options.proto";
option go_package = "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1;marketplacev1";

// MachineService is for machines.
service MachineService {
  option (marketplace.options.v1.service) = {path: "cloud-user" roles: [ROLE_CLOUD_USER] actor: "machine"};
  // Start starts a machine.
  rpc Start(StartRequest) returns (StartResponse) {
    option (marketplace.options.v1.method) = {field: "machine_id"};
  }
  // Show shows a machine.
  rpc Show(ShowRequest) returns (ShowResponse) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (marketplace.options.v1.method) = {caller: true creates: true};
  }
  // Watch tells of a machine.
  rpc Watch(WatchRequest) returns (stream WatchResponse) {
    option (marketplace.options.v1.method) = {singleton: "all" stream: STREAM_STATE};
  }
}

// MachineTaskService is for actors.
service MachineTaskService {
  option (marketplace.options.v1.service) = {internal: true actor: "machine"};
  // Check checks a machine.
  rpc Check(CheckRequest) returns (CheckResponse) {
    option (marketplace.options.v1.method) = {field: "machine_id"};
  }
}

// ConnectionService is for connections.
service ConnectionService {
  option (marketplace.options.v1.service) = {path: "connection" session: true};
  // Open opens.
  rpc Open(OpenRequest) returns (OpenResponse);
}

// StartRequest names a machine.
message StartRequest {
  // Which machine.
  string machine_id = 1;
  // How often.
  uint32 times = 2 [(buf.validate.field).uint32.lte = 3];
  // Who says so.
  repeated string names = 3;
}
// StartResponse is the answer.
message StartResponse {}
// ShowRequest is a question.
message ShowRequest {}
// ShowResponse is the answer.
message ShowResponse {
  // How it is.
  Mood mood = 1;
}
// WatchRequest is a question.
message WatchRequest {}
// WatchResponse is the answer.
message WatchResponse {}
// CheckRequest names a machine.
message CheckRequest {
  // Which machine.
  string machine_id = 1;
}
// CheckResponse is the answer.
message CheckResponse {}
// OpenRequest is a question.
message OpenRequest {}
// OpenResponse is the answer.
message OpenResponse {}

// Mood is how a machine is.
enum Mood {
  // Nobody knows.
  MOOD_UNSPECIFIED = 0;
}

// ErrorReason is why.
enum ErrorReason {
  // Never sent.
  ERROR_REASON_UNSPECIFIED = 0;
  // Nothing here.
  ERROR_REASON_GONE = 1 [(marketplace.options.v1.reason) = {code: NOT_FOUND http_status: 404}];
}
`

// module returns a module with this schema and the real options.
func module(t *testing.T, proto string) fstest.MapFS {
	t.Helper()
	options, err := os.ReadFile("../../messages/marketplace/options/v1/options.proto")
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{
		"messages/marketplace/options/v1/options.proto": {Data: options},
		"messages/marketplace/v1/a.proto":               {Data: []byte(proto)},
		prefaceFile:                                     {Data: []byte("# Protocol\n\n| 4500 | the token has expired | with a new token |\n")},
	}
}

func TestSoundSchemaIsTaken(t *testing.T) {
	files, err := generate(t.Context(), module(t, sound))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 8 {
		t.Errorf("generated %d files, want the Go types of two, two tables, the manual, two documents and the types of TypeScript", len(files))
	}
}

// TestRefusals breaks the sound schema at one place each and expects one sentence
// for each rpc at fault.
func TestRefusals(t *testing.T) {
	const (
		start = "rpc MachineService.Start: (marketplace.options.v1.method)"
		show  = "rpc MachineService.Show: (marketplace.options.v1.method)"
		watch = "rpc MachineService.Watch: (marketplace.options.v1.method)"
		check = "rpc MachineTaskService.Check: (marketplace.options.v1.method)"
		open  = "rpc ConnectionService.Open: (marketplace.options.v1.method)"
	)
	for _, c := range []struct{ name, old, new, want string }{
		{"no role", "roles: [ROLE_CLOUD_USER] actor", "actor", strings.Join([]string{
			start + ".roles must say who may call it, here or for the whole service",
			show + ".roles must say who may call it, here or for the whole service",
			watch + ".roles must say who may call it, here or for the whole service",
		}, "\n")},
		{"role nobody has", `{field: "machine_id"};
  }
  // Show`, `{field: "machine_id" roles: [ROLE_UNSPECIFIED]};
  }
  // Show`, start + ".roles must not hold ROLE_UNSPECIFIED"},
		{"no key", `{caller: true creates: true}`, `{creates: true}`, show + ".key must say which actor answers: caller, field, new or singleton"},
		{"key switched off", `{caller: true creates: true}`, `{caller: false}`, show + ".key must say which actor answers: caller, field, new or singleton"},
		{"key that does not exist", "string machine_id = 1;\n  // How", "string id = 1;\n  // How", start + `.field names "machine_id", which StartRequest does not have`},
		{"key that is no string", "string machine_id = 1;\n  // How", "uint32 machine_id = 1;\n  // How", start + ".field names StartRequest.machine_id, which is not a string"},
		{"key that is a list", "string machine_id = 1;\n  // How", "repeated string machine_id = 1;\n  // How", start + ".field names StartRequest.machine_id, which is not a string"},
		{"singleton without a name", `singleton: "all"`, `singleton: ""`, watch + ".singleton must be the name of the actor"},
		{"new without creates", "{field: \"machine_id\"};\n  }\n  // Show", "{new: true};\n  }\n  // Show", start + ".new names an actor that never was, and so needs creates"},
		{"new for a read", "{caller: true creates: true}", "{new: true creates: true}", show + ".new is derived from a command id, which only a command has"},
		{"stream without a promise", ` stream: STREAM_STATE`, ``, watch + ".stream must be STREAM_STATE or STREAM_EVENT, for the rpc returns a stream"},
		{"promise without a stream", `(stream WatchResponse)`, `(WatchResponse)`, watch + ".stream must not be set, for the rpc returns no stream"},
		{"stream of requests", `Start(StartRequest)`, `Start(stream StartRequest)`, "rpc MachineService.Start: stream of requests is not something that the protocol has"},
		{"EVENT stream without a list", "STREAM_STATE", "STREAM_EVENT", watch + ".list must name the list that keeps the items of an EVENT stream"},
		{"STATE stream with a list", "STREAM_STATE", `STREAM_STATE list: "x"`, watch + ".list must not be set on a STATE stream, which shows a view"},
		{"command with a list", "{field: \"machine_id\"};\n  }\n  // Show", "{field: \"machine_id\" list: \"x\"};\n  }\n  // Show", start + ".list must not be set on a command; a read that pages a list is NO_SIDE_EFFECTS"},
		{"name taken", `{caller: true creates: true}`, `{caller: true name: "start"}`, "rpc MachineService.Start: (marketplace.options.v1.method).name cloud-user/start is that of marketplace.v1.MachineService.Show already"},
		{"name not in kebab case", `{caller: true creates: true}`, `{caller: true name: "Show"}`, show + `.name must be a name in kebab case, not "Show"`},
		{"request shared", "Watch(WatchRequest)", "Watch(ShowRequest)", "rpc MachineService.Watch: request marketplace.v1.ShowRequest is that of marketplace.v1.MachineService.Show already"},
		{"response shared", "stream WatchResponse", "stream ShowResponse", "rpc MachineService.Watch: response marketplace.v1.ShowResponse is that of marketplace.v1.MachineService.Show already"},
		{"request as response", "stream WatchResponse", "stream WatchRequest", "rpc MachineService.Watch: response marketplace.v1.WatchRequest is that of marketplace.v1.MachineService.Watch already"},
		{"internal with a path", `{internal: true`, `{internal: true path: "x"`, "service MachineTaskService: (marketplace.options.v1.service).path must not be set on an internal service, which has no name on the wire"},
		{"internal with roles", `{internal: true`, `{internal: true roles: [ROLE_CLOUD_USER]`, "service MachineTaskService: (marketplace.options.v1.service).roles must not be set on an internal service, which nobody has a role for"},
		{"internal method with roles", "{field: \"machine_id\"};\n  }\n}\n\n// Conn", "{field: \"machine_id\" roles: [ROLE_CLOUD_USER]};\n  }\n}\n\n// Conn", check + ".roles must not be set in an internal service, which nobody has a role for"},
		{"internal method with a name", "{field: \"machine_id\"};\n  }\n}\n\n// Conn", "{field: \"machine_id\" name: \"x\"};\n  }\n}\n\n// Conn", check + ".name must not be set in an internal service, which has no names on the wire"},
		{"internal without an actor", `{internal: true actor: "machine"}`, `{internal: true}`, check + ".actor must say which kind of actor answers, here or for the whole service"},
		{"internal session", `session: true}`, `session: true internal: true}`, "service ConnectionService: (marketplace.options.v1.service).internal contradicts session: a session answers people"},
		{"no path", `{path: "connection" `, `{`, `service ConnectionService: (marketplace.options.v1.service).path must be a name in kebab case, not ""`},
		{"session with an actor", `session: true}`, `session: true actor: "machine"}`, "service ConnectionService: (marketplace.options.v1.service).actor must not be set where the session answers"},
		{"session with a key", `(OpenResponse);`, `(OpenResponse) { option (marketplace.options.v1.method) = {caller: true}; }`, open + ".caller must not be set where the session answers"},
		{"session that creates", `(OpenResponse);`, `(OpenResponse) { option (marketplace.options.v1.method) = {creates: true}; }`, open + ".creates must not be set where the session answers"},
		{"no service option", `option (marketplace.options.v1.service) = {path: "connection" session: true};`, ``, "service ConnectionService: (marketplace.options.v1.service) is missing"},
		{"two of a kind", "Check(CheckRequest)", "Start(CheckRequest)", "rpc MachineService.Start: (marketplace.options.v1.method).actor machine.Start is that of marketplace.v1.MachineTaskService.Start already"},
		{"service without a comment", "// MachineService is for machines.", "", "service marketplace.v1.MachineService has no comment"},
		{"rpc without a comment", "// Start starts a machine.", "", "rpc marketplace.v1.MachineService.Start has no comment"},
		{"message without a comment", "// StartRequest names a machine.", "", "message marketplace.v1.StartRequest has no comment"},
		{"field without a comment", "// How often.", "", "field marketplace.v1.StartRequest.times has no comment"},
		{"enum without a comment", "// Mood is how a machine is.", "", "enum marketplace.v1.Mood has no comment"},
		{"value without a comment", "// Nobody knows.", "", "enum value marketplace.v1.MOOD_UNSPECIFIED has no comment"},
		{"reason without a rule", "[(marketplace.options.v1.reason) = {code: NOT_FOUND http_status: 404}]", "", "enum value ERROR_REASON_GONE: (marketplace.options.v1.reason) is missing"},
		{"reason without a status", "http_status: 404", "", "enum value ERROR_REASON_GONE: (marketplace.options.v1.reason) must have the code and the HTTP status of an error"},
		{"rule without words", "[(buf.validate.field).uint32.lte = 3];\n  // Who says so.\n  repeated string names = 3", ";\n  // Who says so.\n  string names = 3 [(buf.validate.field).string.pattern = \"x\"]", "field marketplace.v1.StartRequest.names: the rule buf.validate.StringRules.pattern has no words for people; use a cel rule with a message"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(sound, c.old) != 1 {
				t.Fatalf("%q is %d times in the sound schema", c.old, strings.Count(sound, c.old))
			}
			const file = "marketplace/v1/a.proto: "
			want := file + strings.ReplaceAll(c.want, "\n", "\n"+file)
			_, err := generate(t.Context(), module(t, strings.Replace(sound, c.old, c.new, 1)))
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}
