package messages

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

func TestCheckTakesTheSchema(t *testing.T) {
	if err := Check(); err != nil {
		t.Error(err)
	}
}

// TestCheckRefuses breaks one row at a time and expects one sentence.
func TestCheckRefuses(t *testing.T) {
	const (
		command  = "cloud-user/cancel-deployment"
		creation = "cloud-user/create-deployment"
		read     = "cloud-user/deployment-detail"
		state    = "cloud-user/watch-deployment"
		event    = "cloud-user/watch-notifications"
		list     = "cloud-user/list-transactions"
		session  = "session/get"
	)
	for _, c := range []struct {
		name, path string
		spoil      func(*Method)
		want       string
	}{
		{"unknown rpc", command, func(m *Method) { m.Name = "marketplace.v1.Nobody" }, "the schema has no such rpc"},
		{"no request", command, func(m *Method) { m.Request = nil }, "the request is not that of the schema"},
		{"nil response", command, func(m *Method) { m.Response = func() proto.Message { return nil } }, "the response is not that of the schema"},
		{"another request", command, func(m *Method) { m.Request = ByPath(creation).Request }, "the request is not that of the schema"},
		{"no role", command, func(m *Method) { m.Roles = nil }, "nobody may call it: it has no role"},
		{"nobody's role", command, func(m *Method) { m.Roles = []optionsv1.Role{0} }, "ROLE_UNSPECIFIED is nobody's role"},
		{"no actor", command, func(m *Method) { m.Actor = "" }, "nobody answers it: it has no actor"},
		{"no path", command, func(m *Method) { m.Path = "" }, "the name on the wire is not a path and a method"},
		{"internal with a path", command, func(m *Method) { m.Internal = true }, "an internal method has no name on the wire and no roles"},
		{"no key", command, func(m *Method) { m.Key = KeyNone }, "nobody can tell which actor answers it: it has no key"},
		{"key that is no field", command, func(m *Method) { m.KeyName = "nothing" }, `the key "nothing" is not a field of the request`},
		{"key that is no string", creation, func(m *Method) { m.Key, m.KeyName = KeyField, "spec" }, `the key "spec" is not a string`},
		{"singleton without a name", command, func(m *Method) { m.Key, m.KeyName = KeySingleton, "" }, "the singleton's name is no possible id"},
		{"new without creates", creation, func(m *Method) { m.Creates = false }, "an actor under a new key never was, and creates is not set"},
		{"new read", creation, func(m *Method) { m.ReadOnly = true }, "a new key is derived from a command id, which only a command has"},
		{"session with an actor", session, func(m *Method) { m.Actor = "user" }, "the session answers it, not an actor"},
		{"stream without a promise", state, func(m *Method) { m.Stream = 0 }, "it is a stream and does not say what it promises"},
		{"promise without a stream", read, func(m *Method) { m.Stream = optionsv1.Stream_STREAM_STATE }, "it is no stream and promises what one does"},
		{"EVENT without a list", event, func(m *Method) { m.List = "" }, "an EVENT stream needs a list that keeps its items"},
		{"STATE with a list", state, func(m *Method) { m.List = "steps" }, "a STATE stream shows a view, not a list"},
		{"list that is not in the answer", list, func(m *Method) { m.List = "nope" }, `the list "nope" is not a repeated message of the response`},
		{"audience that nobody looks at", "cloud-operator/live-broadcasts", func(m *Method) { m.Roles = ByPath(read).Roles }, "nobody looks at the audience in marketplace.v1.ListLiveBroadcastsResponse.broadcasts"},
		{"command with a list", command, func(m *Method) { m.List = "steps" }, "a command pages no list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := *ByPath(c.path)
			c.spoil(&m)
			err := checkTable([]*Method{&m})
			if err == nil || err.Error() != m.Name+": "+c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestCheckRefusesTwoOfOneName(t *testing.T) {
	a, b := *ByPath("cloud-user/cancel-deployment"), *ByPath("cloud-user/deployment-detail")
	b.Path = a.Path
	err := checkTable([]*Method{&a, &b})
	if err == nil || err.Error() != b.Name+": "+a.Path+" is that of "+a.Name+" already" {
		t.Errorf("got %v", err)
	}
}

func TestCheckMissesARow(t *testing.T) {
	gone := ByPath("cloud-user/cancel-deployment")
	err := checkComplete(slices.DeleteFunc(slices.Clone(Methods), func(m *Method) bool { return m == gone }))
	if err == nil || !strings.Contains(err.Error(), gone.Name) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}
