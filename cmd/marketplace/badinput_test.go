package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
	"github.com/threefoldtech/cloud-marketplace/messages"
)

// request is a frame with a fresh command id.
func request(id int, method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"meta":{"commandId":%q},"params":%s}`, id, method, messages.NewCommandID(), params)
}

// TestBadRequests holds malformed requests to one error each, with a reason and
// where there is one the field; the connection goes on.
func TestBadRequests(t *testing.T) {
	r := run(t, testConfig(t))
	alice, olga := r.dial(t, r.token(t, "alice")), r.dial(t, r.token(t, "olga"))
	spec := `{"vcpus":1,"memoryMib":512,"diskGib":1}`
	for name, c := range map[string]struct {
		who   *socket
		frame string
		want  []string
	}{
		"no id":                {alice, `{"jsonrpc":"2.0","method":"session/get"}`, []string{`"id":null`, `-32600`, "MALFORMED_REQUEST"}},
		"id is an object":      {alice, `{"jsonrpc":"2.0","id":{},"method":"session/get"}`, []string{`"id":null`, `-32600`}},
		"id is negative":       {alice, `{"jsonrpc":"2.0","id":-1,"method":"session/get"}`, []string{`"id":null`, `-32600`}},
		"id is too long":       {alice, `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 65) + `","method":"session/get"}`, []string{`"id":null`, `-32600`}},
		"method is a number":   {alice, `{"jsonrpc":"2.0","id":1,"method":7}`, []string{`"id":1`, `-32600`}},
		"unknown method":       {alice, request(2, "cloud-user/dance", `{}`), []string{`"id":2`, `-32601`, "UNKNOWN_METHOD", "cloud-user/dance"}},
		"internal method":      {alice, request(2, "marketplace.task.v1.UserTaskService.SettleDeployment", `{}`), []string{"UNKNOWN_METHOD"}},
		"missing role":         {alice, request(3, "cloud-operator/grant-credit", `{"userId":"x","amount":"1"}`), []string{"ROLE_REQUIRED", "cloud-operator"}},
		"unknown field":        {alice, request(4, "cloud-user/get-account", `{"nme":1}`), []string{"-32602", "MALFORMED_REQUEST", "nme"}},
		"params are a list":    {alice, request(4, "cloud-user/get-account", `[]`), []string{"MALFORMED_REQUEST"}},
		"wrong type":           {alice, request(5, "cloud-user/find-nodes", `{"spec":7}`), []string{"MALFORMED_REQUEST"}},
		"zero amount":          {olga, request(7, "cloud-operator/grant-credit", `{"userId":"x","amount":"0"}`), []string{"INVALID_FIELD", `"field":"amount"`}},
		"negative amount":      {olga, request(7, "cloud-operator/grant-credit", `{"userId":"x","amount":"-5"}`), []string{"INVALID_FIELD", `"field":"amount"`}},
		"amount too large":     {olga, request(7, "cloud-operator/grant-credit", `{"userId":"x","amount":"9223372036854775807"}`), []string{"INVALID_FIELD", `"field":"amount"`}},
		"amount overflows":     {olga, request(7, "cloud-operator/grant-credit", `{"userId":"x","amount":"92233720368547758070"}`), []string{"MALFORMED_REQUEST", "amount"}},
		"fractional amount":    {olga, request(7, "cloud-operator/grant-credit", `{"userId":"x","amount":"0.5"}`), []string{"MALFORMED_REQUEST", "amount"}},
		"user id with a slash": {olga, request(7, "cloud-operator/grant-credit", `{"userId":"a/b","amount":"1"}`), []string{"INVALID_FIELD", "userId"}},
		"spec is missing":      {alice, request(8, "cloud-user/create-deployment", `{"name":"a","nodeId":1,"maxHourlyPrice":"1"}`), []string{"INVALID_FIELD", `"field":"spec"`}},
		"name for nobody":      {alice, request(8, "cloud-user/create-deployment", `{"name":"A b","spec":`+spec+`,"nodeId":1,"maxHourlyPrice":"1"}`), []string{"INVALID_FIELD", "lower-case letters"}},
		"no command id":        {alice, `{"jsonrpc":"2.0","id":9,"method":"cloud-user/cancel-deployment","params":{"deploymentId":"x"}}`, []string{"COMMAND_ID_REQUIRED"}},
		"command id is no v7":  {alice, `{"jsonrpc":"2.0","id":9,"method":"cloud-user/cancel-deployment","meta":{"commandId":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"},"params":{"deploymentId":"x"}}`, []string{"COMMAND_ID_REQUIRED"}},
		"command id of 2100":   {alice, `{"jsonrpc":"2.0","id":9,"method":"cloud-user/cancel-deployment","meta":{"commandId":"03bb2cc3-d800-7000-8000-000000000000"},"params":{"deploymentId":"x"}}`, []string{"COMMAND_ID_REQUIRED", "ahead"}},
		"meta is a string":     {alice, `{"jsonrpc":"2.0","id":9,"method":"session/get","meta":"x"}`, []string{"MALFORMED_REQUEST", "meta"}},
		"unknown deployment":   {alice, request(10, "cloud-user/deployment-detail", `{"deploymentId":"none"}`), []string{"-32005", "DEPLOYMENT_NOT_FOUND"}},
		"position for nobody":  {alice, `{"jsonrpc":"2.0","id":11,"method":"cloud-user/watch-account","params":{"after":"yesterday"}}`, []string{"MALFORMED_REQUEST", "after"}},
		"page token":           {alice, request(12, "cloud-user/list-transactions", `{"pageToken":"zzz"}`), []string{"INVALID_FIELD", "pageToken"}},
		"page size":            {alice, request(12, "cloud-user/list-transactions", `{"pageSize":100000}`), []string{"INVALID_FIELD", "pageSize"}},
		"open twice":           {alice, `{"jsonrpc":"2.0","id":13,"method":"session/open","params":{"accessToken":"x"}}`, []string{"WRONG_STATE"}},
		"refresh with rubbish": {alice, `{"jsonrpc":"2.0","id":13,"method":"session/refresh","params":{"accessToken":"x"}}`, []string{"TOKEN_INVALID"}},
		"refresh as another":   {alice, `{"jsonrpc":"2.0","id":13,"method":"session/refresh","params":{"accessToken":"` + r.token(t, "bob") + `"}}`, []string{"TOKEN_INVALID"}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := c.who.ask(c.frame)
			contains(t, answer, append(c.want, `"domain":"marketplace.threefold.io"`)...)
			contains(t, c.who.ask(`{"jsonrpc":"2.0","id":99,"method":"session/get"}`), `"id":99`, `"result"`)
		})
	}
}

