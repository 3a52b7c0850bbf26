package main

import (
	"strconv"
	"strings"
)

const (
	asyncAPIFile = "docs/api/asyncapi.json"
	subprotocol  = "marketplace.jsonrpc.v1"
	channelPath  = "#/channels/socket"
)

// asyncAPI describes the WebSocket in AsyncAPI 3.0, from the server's point of
// view: it receives requests and sends answers and pushes.
type asyncAPI struct {
	directions *directions
	messages   *object // of the components
	operations *object
}

// printAsyncAPI prints the document.
func (s *schema) printAsyncAPI(methods []*method, d *directions, reasons []reason, codes []closeCode) ([]byte, error) {
	schemas, err := s.jsonSchemas(methods, d, true)
	if err != nil {
		return nil, err
	}
	addStatus(schemas, reasons)
	addFrames(schemas)
	doc := &asyncAPI{d, obj(), obj()}
	doc.shared()
	for _, m := range methods {
		doc.method(m)
	}
	channel := obj()
	for _, name := range doc.messages.names {
		channel.set(name, obj("$ref", "#/components/messages/"+name))
	}
	return document(obj(
		"asyncapi", "3.0.0",
		"x-generated", notice,
		"info", info("The WebSocket of the marketplace: JSON-RPC 2.0, one message a frame, no batches. PROTOCOL.md says how a connection lives; this document says what each frame looks like, from the server's point of view."),
		"defaultContentType", "application/json",
		"servers", obj("loopback", obj("host", "127.0.0.1:8080", "protocol", "ws", "description", "A marketplace on this machine.", "security", []any{obj("$ref", "#/components/securitySchemes/bearer")})),
		"channels", obj("socket", obj(
			"address", "/ws",
			"title", "The one connection",
			"description", closing(codes),
			"messages", channel,
			"bindings", obj("ws", obj("method", "GET", "headers", obj("type", "object", "required", []string{"Sec-WebSocket-Protocol"}, "properties", obj(
				"Sec-WebSocket-Protocol", obj("type", "string", "const", subprotocol),
				"Authorization", obj("type", "string", "description", "Bearer and an access token, in place of session/open."),
			)), "bindingVersion", "0.1.0")),
			"x-subprotocol", subprotocol,
			"x-close-codes", closeList(codes),
		)),
		"operations", doc.operations,
		"components", obj(
			"securitySchemes", obj("bearer", obj("type", "http", "scheme", "bearer", "bearerFormat", "JWT")),
			"schemas", schemas,
			"messages", doc.messages,
		),
	))
}

// closing says in words how connections end.
func closing(codes []closeCode) string {
	var b strings.Builder
	b.WriteString("The subprotocol is `" + subprotocol + "`. Sign in by the Authorization header of the handshake, or by `session/open` as the first frame. The connection ends with one of these codes:\n")
	for _, c := range codes {
		b.WriteString("\n- " + strconv.Itoa(c.code) + ": " + c.meaning + ". Come back: " + c.comeBack + ".")
	}
	return b.String()
}

func closeList(codes []closeCode) []any {
	list := make([]any, 0, len(codes))
	for _, c := range codes {
		list = append(list, obj("code", c.code, "meaning", c.meaning, "comeBack", c.comeBack))
	}
	return list
}

// addFrames adds the schemas that frames share.
func addFrames(schemas *object) {
	schemas.set("RequestId", obj("description", "Unique among the open requests of the connection.", "oneOf", []any{
		obj("type", "string", "maxLength", 64), obj("type", "integer", "minimum", 0, "maximum", 1<<53),
	}))
	schemas.set("JsonRpcError", obj("type", "object", "required", []string{"code", "message", "data"}, "properties", obj(
		"code", obj("type", "integer", "description", "The code of JSON-RPC, or -32000 less the canonical code."),
		"message", obj("type", "string", "description", "One sentence for people."),
		"data", obj("$ref", schemaPath+"Status"),
	)))
	schemas.set("Subscribed", obj("type", "object", "description", "The subscription stands.", "required", []string{"subscription", "recovered", "position"}, "properties", obj(
		"subscription", obj("type", "string", "description", "The server's name of the stream; its pushes bear it."),
		"recovered", obj("type", "boolean", "description", "Nothing is missing between the position of the request and this one."),
		"position", obj("type", "string", "description", "Where the stream is."),
	)))
}

// frame is the schema of a JSON-RPC message.
func frame(required []string, properties *object) *object {
	all := obj("jsonrpc", obj("const", "2.0"))
	for _, name := range properties.names {
		all.set(name, properties.values[name])
	}
	return obj("type", "object", "required", append([]string{"jsonrpc"}, required...), "properties", all)
}

// ref refers to a schema of the components.
func ref(name string) *object { return obj("$ref", schemaPath+name) }

// say adds a message.
func (d *asyncAPI) say(name, title, summary string, payload *object) {
	d.messages.set(name, obj("name", name, "title", title, "summary", summary, "payload", payload))
}

