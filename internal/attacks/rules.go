package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/threefoldtech/cloud-marketplace/internal/clock"
	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
)

// rules are attacks on who may do what, generated from the schema where they are
// about every method.
func rules() []attack {
	return []attack{
		{name: "rule: fields that nobody may set, on every request, by both doors", want: "all refused", do: massAssignment},
		{name: "rule: every method by somebody without its role, by both doors", want: "all refused", do: withoutRole},
		{name: "rule: every method with somebody else's id", want: "all as unknown", do: foreignIDs},
		{name: "rule: operator's token of an hour ago, for what cannot be taken back", want: "all refused", do: staleToken},
		{name: "rule: operator's token of a program", want: "403 ROLE_REQUIRED", do: machineToken},
		{name: "rule: API key that is an operator", want: "400 INVALID_FIELD", do: operatorKey},
		{name: "rule: API key that makes API keys", want: "401 TOKEN_TOO_OLD", do: keyOfKey},
		{name: "rule: socket of somebody who is suspended", want: "4501 within a second, 403 ACCOUNT_SUSPENDED", do: suspended},
		{name: "rule: socket of somebody who was signed out", want: "4503 within a second, 401 TOKEN_INVALID", do: signedOut},
		{
			name: "rule: command on the socket of somebody who was signed out, behind its close frame", want: "4503, not decided", do: goesOn,
		},
	}
}

// public are the methods that clients may call by both doors, and their paths.
func public() (all []*messages.Method) {
	for _, m := range messages.Methods {
		if !m.Internal && !m.Session {
			all = append(all, m)
		}
	}
	return all
}

// both asks by HTTP and by a socket, and returns the reasons of the refusals.
func (v *visitor) both(ctx context.Context, m *messages.Method, params string) (byHTTP, bySocket string) {
	command := ""
	if m.Command() {
		command = messages.NewCommandID()
	}
	var a answer
	if m.Streams() {
		a = v.ask(ctx, http.MethodGet, "/api/"+m.Path+query(params), map[string]string{"Accept": "text/event-stream"}, nil)
	} else {
		a = v.post(ctx, m.Path, command, params)
	}
	s, err := v.open(ctx)
	if err != nil {
		return reasonIn(a.body), err.Error()
	}
	defer func() { _ = s.Close() }()
	s.text(call(1, m.Path, params))
	s.answers(1, soon)
	return reasonIn(a.body), strings.Join(s.reasons, " ")
}

// query turns parameters of one text field into a query.
func query(params string) string {
	return strings.NewReplacer(`{"`, "?", `":"`, "=", `"}`, "", "{}", "").Replace(params)
}

// coveted are fields that would be worth setting.
var coveted = []string{"role", "roles", "owner", "ownerId", "subject", "userId", "user_id", "balance", "credit", "held", "price", "hourlyPrice", "currency", "state", "isAdmin", "__proto__"}

func massAssignment(ctx context.Context, f *field) string {
	for _, m := range public() {
		for _, at := range append([]string{""}, nested(m.Request().ProtoReflect().Descriptor())...) {
			v := f.visitor("cloud-user", "cloud-provider", "cloud-operator")
			for _, name := range coveted {
				if has(m.Request().ProtoReflect().Descriptor(), at, name) {
					continue
				}
				params := fmt.Sprintf(`{%q:"x"}`, name)
				if at != "" {
					params = fmt.Sprintf(`{%q:{%q:"x"}}`, at, name)
				}
				byHTTP, bySocket := "MALFORMED_REQUEST", ""
				if at == "" || !m.Streams() {
					byHTTP, bySocket = v.both(ctx, m, params)
				}
				if byHTTP != "MALFORMED_REQUEST" || bySocket != "MALFORMED_REQUEST" {
					return fmt.Sprintf("%s %s: %q by HTTP, %q by WebSocket", m.Path, params, byHTTP, bySocket)
				}
			}
		}
	}
	return "all refused"
}

// nested are the fields of a request that are messages.
func nested(d protoreflect.MessageDescriptor) (names []string) {
	for i := range d.Fields().Len() {
		if f := d.Fields().Get(i); f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap() && !strings.HasPrefix(string(f.Message().FullName()), "google.") {
			names = append(names, f.JSONName())
		}
	}
	return names
}

