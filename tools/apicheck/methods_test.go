package apicheck

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/threefoldtech/cloud-marketplace/gateway"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

// TestEveryMethodIsDescribed compares the documents with the route table, both ways.
func TestEveryMethodIsDescribed(t *testing.T) {
	http, socket := openAPI(t), asyncAPI(t)
	paths, operations := http.members("paths"), socket.members("operations")
	wantPaths := map[string]bool{"/api/methods": true}
	wantOperations := map[string]bool{"cancel-request": true, "session-expiring": true, "session-draining": true}
	for _, m := range messages.Methods {
		if m.Internal {
			continue
		}
		name := strings.ReplaceAll(m.Path, "/", ".")
		wantOperations[name] = true
		if m.Streams() {
			wantOperations[name+".push"] = true
		}
		if m.Session {
			continue
		}
		path := "/api/" + m.Path
		wantPaths[path] = true
		item := http.members("paths", path)
		if (item["post"] != nil) == m.Streams() || (item["get"] != nil) != (m.Streams() || m.ReadOnly) {
			t.Errorf("%s is described for other verbs than it has", path)
		}
		if parameters, _ := http.members("paths", path, "post")["parameters"].([]any); m.Command() != (len(parameters) == 1) {
			t.Errorf("%s: a command id is asked for where none is needed, or not where one is", path)
		}
	}
	same(t, "paths of OpenAPI", paths, wantPaths)
	same(t, "operations of AsyncAPI", operations, wantOperations)
}

// same compares names.
func same(t *testing.T, what string, got map[string]any, want map[string]bool) {
	t.Helper()
	for name := range got {
		if !want[name] {
			t.Errorf("the %s hold %s, which does not exist", what, name)
		}
	}
	for name := range want {
		if got[name] == nil {
			t.Errorf("the %s lack %s", what, name)
		}
	}
}

// TestRequiredIsWhatIsRefused compares what the documents require of a request
// with what the server refuses when nothing is sent.
func TestRequiredIsWhatIsRefused(t *testing.T) {
	d := asyncAPI(t)
	for _, m := range messages.Methods {
		if m.Internal {
			continue
		}
		name := string(m.Request().ProtoReflect().Descriptor().Name())
		required := []string{}
		list, _ := d.members("components", "schemas", name)["required"].([]any)
		for _, field := range list {
			required = append(required, field.(string))
		}
		refused := []string{}
		if e, ok := errors.AsType[*messages.Error](messages.Validate(m.Request())); ok {
			for _, v := range e.Fields {
				refused = append(refused, v.Field)
			}
		}
		slices.Sort(required)
		slices.Sort(refused)
		if !slices.Equal(required, slices.Compact(refused)) {
			t.Errorf("%s: required are %v, refused without them is it for %v", name, required, refused)
		}
	}
}

// TestCloseCodes compares the codes of the document with those of the gateway.
func TestCloseCodes(t *testing.T) {
	want := map[gateway.Code]bool{1002: true, 1009: true}
	for _, code := range []gateway.Code{
		gateway.CodeSlow, gateway.CodeNoPong, gateway.CodeDraining, gateway.CodePosition, gateway.CodeTooMany, gateway.CodeFault,
		gateway.CodeExpired, gateway.CodeForbidden, gateway.CodeReplaced, gateway.CodeSignedOut, gateway.CodeNotOpened, gateway.CodeProtocol,
	} {
		want[code] = true
	}
	list, _ := asyncAPI(t).members("channels", "socket")["x-close-codes"].([]any)
	for _, entry := range list {
		members, _ := entry.(map[string]any)
		n, err := members["code"].(interface{ Int64() (int64, error) }).Int64()
		if code := gateway.Code(n); err != nil || !want[code] {
			t.Errorf("the gateway does not close with %d (%v)", n, err)
		}
		delete(want, gateway.Code(n))
	}
	for code := range want {
		t.Errorf("the document lacks the close code %d", code)
	}
}
