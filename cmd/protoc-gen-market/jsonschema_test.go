package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// described generates from the sound schema with one field more in what is
// sent, and returns the document.
func described(t *testing.T, fields, file string) map[string]any {
	t.Helper()
	const last = "  repeated string names = 3;\n"
	proto := strings.Replace(sound, last, last+fields, 1)
	proto = strings.Replace(proto, `import "google/protobuf/descriptor.proto";`, `import "google/protobuf/descriptor.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";`, 1)
	files, err := generate(t.Context(), module(t, proto))
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := json.Unmarshal(files[file], &document); err != nil {
		t.Fatal(err)
	}
	return document
}

// at walks into a document.
func at(t *testing.T, document any, path ...string) any {
	t.Helper()
	for _, name := range path {
		members, ok := document.(map[string]any)
		if !ok || members[name] == nil {
			t.Fatalf("there is no %s of %v", name, path)
		}
		document = members[name]
	}
	return document
}

// TestFieldsInJSONSchema says how each kind of field and rule is told.
func TestFieldsInJSONSchema(t *testing.T) {
	cases := []struct {
		field, want string
		required    bool
	}{
		{"string x = 4;", `{"type":"string"}`, false},
		{"string x = 4 [(buf.validate.field).string = {min_len: 1, max_len: 5}];", `{"maxLength":5,"minLength":1,"type":"string"}`, true},
		{"optional string x = 4 [(buf.validate.field).string.min_len = 1];", `{"minLength":1,"type":"string"}`, false},
		{"string x = 4 [(buf.validate.field).string.uuid = true];", `{"format":"uuid","type":"string"}`, false},
		{`string x = 4 [(buf.validate.field).cel = {id: "x", message: "must be a", expression: "this.matches('^a$')"}];`, `{"pattern":"^a$","type":"string"}`, true},
		{`string x = 4 [(buf.validate.field).cel = {id: "x", message: "must be a", expression: "this.matches('^a?$')"}];`, `{"pattern":"^a?$","type":"string"}`, false},
		{`string x = 4 [(buf.validate.field).string = {in: ["a", "b"]}];`, `{"enum":["a","b"],"type":"string"}`, false},
		{"uint32 x = 4 [(buf.validate.field).uint32 = {gte: 1, lt: 9}];", `{"exclusiveMaximum":9,"maximum":4294967295,"minimum":1,"type":"integer"}`, true},
		{"int32 x = 4 [(buf.validate.field).int32.gt = 0];", `{"exclusiveMinimum":0,"format":"int32","type":"integer"}`, true},
		{"int64 x = 4 [(buf.validate.field).int64 = {gte: 1, lte: 9007199254740993}];", `{"format":"int64","pattern":"^-?[0-9]+$","type":"string","x-maximum":"9007199254740993","x-minimum":"1"}`, true},
		{"uint64 x = 4;", `{"format":"uint64","pattern":"^[0-9]+$","type":"string"}`, false},
		{"bool x = 4;", `{"type":"boolean"}`, false},
		{"double x = 4;", `{"format":"double","type":"number"}`, false},
		{"bytes x = 4;", `{"contentEncoding":"base64","type":"string"}`, false},
		{"Mood x = 4;", `{"allOf":[{"$ref":"#/components/schemas/Mood"}]}`, false},
		{"repeated Mood x = 4;", `{"items":{"$ref":"#/components/schemas/Mood"},"type":"array"}`, false},
		{"repeated string x = 4 [(buf.validate.field).repeated = {min_items: 1, max_items: 3, unique: true, items: {string: {max_len: 2}}}];", `{"items":{"maxLength":2,"type":"string"},"maxItems":3,"minItems":1,"type":"array","uniqueItems":true}`, true},
		{"map<string, uint32> x = 4 [(buf.validate.field).map.max_pairs = 2];", `{"additionalProperties":{"maximum":4294967295,"minimum":0,"type":"integer"},"maxProperties":2,"type":"object"}`, false},
		{"google.protobuf.Timestamp x = 4 [(buf.validate.field).required = true];", `{"format":"date-time","type":"string"}`, true},
		{"google.protobuf.Duration x = 4;", `{"pattern":"^-?[0-9]+(\\.[0-9]{1,9})?s$","type":"string"}`, false},
	}
	var fields strings.Builder
	for i, c := range cases {
		fmt.Fprintf(&fields, "  // What it is.\n  %s\n", strings.Replace(c.field, " x = 4", fmt.Sprintf(" x%d = %d", i, i+4), 1))
	}
	schema := at(t, described(t, fields.String(), openAPIFile), "components", "schemas", "StartRequest")
	required, ok := at(t, schema, "required").([]any)
	if !ok {
		t.Fatal("nothing is required")
	}
	for i, c := range cases {
		name := fmt.Sprintf("x%d", i)
		x, ok := at(t, schema, "properties", name).(map[string]any)
		if description, _ := x["description"].(string); !ok || !strings.HasPrefix(description, "What it is.") {
			t.Errorf("%s: the description is %q", c.field, description)
		}
		delete(x, "description")
		if got, err := plainJSON(x); err != nil || string(got) != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.field, got, c.want)
		}
		if is := slices.Contains(required, any(name)); is != c.required {
			t.Errorf("%s: it is required: %t", c.field, is)
		}
	}
}