// has says whether a request, or a message in it, has a field of this name.
func has(d protoreflect.MessageDescriptor, at, name string) bool {
	if at != "" {
		d = d.Fields().ByJSONName(at).Message()
	}
	return d.Fields().ByJSONName(name) != nil || d.Fields().ByName(protoreflect.Name(name)) != nil
}

func withoutRole(ctx context.Context, f *field) string {
	for _, m := range public() {
		for _, who := range [][]optionsv1.Role{nil, {optionsv1.Role_ROLE_CLOUD_USER}, {optionsv1.Role_ROLE_CLOUD_PROVIDER}, {optionsv1.Role_ROLE_CLOUD_OPERATOR}} {
			if m.Allows(who) {
				continue
			}
			names := []string{"of-something-else"}
			for _, r := range who {
				names = append(names, strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(r.String(), "ROLE_")), "_", "-"))
			}
			byHTTP, bySocket := f.visitor(names...).both(ctx, m, "{}")
			if byHTTP != "ROLE_REQUIRED" || bySocket != "ROLE_REQUIRED" {
				return fmt.Sprintf("%s by %v: %q by HTTP, %q by WebSocket", m.Path, names, byHTTP, bySocket)
			}
		}
	}
	return "all refused"
}

// foreignIDs asks for what is somebody else's: the answer must be that of what
// never was.
func foreignIDs(ctx context.Context, f *field) string {
	owner := f.visitor("cloud-user", "cloud-operator")
	owner.post(ctx, "cloud-operator/grant-credit", messages.NewCommandID(), fmt.Sprintf(`{"userId":%q,"amount":"100000000"}`, owner.subject))
	nodes, deployment, key := owner.nodes(ctx), messages.NewCommandID(), messages.NewCommandID()
	if len(nodes) == 0 {
		return "there are no nodes"
	}
	made := owner.post(ctx, "cloud-user/create-deployment", deployment, fmt.Sprintf(`{"name":"w","spec":%s,"nodeId":%d,"maxHourlyPrice":"1000000000"}`, smallest, nodes[0]))
	if kept := owner.apiKey(ctx, key, "ROLE_CLOUD_USER"); made.status != http.StatusOK || kept.status != http.StatusOK {
		return fmt.Sprintf("nothing to ask for: %s, %s", made, kept)
	}
	ids := map[string]string{"deployment_id": messages.NewID(owner.subject, deployment), "session_id": messages.NewID(owner.subject, key)}
	for _, m := range public() {
		if m.Key != messages.KeyField || !m.Allows([]optionsv1.Role{optionsv1.Role_ROLE_CLOUD_USER}) {
			continue
		}
		id, known := ids[m.KeyName]
		if !known {
			return m.Path + ": no id of somebody else's is made for " + m.KeyName
		}
		name := m.Request().ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(m.KeyName)).JSONName()
		asks := func(id string) string {
			byHTTP, bySocket := f.visitor("cloud-user").both(ctx, m, fmt.Sprintf(`{%q:%q}`, name, id))
			return byHTTP + " " + bySocket
		}
		if foreign, unknown := asks(id), asks("aaaaaaaaaaaaaaaaaaaaaaaaaa"); foreign != unknown || !strings.Contains(foreign, "NOT_FOUND") {
			return fmt.Sprintf("%s: %q for somebody else's, %q for none", m.Path, foreign, unknown)
		}
	}
	return "all as unknown"
}

// apiKey makes a key.
func (v *visitor) apiKey(ctx context.Context, command, role string) answer {
	return v.post(ctx, "session/create-api-key", command, fmt.Sprintf(`{"name":"k","roles":[%q],"expireTime":%q}`, role, now().Add(time.Hour).UTC().Format(time.RFC3339)))
}

