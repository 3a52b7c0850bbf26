package gateway

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

// depth is how deeply a value is nested.
func depth(raw []byte) int {
	deepest, now := 0, 0
	d := json.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		if mark, ok := token.(json.Delim); ok {
			if mark == '{' || mark == '[' {
				now++
				deepest = max(deepest, now)
			} else {
				now--
			}
		}
	}
}

// FuzzParseEnvelope holds the scanner to the verdict and the members of encoding/json.
func FuzzParseEnvelope(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"a/b","params":{"x":[1,2,{"y":null}]},"meta":{"commandId":"c"}}`,
		` { "jsonrpc" : "2.0" , "id" : "a\"b" , "method":"\u0061" } `, `{"jsonrpc":"2.0","\u0069d":7}`, `{"jsonrpc":"2.0","id":1,"id":2}`,
		`[{"jsonrpc":"2.0"}]`, `{}`, `null`, `"x"`, `{"jsonrpc":"1.0"}`, `{"jsonrpc":"2.0","params":` + strings.Repeat("[", 33) + strings.Repeat("]", 33) + `}`,
		`{"jsonrpc":"2.0","params":-1.5e+7,"x":{}}`, `{"jsonrpc":"2.0"`, "{\"jsonrpc\":\"2.0\",\"id\":\"\xff\"}", `{"jsonrpc":"2.0","params":"\\"}`, `{"":0,"jsonrpc":"2.0"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		e, err := parseEnvelope(frame)
		members := map[string]json.RawMessage{}
		plain := utf8.Valid(frame) && json.Unmarshal(frame, &members) == nil && !bytes.Equal(bytes.TrimSpace(frame), []byte("null"))
		deep := false
		for _, m := range members {
			deep = deep || depth(m) > maxNesting
		}
		switch {
		case !plain && err == nil:
			t.Fatal("taken, although it is no object")
		case plain && err != nil && !deep && string(members["jsonrpc"]) == `"2.0"`:
			// A member that another of the same name replaces may be nested too deeply.
			if depth(frame) <= maxNesting+1 {
				t.Fatalf("refused: %v", err)
			}
		case plain && err == nil:
			for name, got := range map[string][]byte{"jsonrpc": e.version, "id": e.id, "method": e.method, "meta": e.meta, "params": e.params} {
				if !bytes.Equal(got, members[name]) {
					t.Fatalf("%s is %q, not %q", name, got, members[name])
				}
			}
			if deep {
				t.Fatal("taken, although it is nested too deeply")
			}
			same(t, e.method)
			meta, ok := parseMeta(e.meta)
			if ok && bytes.HasPrefix(e.meta, []byte("{")) {
				inner := map[string]json.RawMessage{}
				var id string
				if json.Unmarshal(e.meta, &inner) == nil && json.Unmarshal(inner["commandId"], &id) == nil && inner["commandId"][0] == '"' && id != meta.CommandID {
					t.Fatalf("the command id is %q, not %q", meta.CommandID, id)
				}
			}
		}
	})
}

// same holds text to encoding/json.
func same(t *testing.T, raw []byte) {
	t.Helper()
	var want string
	got, ok := text(raw)
	if is := json.Unmarshal(raw, &want) == nil && len(raw) > 0 && raw[0] == '"'; is != ok || ok && got != want {
		t.Fatalf("the text %s is %q (%v), not %q (%v)", raw, got, ok, want, is)
	}
}

// FuzzQueryJSON holds a query to one meaning, whatever order its parts come in,
// and what it becomes to JSON.
func FuzzQueryJSON(f *testing.F) {
	for _, seed := range []string{"spec.vcpus=1&certifiedOnly=true", "spec=1&spec.vcpus=2", "spec.vcpus=1&spec=2", "a=1", "spec.=1", ".=1", "spec.vcpus.x=1", "pageSize=1&pageSize=2", "certifiedOnly=maybe", "country=%22"} {
		f.Add(seed)
	}
	m := messages.ByPath("cloud-user/find-nodes")
	f.Fuzz(func(t *testing.T, query string) {
		values := map[string][]string{}
		for part := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(part, "=")
			values[name] = append(values[name], value)
		}
		first, err := queryJSON(m, values)
		for range 4 {
			again, other := queryJSON(m, values)
			if (err == nil) != (other == nil) || !bytes.Equal(first, again) {
				t.Fatalf("%s (%v) and %s (%v)", first, err, again, other)
			}
		}
		if err == nil && !json.Valid(first) {
			t.Fatalf("not JSON: %s", first)
		}
	})
}

// FuzzPosition reads back what was written, and takes nothing else for it.
func FuzzPosition(f *testing.F) {
	for _, seed := range []string{"e.1", "e.", ".1", "e.-1", "e.01", "e.18446744073709551615", "e.18446744073709551616", "e.1.2", "", "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := parsePosition(text)
		if !ok {
			return
		}
		if again, ok := parsePosition(p.String()); !ok || again != p {
			t.Fatalf("%q is %v, which is written as %q", text, p, p.String())
		}
	})
}