// TestEnumsMayBeNarrowed leaves out what rules refuse.
func TestEnumsMayBeNarrowed(t *testing.T) {
	schemas := at(t, described(t, "  // How it shall be.\n  Mood mood = 4 [(buf.validate.field).enum = {defined_only: true, not_in: [0]}];\n", openAPIFile), "components", "schemas")
	if values, there := at(t, schemas, "StartRequest", "properties", "mood").(map[string]any)["enum"]; !there || values != nil && len(values.([]any)) != 0 {
		t.Errorf("the values are %v", values)
	}
	if required, ok := at(t, schemas, "StartRequest", "required").([]any); !ok || required[0] != "mood" {
		t.Errorf("required are %v", required)
	}
}

// TestWhoSaysItMatters tells what is sent from what is heard.
func TestWhoSaysItMatters(t *testing.T) {
	schemas := at(t, described(t, "", openAPIFile), "components", "schemas")
	if at(t, schemas, "StartRequest", "additionalProperties") != false {
		t.Error("what is sent may have unknown fields")
	}
	heard, ok := at(t, schemas, "ShowResponse").(map[string]any)
	if _, closed := heard["additionalProperties"]; !ok || closed {
		t.Error("what is heard may not grow")
	}
	if required, ok := heard["required"].([]any); !ok || len(required) != 1 || required[0] != "mood" {
		t.Errorf("what is heard must have %v", required)
	}
}

// TestDocumentsHoldWhatIsOffered looks for what clients of either door need.
func TestDocumentsHoldWhatIsOffered(t *testing.T) {
	http := described(t, "", openAPIFile)
	at(t, http, "paths", "/api/cloud-user/start", "post", "requestBody")
	at(t, http, "paths", "/api/cloud-user/show", "get")
	at(t, http, "paths", "/api/cloud-user/watch", "get", "responses", "200", "content", "text/event-stream")
	at(t, http, "components", "responses", "Refused404", "content", "application/json", "examples", "GONE", "value")
	socket := described(t, "", asyncAPIFile)
	at(t, socket, "components", "messages", "cloud-user.start.request", "payload", "properties", "params")
	at(t, socket, "operations", "cloud-user.watch.push")
	at(t, socket, "components", "messages", "connection.open.answer")
	at(t, socket, "components", "schemas", "WatchRequest", "properties", "after")
	if codes, ok := at(t, socket, "channels", "socket", "x-close-codes").([]any); !ok || len(codes) != 1 || at(t, codes[0], "code") != 4500.0 {
		t.Errorf("the close codes are %v", codes)
	}
	for _, d := range []map[string]any{http, socket} {
		if text, err := plainJSON(d); err != nil || bytes.Contains(text, []byte("CheckRequest")) {
			t.Errorf("a document shows what is internal (%v)", err)
		}
	}
	if paths := at(t, http, "paths").(map[string]any); paths["/api/connection/open"] != nil {
		t.Error("HTTP offers what is about a connection")
	}
}

// TestPrefaceWithoutCloseCodes refuses to tell clients nothing.
func TestPrefaceWithoutCloseCodes(t *testing.T) {
	fsys := module(t, sound)
	fsys[prefaceFile].Data = []byte("# Protocol\n")
	if _, err := generate(t.Context(), fsys); err == nil || err.Error() != prefaceFile+": the table of close codes is missing" {
		t.Errorf("got %v", err)
	}
}