func staleToken(ctx context.Context, f *field) string {
	v := f.visitor()
	claims := f.mint.Claims(v.subject, "cloud-user", "cloud-provider", "cloud-operator")
	claims["iat"] = in(-time.Hour)
	var err error
	if v.token, err = f.mint.Sign(claims); err != nil {
		return err.Error()
	}
	for _, m := range public() {
		if !m.Recent {
			continue
		}
		byHTTP, bySocket := v.both(ctx, m, "{}")
		if byHTTP != "TOKEN_TOO_OLD" || bySocket != "TOKEN_TOO_OLD" {
			return fmt.Sprintf("%s: %q by HTTP, %q by WebSocket", m.Path, byHTTP, bySocket)
		}
	}
	return "all refused"
}

func machineToken(ctx context.Context, f *field) string {
	v := f.visitor()
	claims := f.mint.Claims("program@clients", "cloud-operator")
	claims["gty"] = "client-credentials"
	var err error
	if v.token, err = f.mint.Sign(claims); err != nil {
		return err.Error()
	}
	return v.post(ctx, "cloud-operator/grant-credit", messages.NewCommandID(), `{"userId":"somebody","amount":"1"}`).String()
}

func operatorKey(ctx context.Context, f *field) string {
	return f.visitor("cloud-user", "cloud-operator").apiKey(ctx, messages.NewCommandID(), "ROLE_CLOUD_OPERATOR").String()
}

func keyOfKey(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user")
	made := v.apiKey(ctx, messages.NewCommandID(), "ROLE_CLOUD_USER")
	_, rest, _ := strings.Cut(made.body, `"apiKey":`)
	parts := strings.Split(rest, `"`)
	if len(parts) < 2 {
		return "no key: " + made.String()
	}
	v.token = parts[1]
	return v.apiKey(ctx, messages.NewCommandID(), "ROLE_CLOUD_USER").String()
}

func suspended(ctx context.Context, f *field) string {
	return f.expelled(ctx, "cloud-operator/suspend-user", `{"userId":%q,"note":"n"}`)
}

func signedOut(ctx context.Context, f *field) string {
	_ = clock.Pause(ctx, 1100*time.Millisecond) // tokens count in seconds
	return f.expelled(ctx, "cloud-operator/sign-out-user", `{"userId":%q}`)
}

// goesOn signs somebody out who does not mind and sends a command.
func goesOn(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user")
	s, err := v.open(ctx)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = s.Close() }()
	s.text(call(1, "cloud-user/get-account", "{}"))
	s.answers(1, soon)
	_ = clock.Pause(ctx, 1100*time.Millisecond) // tokens count in seconds
	if a := f.visitor("cloud-operator").post(ctx, "cloud-operator/sign-out-user", messages.NewCommandID(), fmt.Sprintf(`{"userId":%q}`, v.subject)); a.status != http.StatusOK {
		return a.String()
	}
	op, payload, err := s.next(now().Add(soon))
	if err != nil || op != opClose || len(payload) < 2 {
		return fmt.Sprintf("no close frame: %v", err)
	}
	_, _ = s.Write(rename)
	_ = clock.Pause(ctx, 1500*time.Millisecond)
	fresh := f.visitor()
	claims := f.mint.Claims(v.subject, "cloud-user")
	claims["iat"] = in(0)
	if fresh.token, err = f.mint.Sign(claims); err != nil {
		return err.Error()
	}
	return code(payload) + fresh.decided(ctx)
}

// expelled has an operator send somebody away who is connected.
func (f *field) expelled(ctx context.Context, method, params string) string {
	v, operator := f.visitor("cloud-user"), f.visitor("cloud-operator")
	s, err := v.open(ctx)
	if err != nil {
		return err.Error()
	}
	s.text(call(1, "cloud-user/get-account", "{}"))
	s.answers(1, soon)
	if a := operator.post(ctx, method, messages.NewCommandID(), fmt.Sprintf(params, v.subject)); a.status != http.StatusOK {
		return method + ": " + a.String() + a.body
	}
	began := now()
	said, when := s.verdict(soon), "within a second"
	if took := now().Sub(began); took > time.Second {
		when = "after " + took.String()
	}
	return fmt.Sprintf("%s %s, %s", said, when, v.post(ctx, "cloud-user/get-account", "", "{}"))
}