// TestFramesThatAreNoRequests holds what is not JSON-RPC, or passes a limit, to
// one error and a close code.
func TestFramesThatAreNoRequests(t *testing.T) {
	r := run(t, testConfig(t))
	token := r.token(t, "alice")
	for name, c := range map[string]struct {
		frame string
		want  string
		code  websocket.StatusCode
	}{
		"not JSON":          {`{"jsonrpc"`, "-32700", 4505},
		"not UTF-8":         {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", "-32700", 4505},
		"batch":             {`[{"jsonrpc":"2.0","id":1,"method":"session/get"}]`, "-32600", 4505},
		"a number":          {`7`, "-32600", 4505},
		"version":           {`{"jsonrpc":"1.0","id":1,"method":"session/get"}`, "-32600", 4505},
		"nested too deeply": {`{"jsonrpc":"2.0","id":1,"method":"session/get","params":` + strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40) + `}`, "-32600", 4505},
		"too large":         {`{"jsonrpc":"2.0","id":1,"method":"session/get","params":{"x":"` + strings.Repeat("x", 70_000) + `"}}`, "", 1009},
	} {
		t.Run(name, func(t *testing.T) {
			s := r.dial(t, token)
			s.send(c.frame)
			if c.want != "" {
				answer, err := s.read()
				if err != nil {
					t.Fatal(err)
				}
				contains(t, answer, c.want, `"id":null`, "MALFORMED_REQUEST")
			}
			if code := s.closed(); code != c.code {
				t.Errorf("closed with %d, not %d", code, c.code)
			}
		})
	}
}

