package story

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/threefoldtech/cloud-marketplace/actors/entity"
	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// Run plays the stories below testdata against a kind. "go test -rewrite"
// writes down what happens now. A story consists of
//
//	begin id=alice                 an actor that never was; the clock is at 0
//	grant-credit subject=olga      a method by its name on the wire, or by its rpc's in
//	{"amount": "100"}              kebab-case; the request as JSON
//	woken                          its time has come
//	done alice/settle/1            a task has ended: the result as JSON, its type as
//	{"covered": true}              result=WorkloadDeployed when the schema does not say,
//	done alice/reserve error=X     or with a reason, and a sentence instead of JSON
//	advance 3h                     time passes
//	view, list transactions        what there is to see
//
// What a person asks may say roles=(cloud-user). Any of them may say at=2h, since the beginning, and quietly, to print nothing
// of what another story shows. What is printed is what is new: events, the answer, list items, messages, tasks that come (+) and go (-),
// the wake-up, and what of the view has changed.
func Run[S, E proto.Message](t *testing.T, kind string, b entity.Behavior[S, E]) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		p := &player[S, E]{kind: kind, behavior: b}
		p.begin(t, "it")
		datadriven.RunTest(t, path, p.play)
	})
}

// player plays one file.
type player[S, E proto.Message] struct {
	kind     string
	behavior entity.Behavior[S, E]
	actor    *Actor[S, E]
	shown    shown
}

func (p *player[S, E]) begin(t *testing.T, id string) {
	p.actor = New(t, p.kind, id, p.behavior)
	p.shown = shown{view: p.actor.View()}
	if p.shown.view != nil {
		p.shown.view = proto.Clone(p.shown.view)
	}
}

// play plays one step and returns what is to be compared.
func (p *player[S, E]) play(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	var at string
	if d.MaybeScanArgs(t, "at", &at) {
		p.move(t, Begin.Add(duration(t, at)))
	}
	p.actor.T = t
	told := p.step(t, d)
	if d.HasArg("quietly") {
		return ""
	}
	return told
}

func (p *player[S, E]) step(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	switch d.Cmd {
	case "begin":
		var id string
		d.ScanArgs(t, "id", &id)
		p.begin(t, id)
		return ""
	case "advance":
		p.move(t, p.actor.Now.Add(duration(t, d.CmdArgs[0].Key)))
		return fmt.Sprintf("now: %s\n", p.actor.Now.Sub(Begin))
	case "woken":
		return p.tell(p.actor.Woken())
	case "done":
		return p.tell(p.done(t, d))
	case "view":
		return compact(t, p.actor.View()) + "\n"
	case "list":
		return p.list(t, d.CmdArgs[0].Key)
	}
	return p.tell(p.ask(t, d))
}

func (p *player[S, E]) move(t *testing.T, to time.Time) {
	t.Helper()
	if to.Before(p.actor.Now) {
		t.Fatalf("time does not go back from %s to %s", p.actor.Now, to)
	}
	p.actor.Now = to
}

func (p *player[S, E]) ask(t *testing.T, d *datadriven.TestData) Outcome[E] {
	t.Helper()
	m := p.method(d.Cmd)
	if m == nil {
		d.Fatalf(t, "%s has no method %q", p.kind, d.Cmd)
	}
	subject := entity.System
	if !m.Internal {
		subject = p.actor.ID
	}
	d.MaybeScanArgs(t, "subject", &subject)
	p.actor.Roles = roles(t, d)
	req := m.Request()
	parse(t, d, req)
	return p.actor.Ask(subject, req)
}

// roles returns what whoever asks may be: roles=(cloud-user,cloud-provider).
func roles(t *testing.T, d *datadriven.TestData) []optionsv1.Role {
	t.Helper()
	for _, arg := range d.CmdArgs {
		if arg.Key != "roles" {
			continue
		}
		all := make([]optionsv1.Role, len(arg.Vals))
		for i, v := range arg.Vals {
			n, ok := optionsv1.Role_value["ROLE_"+strings.ToUpper(strings.ReplaceAll(v, "-", "_"))]
			if !ok {
				d.Fatalf(t, "there is no role %s", v)
			}
			all[i] = optionsv1.Role(n)
		}
		return all
	}
	return nil
}

// method finds a method of the kind by its name on the wire without its path,
// or by the name of its rpc in kebab-case.
func (p *player[S, E]) method(name string) *messages.Method {
	for _, m := range messages.Methods {
		_, path, _ := strings.Cut(m.Path, "/")
		if m.Actor == p.kind && (path == name || kebab(m.Name[strings.LastIndexByte(m.Name, '.')+1:]) == name) {
			return m
		}
	}
	return nil
}

func (p *player[S, E]) done(t *testing.T, d *datadriven.TestData) Outcome[E] {
	t.Helper()
	id := d.CmdArgs[0].Key
	var reason string
	if d.MaybeScanArgs(t, "error", &reason) {
		n, ok := marketplacev1.ErrorReason_value["ERROR_REASON_"+reason]
		if !ok {
			d.Fatalf(t, "there is no reason %s", reason)
		}
		return p.actor.Done(id, nil, messages.Refuse(marketplacev1.ErrorReason(n), "%s", d.Input))
	}
	result := p.result(t, d, id)
	parse(t, d, result)
	return p.actor.Done(id, result, nil)
}

// result returns a message for the result of a task.
func (p *player[S, E]) result(t *testing.T, d *datadriven.TestData, id string) proto.Message {
	t.Helper()
	var name string
	if !d.MaybeScanArgs(t, "result", &name) {
		task := p.actor.tasks[id]
		if task.Do == nil {
			d.Fatalf(t, "nobody ever wanted the task %q", id)
		}
		m := messages.ByRequest(task.Do.ProtoReflect().Descriptor().FullName())
		if m == nil {
			d.Fatalf(t, "the schema does not say what %s results in: say result=", id)
		}
		return m.Response()
	}
	found, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("marketplace.task.v1." + name))
	if err != nil {
		d.Fatalf(t, "%s: %v", name, err)
	}
	return found.New().Interface()
}

func (p *player[S, E]) list(t *testing.T, name string) string {
	t.Helper()
	var out strings.Builder
	for _, m := range p.actor.List(name) {
		fmt.Fprintln(&out, compact(t, m))
	}
	return out.String()
}

// parse reads the input of a step.
func parse(t *testing.T, d *datadriven.TestData, to proto.Message) {
	t.Helper()
	if d.Input == "" {
		return
	}
	if err := messages.ParseJSON([]byte(d.Input), to); err != nil {
		d.Fatalf(t, "%v", err)
	}
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// kebab spells the name of an rpc as it is spelled on the wire.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('-')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
