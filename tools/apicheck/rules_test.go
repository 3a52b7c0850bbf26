package apicheck

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/threefoldtech/cloud-marketplace/docs/api"
)

// Where npm puts the official schemas.
const (
	openRules  = "node_modules/@seriousme/openapi-schema-validator/schemas/v3.1/schema.json"
	asyncRules = "node_modules/@asyncapi/specs/schemas/3.0.0.json"
)

// TestDocumentsFollowTheirRules holds the documents to the official schemas of
// OpenAPI 3.1 and AsyncAPI 3.0, and makes sure that these refuse anything.
func TestDocumentsFollowTheirRules(t *testing.T) {
	for _, c := range []struct {
		rules, sound, broken string
		draft                *jsonschema.Draft
		document             []byte
	}{
		{openRules, `"in": "header"`, `"in": "hat"`, jsonschema.Draft2020, api.OpenAPI},
		{asyncRules, `"action": "receive"`, `"action": "hear"`, jsonschema.Draft7, api.AsyncAPI},
	} {
		text, err := os.ReadFile(c.rules)
		if err != nil {
			t.Fatalf("the official rules are missing; make test installs them: %v", err)
		}
		rules := compile(t, text, "", c.draft)
		if err := rules.Validate(parse(t, c.document)); err != nil {
			t.Error(err)
		}
		broken := bytes.Replace(c.document, []byte(c.sound), []byte(c.broken), 1)
		if rules.Validate(parse(t, broken)) == nil {
			t.Errorf("%s refuses nothing", c.rules)
		}
	}
}

// TestReferencesLeadSomewhere follows every reference of both documents; the
// schema of AsyncAPI cannot.
func TestReferencesLeadSomewhere(t *testing.T) {
	for name, text := range map[string][]byte{"OpenAPI": api.OpenAPI, "AsyncAPI": api.AsyncAPI} {
		document := parse(t, text)
		references := 0
		walk(document, func(members map[string]any) {
			target, ok := members["$ref"].(string)
			if !ok {
				return
			}
			references++
			at := document
			for part := range strings.SplitSeq(strings.TrimPrefix(target, "#/"), "/") {
				inner, _ := at.(map[string]any)
				at = inner[part]
			}
			if at == nil {
				t.Errorf("%s: %s leads nowhere", name, target)
			}
		})
		if references == 0 {
			t.Errorf("%s has no references", name)
		}
	}
}

// TestSchemasAreSchemas compiles every schema of both documents, wherever it stands.
func TestSchemasAreSchemas(t *testing.T) {
	for _, d := range documents(t) {
		var places [][]string
		for name := range d.members("components", "schemas") {
			places = append(places, []string{"components", "schemas", name})
		}
		if len(places) < 40 {
			t.Errorf("%s has %d schemas", d.name, len(places))
		}
		for _, part := range []string{"paths", "components", "channels"} {
			places = append(places, inner(d.members(part), part)...)
		}
		for _, p := range places {
			d.schema(t, pointer(p...))
		}
	}
}

// inner finds the schemas that stand elsewhere, in parameters, headers and messages.
func inner(v any, at ...string) (places [][]string) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			path := append(slices.Clone(at), name)
			if _, is := value.(map[string]any); is && (name == "schema" || name == "payload") {
				places = append(places, path)
			} else {
				places = append(places, inner(value, path...)...)
			}
		}
	case []any:
		for i, value := range v {
			places = append(places, inner(value, append(slices.Clone(at), strconv.Itoa(i))...)...)
		}
	}
	return places
}

// parse reads JSON as validators want it: numbers as they are written.
func parse(t *testing.T, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %.200s", err, text)
	}
	return v
}

// compile reads a schema, at a place of a document.
func compile(t *testing.T, text []byte, place string, draft *jsonschema.Draft) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(draft)
	c.AssertFormat()
	if err := c.AddResource("document.json", parse(t, text)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("document.json" + place)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// walk visits every object of a document.
func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, inner := range v {
			walk(inner, visit)
		}
	case []any:
		for _, inner := range v {
			walk(inner, visit)
		}
	}
}

// encode writes JSON.
func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
