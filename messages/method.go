package messages

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// Key is where the id of the actor that answers a method comes from.
type Key uint8

// The sources of an actor's id.
const (
	KeyNone      Key = iota // no actor: the gateway's session answers
	KeyCaller               // the caller's subject
	KeyField                // a field of the request
	KeyNew                  // derived from the caller's subject and the command id
	KeySingleton            // always the same
)

// Method is one row of the route table, made by the generator from the
// options of an rpc.
type Method struct {
	Name     string           // full protobuf name
	Path     string           // name on the wire; empty for internal methods
	Comment  string           // the rpc's comment in the schema
	Roles    []optionsv1.Role // who may call; one is enough
	Actor    string           // kind of the actor that answers
	Key      Key              // where the actor's id comes from
	KeyName  string           // the field's name, or the singleton's id
	Creates  bool             // may address an actor that never was
	ReadOnly bool             // changes nothing, needs no command id
	Internal bool             // for actors alone
	Session  bool             // the gateway's session answers itself
	Stream   optionsv1.Stream // what a subscription promises
	List     string           // the list that is paged, or that keeps the items of an EVENT stream
	Recent   bool             // needs a token that was issued a short time ago
	Request  func() proto.Message
	Response func() proto.Message
}

// Seals says whether a request of the method can hold sealed values.
func (m *Method) Seals() bool { return m.sealing().request }

// SealsReply says whether the method is a command whose reply can hold sealed values.
func (m *Method) SealsReply() bool { return m.sealing().reply }

// sealed is where a method can hold sealed values.
type sealed struct{ request, reply bool }

func (m *Method) sealing() sealed {
	if known, ok := seals.Load(m); ok {
		return known.(sealed) //nolint:forcetypeassert,errcheck // nothing else is stored
	}
	s := sealed{
		request: CanSeal(m.Request().ProtoReflect().Descriptor()),
		reply:   m.Command() && CanSeal(m.Response().ProtoReflect().Descriptor()),
	}
	seals.Store(m, s)
	return s
}

var seals sync.Map // of *Method to sealed

// Streams says whether the method opens a subscription.
func (m *Method) Streams() bool { return m.Stream != optionsv1.Stream_STREAM_UNSPECIFIED }

// Command says whether the method changes something, and so needs a command id.
func (m *Method) Command() bool {
	return !m.ReadOnly && !m.Session && !m.Streams()
}

// OperatorsOnly says whether a method is for operators alone, who act on what is not theirs.
func (m *Method) OperatorsOnly() bool {
	return len(m.Roles) == 1 && m.Roles[0] == optionsv1.Role_ROLE_CLOUD_OPERATOR
}

// Allows says whether one of roles may call the method.
func (m *Method) Allows(roles []optionsv1.Role) bool {
	return slices.ContainsFunc(roles, func(r optionsv1.Role) bool { return slices.Contains(m.Roles, r) })
}

// ActorID returns the id of the actor that answers req. A field that holds no
// possible id is refused with INVALID_FIELD.
func (m *Method) ActorID(subject, commandID string, req proto.Message) (string, error) {
	switch m.Key {
	case KeyCaller:
		return subject, nil
	case KeyNew:
		return NewID(subject, commandID), nil
	case KeySingleton:
		return m.KeyName, nil
	case KeyField:
		r := req.ProtoReflect()
		field := r.Descriptor().Fields().ByName(protoreflect.Name(m.KeyName))
		id := r.Get(field).String()
		return id, CheckID(field.JSONName(), id)
	case KeyNone:
	}
	return "", fmt.Errorf("%s: no actor answers it", m.Name)
}

// CheckID refuses what cannot be an id of an actor, in the name of a field.
func CheckID(field, id string) error {
	if !ValidID(id) {
		return RefuseField(field, `must be an id of 1 to 128 visible characters, without "/" and "$"`)
	}
	return nil
}

// ValidID says whether an actor may have this id: 1 to 128 visible ASCII
// characters without "/" and "$", which addresses use themselves.
func ValidID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	return strings.IndexFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '$' }) < 0
}

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewID derives the id of a new actor from who asks for it under which command
// id: asking twice names the same actor. It has 26 characters.
func NewID(subject, commandID string) string {
	sum := sha256.Sum256([]byte(subject + "\x00" + commandID))
	return idEncoding.EncodeToString(sum[:])[:26]
}

var byPath, byName, byRequest = index()

func index() (paths, names map[string]*Method, requests map[protoreflect.FullName]*Method) {
	paths, names, requests = map[string]*Method{}, map[string]*Method{}, map[protoreflect.FullName]*Method{}
	for _, m := range Methods {
		names[m.Name] = m
		requests[m.Request().ProtoReflect().Descriptor().FullName()] = m
		if m.Path != "" {
			paths[m.Path] = m
		}
	}
	return paths, names, requests
}

// ByPath returns the method of a name on the wire, or nil.
func ByPath(path string) *Method { return byPath[path] }

// ByName returns the method of a full protobuf name, or nil.
func ByName(name string) *Method { return byName[name] }

// ByRequest returns the method whose request message has this full name, or nil.
func ByRequest(name protoreflect.FullName) *Method { return byRequest[name] }
