package main

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
)

const errorDomain = "marketplace.threefold.io"

// reasonList is the schema of ErrorReason as it stands on the wire.
func reasonList(reasons []reason) *object {
	names := make([]string, 0, len(reasons))
	said := []string{"Why a request was refused. Switch on it, never on text. Later versions may add to the list."}
	for _, r := range reasons {
		names = append(names, r.name)
		line := "- `" + r.name + "`: " + r.comment
		if r.retry {
			line += " Asking again later, under the same command id, may succeed."
		}
		said = append(said, line)
	}
	return obj("type", "string", "description", strings.Join(said, "\n"), "enum", names)
}

// addStatus adds the schema of google.rpc.Status and of what it holds.
func addStatus(schemas *object, reasons []reason) {
	schemas.set("ErrorReason", reasonList(reasons))
	schemas.set("Status", obj("type", "object",
		"description", "Why a request was refused: a google.rpc.Status with exactly one ErrorInfo.",
		"required", []string{"code", "message", "details"},
		"properties", obj(
			"code", obj("type", "integer", "description", "The canonical code (google.rpc.Code)."),
			"message", obj("type", "string", "description", "One sentence for people."),
			"details", obj("type", "array", "items", obj("anyOf", []any{
				obj("$ref", schemaPath+"ErrorInfo"), obj("$ref", schemaPath+"BadRequest"), obj("$ref", schemaPath+"RetryInfo"),
			})),
		)))
	schemas.set("ErrorInfo", detail("ErrorInfo", "The reason.", []string{"reason", "domain"}, obj(
		"reason", obj("$ref", schemaPath+"ErrorReason"),
		"domain", obj("const", errorDomain),
		"metadata", obj("type", "object", "additionalProperties", obj("type", "string"), "description", "What a program may want to know."),
	)))
	violation := obj("type", "object", "required", []string{"field", "description"}, "properties", obj(
		"field", obj("type", "string", "description", "Path of the field, spelled as in JSON."),
		"description", obj("type", "string", "description", "What is wrong with it."),
		"reason", obj("type", "string", "description", "Not used."),
	))
	schemas.set("BadRequest", detail("BadRequest", "The fields at fault.", []string{"fieldViolations"}, obj(
		"fieldViolations", obj("type", "array", "items", violation),
	)))
	schemas.set("RetryInfo", detail("RetryInfo", "When to come back.", []string{"retryDelay"}, obj(
		"retryDelay", wellKnownSchema("google.protobuf.Duration"),
	)))
}

// detail is one of the messages that stand in the details of a status.
func detail(name, description string, required []string, properties *object) *object {
	all := obj("@type", obj("const", "type.googleapis.com/google.rpc."+name))
	for _, n := range properties.names {
		all.set(n, properties.values[n])
	}
	return obj("type", "object", "description", description, "required", append([]string{"@type"}, required...), "properties", all)
}

// example is a status with this reason.
func (r reason) example() *object {
	details := []any{obj("@type", "type.googleapis.com/google.rpc.ErrorInfo", "reason", r.name, "domain", errorDomain, "metadata", obj())}
	if r.name == "INVALID_FIELD" {
		details = append(details, obj("@type", "type.googleapis.com/google.rpc.BadRequest", "fieldViolations", []any{
			obj("field", "name", "description", "must be 1 to 40 lower-case letters, digits and dashes, beginning with a letter"),
		}))
	}
	if r.retry {
		details = append(details, obj("@type", "type.googleapis.com/google.rpc.RetryInfo", "retryDelay", "1s"))
	}
	return obj("code", int(code.Code_value[r.code]), "message", r.comment, "details", details)
}

// statuses returns the HTTP statuses of the catalogue in order.
func statuses(reasons []reason) []uint64 {
	var list []uint64
	seen := map[uint64]bool{}
	for _, r := range reasons {
		if !seen[r.http] {
			seen[r.http] = true
			list = append(list, r.http)
		}
	}
	slices.Sort(list)
	return list
}

// refusals are the answers with errors, one for each HTTP status.
func refusals(reasons []reason) *object {
	out := obj()
	for _, status := range statuses(reasons) {
		examples, names, waits := obj(), []string{}, false
		for _, r := range reasons {
			if r.http == status {
				names = append(names, "`"+r.name+"`")
				waits = waits || r.retry
				examples.set(r.name, obj("summary", r.comment, "value", r.example()))
			}
		}
		answer := obj("description", "Refused: "+strings.Join(names, ", ")+".")
		if waits {
			answer.set("headers", obj("Retry-After", obj("description", "Seconds to wait before asking again, where that is known.", "schema", obj("type", "integer"))))
		}
		answer.set("content", obj("application/json", obj("schema", obj("$ref", schemaPath+"Status"), "examples", examples)))
		out.set(refusal(status), answer)
	}
	return out
}

// refusal is the name of the answers with an HTTP status.
func refusal(status uint64) string { return "Refused" + strconv.FormatUint(status, 10) }