// TestFirstFrame holds a connection without a token to session/open.
func TestFirstFrame(t *testing.T) {
	c := testConfig(t)
	c.Gateway.OpenWithin = 300 * time.Millisecond
	r := run(t, c)
	s := r.dial(t, "")
	contains(t, s.ask(`{"jsonrpc":"2.0","id":"a","method":"session/open","params":{"accessToken":"`+r.token(t, "bob")+`"}}`), `"id":"a"`, "sandbox|bob", "ROLE_CLOUD_PROVIDER")
	contains(t, s.ask(`{"jsonrpc":"2.0","id":1,"method":"cloud-provider/list-nodes","params":{"farmId":1}}`), `"result"`)
	for name, first := range map[string]string{
		"another method": `{"jsonrpc":"2.0","id":1,"method":"session/get"}`,
		"not JSON":       `hello`,
	} {
		s := r.dial(t, "")
		contains(t, s.ask(first), "TOKEN_REQUIRED")
		if code := s.closed(); code != 4504 {
			t.Errorf("%s: closed with %d, not 4504", name, code)
		}
	}
	s = r.dial(t, "")
	contains(t, s.ask(`{"jsonrpc":"2.0","id":1,"method":"session/open","params":{"accessToken":"x"}}`), "TOKEN_INVALID")
	if code := s.closed(); code != 4500 {
		t.Errorf("a bad token: closed with %d, not 4500", code)
	}
	if code := r.dial(t, "").closed(); code != 4504 {
		t.Errorf("silence: closed with %d, not 4504", code)
	}
}

// TestForeignIsUnknown holds a foreign id to the answer of one that never was.
func TestForeignIsUnknown(t *testing.T) {
	r := run(t, testConfig(t))
	alice, bob := r.dial(t, r.token(t, "alice")), r.dial(t, r.token(t, "bob"))
	command := messages.NewCommandID()
	created := alice.ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"cloud-user/create-deployment","meta":{"commandId":%q},"params":{"name":"a","spec":{"vcpus":1,"memoryMib":512,"diskGib":1},"nodeId":1,"maxHourlyPrice":"1"}}`, command))
	id := messages.NewID("sandbox|alice", command)
	contains(t, created, id)
	for _, method := range []string{"cloud-user/deployment-detail", "cloud-user/cancel-deployment", "cloud-user/watch-deployment"} {
		foreign := bob.ask(request(2, method, `{"deploymentId":"`+id+`"}`))
		unknown := bob.ask(request(2, method, `{"deploymentId":"nothing"}`))
		if strings.ReplaceAll(foreign, id, "X") != strings.ReplaceAll(unknown, "nothing", "X") {
			t.Errorf("%s tells a foreign id from an unknown one:\n%s\n%s", method, foreign, unknown)
		}
		contains(t, foreign, "DEPLOYMENT_NOT_FOUND")
	}
}

// TestRepeats holds a command to being decided once.
func TestRepeats(t *testing.T) {
	c := testConfig(t)
	r := run(t, c)
	command := messages.NewCommandID()
	grant := func(r running, amount string) string {
		return r.dial(t, r.token(t, "olga")).ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"cloud-operator/grant-credit","meta":{"commandId":%q},"params":{"userId":"sandbox|alice","amount":%q}}`, command, amount))
	}
	first := grant(r, "500")
	contains(t, first, `"credit":"500"`)
	if again := grant(r, "500"); again != first {
		t.Errorf("the second answer differs:\n%s\n%s", first, again)
	}
	contains(t, grant(r, "501"), "COMMAND_ID_REUSED", "-32006")
	r.stop()
	r = run(t, c)
	again := grant(r, "500")
	contains(t, again, `"credit":"500"`)
	contains(t, r.dial(t, r.token(t, "alice")).ask(`{"jsonrpc":"2.0","id":1,"method":"cloud-user/get-account"}`), `"credit":"500"`)
}