// do adds an operation on some messages, answered by others.
func (d *asyncAPI) do(name, action, summary, description string, messages, answers []string) {
	refs := func(names []string) []any {
		list := make([]any, 0, len(names))
		for _, n := range names {
			list = append(list, obj("$ref", channelPath+"/messages/"+n))
		}
		return list
	}
	op := obj("action", action, "channel", obj("$ref", channelPath), "summary", summary)
	op.setSome("description", description).set("messages", refs(messages))
	if len(answers) > 0 {
		op.set("reply", obj("channel", obj("$ref", channelPath), "messages", refs(answers)))
	}
	d.operations.set(name, op)
}

// shared adds what does not belong to one method.
func (d *asyncAPI) shared() {
	id := obj("oneOf", []any{ref("RequestId"), obj("type", "null")})
	d.say("refused", "A refusal", "The answer to a request that is not done. The id is null where none could be read.",
		frame([]string{"id", "error"}, obj("id", id, "error", ref("JsonRpcError"))))
	d.say("cancel-request", "$/cancelRequest", "Ends a subscription. A command that was already heard is not undone.",
		frame([]string{"method", "params"}, obj("method", obj("const", "$/cancelRequest"), "params",
			obj("type", "object", "required", []string{"id"}, "properties", obj("id", ref("RequestId"))))))
	d.say("session-expiring", "session/expiring", "The access token ends soon: send a newer one with session/refresh.",
		frame([]string{"method", "params"}, obj("method", obj("const", "session/expiring"), "params",
			obj("type", "object", "required", []string{"expireTime"}, "properties", obj("expireTime", wellKnownSchema("google.protobuf.Timestamp"))))))
	d.say("session-draining", "session/draining", "This server is about to stop: connect again after this many milliseconds.",
		frame([]string{"method", "params"}, obj("method", obj("const", "session/draining"), "params",
			obj("type", "object", "required", []string{"reconnectMs"}, "properties", obj("reconnectMs", obj("type", "integer", "minimum", 0))))))
	d.do("cancel-request", "receive", "A client gives a request up.", "", []string{"cancel-request"}, nil)
	d.do("session-expiring", "send", "A session is about to end with its token.", "", []string{"session-expiring"}, nil)
	d.do("session-draining", "send", "The server is about to stop.", "", []string{"session-draining"}, nil)
}

// method adds a method: its request, its answer and, for a stream, its pushes.
func (d *asyncAPI) method(m *method) {
	name := strings.ReplaceAll(m.path, "/", ".")
	comment := oneLine(m.rpc.Comments.Leading)
	properties := obj("id", ref("RequestId"), "method", obj("const", m.path))
	required := []string{"id", "method"}
	meta := obj("traceparent", obj("type", "string", "description", "The trace that the request is part of (W3C)."))
	if m.command() {
		meta.set("commandId", obj("type", "string", "format", "uuid", "pattern", uuidV7, "description", "The intent, the same whenever the command is sent again."))
		required = append(required, "meta")
		properties.set("meta", obj("type", "object", "required", []string{"commandId"}, "properties", meta))
	} else {
		properties.set("meta", obj("type", "object", "properties", meta))
	}
	properties.set("params", ref(d.directions.name(m.rpc.Input, sent)))
	d.say(name+".request", m.path, comment, frame(required, properties))
	d.say(name+".answer", m.path, oneLine(m.rpc.Output.Comments.Leading), d.answer(m))
	d.do(name, "receive", comment, "Who: "+who(m.roles)+". Call: "+m.callInFull()+".", []string{name + ".request"}, []string{name + ".answer", "refused"})
	if m.streams() {
		d.say(name+".push", m.path, oneLine(m.rpc.Output.Comments.Leading), d.push(m))
		d.say(name+".end", m.path, "The stream is over; subscribe again if the reason may be tried again.", d.end(m))
		d.do(name+".push", "send", comment, "", []string{name + ".push", name + ".end"}, nil)
	}
}

func (d *asyncAPI) answer(m *method) *object {
	if m.streams() {
		return frame([]string{"id", "result"}, obj("id", ref("RequestId"), "result", ref("Subscribed")))
	}
	meta := obj("type", "object", "properties", obj("position", obj("type", "string", "description", "Where the actor is after it.")))
	return frame([]string{"id", "result"}, obj("id", ref("RequestId"), "result", ref(d.directions.name(m.rpc.Output, heard)), "meta", meta))
}

func (d *asyncAPI) push(m *method) *object {
	text := obj("type", "string")
	return frame([]string{"method", "params"}, obj("method", obj("const", m.path), "params", obj("type", "object",
		"required", []string{"subscription", "position", "previous", "result"}, "properties", obj(
			"subscription", text, "position", text, "previous", text, "result", ref(d.directions.name(m.rpc.Output, heard))))))
}

func (d *asyncAPI) end(m *method) *object {
	return frame([]string{"method", "params"}, obj("method", obj("const", m.path), "params", obj("type", "object",
		"required", []string{"subscription", "end", "error"}, "properties", obj(
			"subscription", obj("type", "string"), "end", obj("const", true), "error", ref("JsonRpcError")))))
}
