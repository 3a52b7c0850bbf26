package apicheck

import (
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/threefoldtech/cloud-marketplace/docs/api"
)

// document is a description of the API, made stricter than it is published:
// what the server says must not have a field that is not described.
type document struct {
	name     string
	text     []byte
	tree     map[string]any
	draft    *jsonschema.Draft
	compiled map[string]*jsonschema.Schema
}

// documents returns both.
func documents(t *testing.T) []*document { return []*document{openAPI(t), asyncAPI(t)} }

func openAPI(t *testing.T) *document {
	return strict(t, &document{name: "OpenAPI", text: api.OpenAPI, draft: jsonschema.Draft2020})
}

func asyncAPI(t *testing.T) *document {
	return strict(t, &document{name: "AsyncAPI", text: api.AsyncAPI, draft: jsonschema.Draft7})
}

// strict closes every object.
func strict(t *testing.T, d *document) *document {
	t.Helper()
	tree := parse(t, d.text)
	walk(tree, func(members map[string]any) {
		_, open := members["additionalProperties"]
		if _, is := members["properties"].(map[string]any); is && !open && members["type"] == "object" {
			members["additionalProperties"] = false
		}
	})
	d.text, d.compiled = encode(t, tree), map[string]*jsonschema.Schema{}
	d.tree, _ = tree.(map[string]any)
	return d
}

// members returns the object at a path.
func (d *document) members(path ...string) map[string]any {
	at := d.tree
	for _, name := range path {
		at, _ = at[name].(map[string]any)
	}
	return at
}

// schema compiles what stands at a place.
func (d *document) schema(t *testing.T, place string) *jsonschema.Schema {
	t.Helper()
	if d.compiled[place] == nil {
		d.compiled[place] = compile(t, d.text, place, d.draft)
	}
	return d.compiled[place]
}

// holds fails when text is not as the schema at a place says.
func (d *document) holds(t *testing.T, place string, text []byte) {
	t.Helper()
	if err := d.schema(t, place).Validate(parse(t, text)); err != nil {
		t.Errorf("%s: %s: %v\nsaid was %.500s", d.name, place, err, text)
	}
}

// pointer spells a path as a place of a document.
func pointer(path ...string) string {
	escaped := make([]string, 0, len(path))
	for _, p := range path {
		escaped = append(escaped, strings.NewReplacer("~", "~0", "/", "~1").Replace(p))
	}
	return "#/" + strings.Join(escaped, "/")
}
