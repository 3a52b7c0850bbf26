package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

const account = "/api/cloud-user/get-account"

// asked is an attack that sends one request by HTTP.
func asked(name, want, method, path string, header map[string]string, body string) attack {
	return attack{name: "HTTP: " + name, want: want, do: func(ctx context.Context, f *field) string {
		return f.visitor("cloud-user", "cloud-operator").ask(ctx, method, path, header, strings.NewReader(body)).String()
	}}
}

// requests are attacks by HTTP.
func requests() []attack {
	grant := `{"userId":"somebody","amount":"1"}`
	id := map[string]string{"Idempotency-Key": messages.NewCommandID()}
	const malformed = "400 MALFORMED_REQUEST"
	events := func(last string) map[string]string {
		return map[string]string{"Accept": "text/event-stream", "Last-Event-ID": last}
	}
	all := []attack{
		asked("unknown field", malformed, http.MethodPost, account, nil, `{"role":"cloud-operator"}`),
		asked("unknown field in the query", malformed, http.MethodGet, account+"?role=cloud-operator", nil, ""),
		asked("field twice in the query", malformed, http.MethodGet, "/api/cloud-user/list-transactions?pageSize=1&pageSize=2", nil, ""),
		asked("prototype in the query", malformed, http.MethodGet, account+"?__proto__.polluted=1", nil, ""),
		asked("body of 65 KiB", "413 TOO_LARGE", http.MethodPost, account, nil, strings.Repeat(" ", 65<<10)),
		asked("body in XML", malformed, http.MethodPost, account, map[string]string{"Content-Type": "application/xml"}, `<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>`),
		asked("body of a form", malformed, http.MethodPost, account, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, "userId=somebody"),
		asked("body compressed", malformed, http.MethodPost, account, map[string]string{"Content-Encoding": "gzip"}, compressed()),
		asked("body nested 10,000 deep", malformed, http.MethodPost, account, nil, strings.Repeat(`{"a":`, 10_000)+"1"+strings.Repeat("}", 10_000)),
		asked("body not UTF-8", malformed, http.MethodPost, account, nil, "{\"\xff\":1}"),
		asked("command by GET", malformed, http.MethodGet, "/api/cloud-operator/grant-credit?userId=somebody&amount=1", id, ""),
		asked("command by PUT", malformed, http.MethodPut, "/api/cloud-operator/grant-credit", id, grant),
		asked("command by POST with another verb in a header", "200", http.MethodPost, account, map[string]string{"X-HTTP-Method-Override": "DELETE"}, "{}"),
		asked("command without its id", "400 COMMAND_ID_REQUIRED", http.MethodPost, "/api/cloud-operator/grant-credit", nil, grant),
		asked("TRACE", "400 MALFORMED_REQUEST or 405", http.MethodTrace, account, nil, ""),
		asked("rebound name", "421 HOST_REFUSED", http.MethodPost, account, map[string]string{"Host": "evil.example"}, "{}"),
		asked("Last-Event-ID is rubbish", malformed, http.MethodGet, "/api/session/watch-broadcasts", events("../../etc/passwd"), ""),
		asked("Last-Event-ID of 8 KiB", malformed, http.MethodGet, "/api/session/watch-broadcasts", events(strings.Repeat("9", 8<<10)), ""),
		asked("Last-Event-ID is no number", malformed, http.MethodGet, "/api/session/watch-broadcasts", events("a.18446744073709551616"), ""),
		asked("stream by POST", "404 UNKNOWN_METHOD", http.MethodPost, "/api/session/watch-broadcasts", map[string]string{"Accept": "text/event-stream"}, "{}"),
		{name: "HTTP: position of another store", want: "200, recovered: false", do: resumed("another.5")},
		{name: "HTTP: body without end", want: "413 TOO_LARGE", do: endlessBody},
		{name: "HTTP: two Hosts", want: "400", do: rawly("GET " + account + " HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n")},
		{name: "HTTP: another host in the request line", want: "421", do: rawly("GET http://evil.example" + account + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")},
		{name: "HTTP: two lengths", want: "400", do: rawly("POST " + account + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}GET / HT")},
		{name: "HTTP: line feed in a header's name", want: "400", do: rawly("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA\x00b: c\r\n\r\n")},
		{name: "HTTP: paths that lead elsewhere", want: "none leads", do: paths},
		{name: "HTTP: rebound name at the admin address", want: "refused", do: rebound},
	}
	return all
}

// compressed is a request that would unpack to a megabyte.
func compressed() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
	_ = z.Close()
	return b.String()
}

// spaces never end.
type spaces struct{}

// Read gives spaces.
func (spaces) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte(" "), len(b))), nil }