// TestStoresThatCannotBeUsed holds a server that finds its store held, damaged or
// unfit to a clear sentence; it ends, and leaves the store as it is.
func TestStoresThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	held := testConfig(t)
	run(t, held)
	damaged := testConfig(t)
	if err := os.MkdirAll(damaged.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(damaged.Data, storeFile), bytes.Repeat([]byte("x"), 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	heldRedis := onRedis(t)
	run(t, heldRedis)
	other := testConfig(t)
	other.Store.Redis = heldRedis.Store.Redis
	volatile := testConfig(t)
	volatile.Store.Redis.URL = "redis://" + redistest.Start(t, "--appendonly", "no").Addr
	for name, c := range map[string]struct {
		config configs.Config
		want   string
	}{
		"held":          {held, "another process holds the store"},
		"damaged":       {damaged, "make another of a backup: marketplace restore FILE"},
		"held Redis":    {other, "take the store: another process holds the store"},
		"volatile":      {volatile, "appendonly is off"},
		"folder is bad": {configs.Config{Data: "/proc/nowhere", Environment: configs.Sandbox}, "make the data folder"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &Main{Config: c.config, Log: slog.New(slog.DiscardHandler), Ready: func(Addresses) { t.Error("it says that it is ready") }}
			if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it ended with %v, not %q", err, c.want)
			}
		})
	}
	t.Cleanup(func() {
		if _, err := readListening(held.Data); err != nil {
			t.Errorf("where the first server listens is gone: %v", err)
		}
	})
}

// TestHTTP holds the other door to the same methods, errors and limits.
func TestHTTP(t *testing.T) {
	r := run(t, testConfig(t))
	olga := r.token(t, "olga")
	for name, c := range map[string]struct {
		method, path, token, key, body string
		status                         int
		want                           string
	}{
		"read by GET":      {"GET", "cloud-user/find-nodes?spec.vcpus=1&spec.memoryMib=512&spec.diskGib=1&certifiedOnly=true", r.token(t, "alice"), "", "", 200, `"total"`},
		"read by POST":     {"POST", "cloud-user/get-account", r.token(t, "alice"), "", "{}", 200, `"account"`},
		"command":          {"POST", "cloud-operator/grant-credit", olga, messages.NewCommandID(), `{"userId":"x","amount":"5"}`, 200, `"credit":"5"`},
		"no token":         {"POST", "cloud-user/get-account", "", "", "{}", 401, "TOKEN_REQUIRED"},
		"bad token":        {"POST", "cloud-user/get-account", "x", "", "{}", 401, "TOKEN_INVALID"},
		"missing role":     {"POST", "cloud-user/get-account", olga, "", "{}", 403, "ROLE_REQUIRED"},
		"no command id":    {"POST", "cloud-operator/grant-credit", olga, "", `{"userId":"x","amount":"5"}`, 400, "COMMAND_ID_REQUIRED"},
		"command by GET":   {"GET", "cloud-operator/grant-credit?userId=x&amount=5", olga, messages.NewCommandID(), "", 400, "MALFORMED_REQUEST"},
		"unknown method":   {"POST", "cloud-user/dance", olga, "", "{}", 404, "UNKNOWN_METHOD"},
		"unknown in query": {"GET", "cloud-user/find-nodes?spec.cpus=1", r.token(t, "alice"), "", "", 400, "spec.cpus"},
		"stream":           {"POST", "cloud-user/watch-account", r.token(t, "alice"), "", "{}", 404, "UNKNOWN_METHOD"},
		"too large":        {"POST", "cloud-user/get-account", r.token(t, "alice"), "", strings.Repeat(" ", 70_000), 413, "TOO_LARGE"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+r.API+"/api/"+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.token != "" {
				req.Header.Set("Authorization", "Bearer "+c.token)
			}
			if c.key != "" {
				req.Header.Set("Idempotency-Key", c.key)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status {
				t.Errorf("status %d, not %d: %s", resp.StatusCode, c.status, body)
			}
			contains(t, strings.ReplaceAll(string(body), ": ", ":"), c.want)
		})
	}
}