func endlessBody(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user")
	c, err := v.dial(ctx)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.server.At.API+account, io.NopCloser(spaces{}))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+v.token)
	go func() { _ = req.Write(c) }()
	return v.response(c, true)
}

// response reads an answer.
func (v *visitor) response(c io.Reader, withReason bool) string {
	if d, ok := c.(interface{ SetReadDeadline(time.Time) error }); ok {
		_ = d.SetReadDeadline(now().Add(soon))
	}
	lines := newLines(c)
	first, err := lines()
	if err != nil || len(first) < 12 {
		return "cut"
	}
	status := first[9:12]
	for err == nil && withReason {
		var line string
		if line, err = lines(); reasonIn(line) != "" {
			return status + " " + reasonIn(line)
		}
	}
	return status
}

// rawly sends a request that no client would.
func rawly(text string) func(context.Context, *field) string {
	return func(ctx context.Context, f *field) string {
		v := f.visitor()
		c, err := v.dial(ctx)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = c.Close() }()
		_, _ = c.Write([]byte(text))
		return v.response(c, false)
	}
}

// resumed goes on after a position that this server did not give.
func resumed(position string) func(context.Context, *field) string {
	return func(ctx context.Context, f *field) string {
		a := f.visitor("cloud-user").ask(ctx, http.MethodGet, "/api/session/watch-broadcasts", map[string]string{"Accept": "text/event-stream", "Last-Event-ID": position}, nil)
		if strings.Contains(a.body, `"recovered":false`) {
			return a.String() + ", recovered: false"
		}
		return a.String()
	}
}

// paths asks for what is elsewhere, or nobody's.
func paths(ctx context.Context, f *field) string {
	v := f.visitor("cloud-user", "cloud-operator")
	for _, path := range []string{
		"/metrics", "/debug/pprof/", "/backup", "/halted", "/api/../metrics", "/api/%2e%2e/metrics", "/api/..%2fmetrics", "//metrics", "/ws/../metrics",
		"/api/", "/api/marketplace.task.v1.UserTaskService.GetAccess", "/api/marketplace.v1.UserService.GetAccount", account + "/", "/API/cloud-user/get-account",
		account + "%00", account + ";x=1", "/api/cloud-user//get-account", "/auth/../metrics", "/auth/", "/.git/config", "/api/session/open", "/api/$/cancelRequest",
	} {
		if a := v.ask(ctx, http.MethodGet, path, nil, nil); a.status < 300 {
			return fmt.Sprintf("%s leads to %d", path, a.status)
		} else if to := a.header.Get("Location"); to != "" && !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
			return fmt.Sprintf("%s leads to %s", path, to)
		}
	}
	return "none leads"
}

// rebound reads the admin address under another name.
func rebound(ctx context.Context, f *field) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.server.At.Admin+"/halted", http.NoBody)
	if err != nil {
		return err.Error()
	}
	req.Host = "evil.example"
	req.Header.Set("Origin", "http://evil.example")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 300 {
		return fmt.Sprint("answered with ", resp.StatusCode)
	}
	return "refused"
}
