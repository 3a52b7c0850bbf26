package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/messages"
)

// requestAs makes a command under an id of the caller's choice.
func requestAs(id int, method, commandID, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"meta":{"commandId":%q},"params":%s}`, id, method, commandID, params)
}

// operation is what an answer or a push tells of an operation.
type operation struct {
	Status    string `json:"status"`
	Found     uint64 `json:"found,string"`
	Succeeded uint64 `json:"succeeded,string"`
	Refused   uint64 `json:"refused,string"`
	Unknown   uint64 `json:"unknown,string"`
	AllFound  bool   `json:"allFound"`
	Truncated bool   `json:"truncated"`
}

// next returns what the next push says of an operation; answers are passed over.
func (s *socket) next() operation {
	s.t.Helper()
	for {
		text, err := s.read()
		if err != nil {
			s.t.Fatal(err)
		}
		var push struct {
			Params struct {
				Result struct {
					Operation *operation `json:"operation"`
				} `json:"result"`
			} `json:"params"`
		}
		if err := json.Unmarshal([]byte(text), &push); err != nil {
			s.t.Fatal(err)
		}
		if o := push.Params.Result.Operation; o != nil {
			return *o
		}
	}
}

// begin begins an operation and returns its id.
func (s *socket) begin(commandID, params string) string {
	s.t.Helper()
	text := s.ask(requestAs(1, "cloud-operator/command", commandID, params))
	id := between(text, `"operationId":"`, `"`)
	if id == "" {
		s.t.Fatalf("%s is answered with %s", params, text)
	}
	return id
}

// end watches an operation to its end.
func (r running) end(t *testing.T, id string) operation {
	t.Helper()
	s := r.dial(t, r.token(t, "olga"))
	s.send(request(2, "cloud-operator/watch-command", `{"operationId":"`+id+`"}`))
	for {
		if o := s.next(); o.Status == "OPERATION_STATUS_DONE" || o.Status == "OPERATION_STATUS_CANCELLED" {
			return o
		}
	}
}

// grant gives each of n users credit, and returns the answers.
func (s *socket) grant(n int, amount string) []string {
	s.t.Helper()
	var answers []string
	for from := 0; from < n; from += 50 {
		to := min(n, from+50)
		for i := from; i < to; i++ {
			s.send(request(i, "cloud-operator/grant-credit", fmt.Sprintf(`{"userId":"u%03d","amount":%q}`, i, amount)))
		}
		for range to - from {
			text, err := s.read()
			if err != nil {
				s.t.Fatal(err)
			}
			answers = append(answers, text)
		}
	}
	return answers
}

// outcomes pages through all that came of an operation, by actor.
func (s *socket) outcomes(id string) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for token, first := "", true; token != "" || first; first = false {
		text := s.ask(request(3, "cloud-operator/command-outcomes", `{"operationId":"`+id+`","pageSize":70,"pageToken":"`+token+`"}`))
		var page struct {
			Result struct {
				Outcomes []struct {
					EntityID string `json:"entityId"`
					Reason   string `json:"reason"`
				} `json:"outcomes"`
				NextPageToken string `json:"nextPageToken"`
			} `json:"result"`
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			s.t.Fatal(err)
		}
		for _, o := range page.Result.Outcomes {
			if _, twice := all[o.EntityID]; twice {
				s.t.Errorf("%s has two outcomes", o.EntityID)
			}
			all[o.EntityID] = o.Reason
		}
		token = page.Result.NextPageToken
	}
	return all
}

// TestOperationSurvives kills the server in the middle of an operation, at moments
// when an actor has done what the operation does not know yet, and at any: all
// that is left is done, and nothing twice.
func TestOperationSurvives(t *testing.T) { //nolint:tparallel // beside the others it would slow them
	const users = 120
	for _, point := range []string{"", "before-effect#30", "after-effect#30", "reported#30", "sealed#200"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel() // each waits most of the time for what a dead process left to be taken up
			file := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(file, []byte("gateway:\n  rate: 10000\n  burst: 10000\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			c := &child{data: filepath.Join(t.TempDir(), "data"), config: file, dieAt: point}
			if err := c.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.stop() }()
			r := running{Addresses: c.addresses}
			olga := r.dial(t, r.token(t, "olga"))
			olga.grant(users, "1")
			commandID, params := messages.NewCommandID(), `{"method":"cloud-operator/grant-credit","request":{"amount":"100","note":"sorry"},"filter":{}}`
			id := olga.begin(commandID, params)
			watching := r.dial(t, r.token(t, "olga"))
			watching.send(request(2, "cloud-operator/watch-command", `{"operationId":"`+id+`"}`))
			var seen operation
			for point == "" && seen.Succeeded < 20 {
				seen = watching.next()
			}
			if point == "" {
				if err := c.kill(); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case <-c.exited:
			case <-time.After(20 * time.Second):
				t.Fatalf("it did not die at %s", point)
			}
			c.dieAt = ""
			if err := c.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			r = running{Addresses: c.addresses}
			olga = r.dial(t, r.token(t, "olga"))
			if again := olga.begin(commandID, params); again != id {
				t.Errorf("the same command began operation %s, not %s", again, id)
			}
			begun := time.Now()
			o := r.end(t, id)
			t.Logf("killed after %d of %d; ended %s after the restart: %+v", seen.Succeeded, o.Found, time.Since(begun), o)
			if o.Status != "OPERATION_STATUS_DONE" || o.Found != users+1 || o.Succeeded != o.Found || !o.AllFound || o.Truncated { // olga is a user too
				t.Errorf("it ended as %+v", o)
			}
			if all := olga.outcomes(id); len(all) != users+1 {
				t.Errorf("%d outcomes", len(all))
			}
			for _, answer := range olga.grant(users, "1") {
				contains(t, answer, `"credit":"102"`)
			}
		})
	}
}

// TestOperationFilters suspends the named, finds them again by that, and tells
// what was refused and why.
func TestOperationFilters(t *testing.T) {
	c := testConfig(t)
	c.Gateway.Rate, c.Gateway.Burst = 10_000, 10_000
	r := run(t, c)
	olga, alice := r.dial(t, r.token(t, "olga")), r.dial(t, r.token(t, "alice"))
	olga.grant(60, "1")
	contains(t, alice.ask(request(1, "cloud-user/update-settings", `{"settings":{"region":"Europe"}}`)), `"revision"`)
	contains(t, olga.ask(request(1, "cloud-operator/suspend-user", `{"userId":"u007","note":"before"}`)), `"result"`)
	var ids []string
	for i := range 55 {
		ids = append(ids, fmt.Sprintf(`"u%03d"`, i))
	}
	id := olga.begin(messages.NewCommandID(), `{"method":"cloud-operator/suspend-user","request":{"note":"a test"},"entityIds":[`+strings.Join(ids, ",")+`,"nobody"]}`)
	if o := r.end(t, id); o.Found != 56 || o.Succeeded != 54 || o.Refused != 2 || o.Unknown != 0 {
		t.Errorf("suspended: %+v", o)
	}
	if all := olga.outcomes(id); len(all) != 56 || all["u007"] != "WRONG_STATE" || all["nobody"] != "ACCOUNT_NOT_FOUND" || all["u001"] != "" {
		t.Errorf("the outcomes are %v", all)
	}
	contains(t, olga.ask(request(2, "cloud-operator/command-detail", `{"operationId":"`+id+`"}`)), `"startedBy":"sandbox|olga"`, `"request":"{\"note\":\"a test\"}"`)
	id = olga.begin(messages.NewCommandID(), `{"method":"cloud-operator/reinstate-user","filter":{"suspended":true},"maxEntities":30}`)
	if o := r.end(t, id); o.Found != 30 || o.Succeeded != 30 || !o.Truncated {
		t.Errorf("the first let in again: %+v", o)
	}
	id = olga.begin(messages.NewCommandID(), `{"method":"cloud-operator/reinstate-user","filter":{"suspended":true}}`)
	if o := r.end(t, id); o.Found != 25 || o.Succeeded != 25 || o.Truncated {
		t.Errorf("let in again: %+v", o)
	}
	id = olga.begin(messages.NewCommandID(), `{"method":"cloud-operator/grant-credit","request":{"amount":"5"},"filter":{"suspended":false,"region":"europe"}}`)
	if o := r.end(t, id); o.Found != 1 || olga.outcomes(id)["sandbox|alice"] != "" {
		t.Errorf("in Europe: %+v", o)
	}
	contains(t, alice.ask(request(3, "cloud-user/list-transactions", "{}")), `"amount":"5"`)
	contains(t, alice.ask(request(4, "cloud-operator/command", `{"method":"cloud-operator/grant-credit","filter":{}}`)), "ROLE_REQUIRED")
	contains(t, olga.ask(request(5, "cloud-operator/command-detail", `{"operationId":"none"}`)), "OPERATION_NOT_FOUND")
}

// TestOperationCancelled begins no more of what is cancelled, and says of each
// actor what came of it.
func TestOperationCancelled(t *testing.T) {
	c := testConfig(t)
	c.Gateway.Rate, c.Gateway.Burst = 10_000, 10_000
	r := run(t, c)
	olga := r.dial(t, r.token(t, "olga"))
	const users = 400
	olga.grant(users, "1")
	id := olga.begin(messages.NewCommandID(), `{"method":"cloud-operator/grant-credit","request":{"amount":"100"},"filter":{}}`)
	watching := r.dial(t, r.token(t, "olga"))
	watching.send(request(2, "cloud-operator/watch-command", `{"operationId":"`+id+`"}`))
	var begun operation
	for begun.Succeeded < 10 {
		begun = watching.next()
	}
	contains(t, olga.ask(request(3, "cloud-operator/cancel-command", `{"operationId":"`+id+`"}`)), `"result":{}`)
	o := r.end(t, id)
	if o.Status != "OPERATION_STATUS_CANCELLED" || o.Succeeded < 10 || o.Succeeded >= users {
		t.Errorf("cancelled: %+v", o)
	}
	all := olga.outcomes(id)
	if uint64(len(all)) != o.Succeeded {
		t.Errorf("%d outcomes of %d", len(all), o.Succeeded)
	}
	granted := 0
	for _, answer := range olga.grant(users, "1") {
		if strings.Contains(answer, `"credit":"102"`) {
			granted++
		}
	}
	if _, self := all["sandbox|olga"]; self {
		granted++
	}
	if granted != len(all) {
		t.Errorf("%d got it, and %d outcomes say so", granted, len(all))
	}
	contains(t, olga.ask(request(4, "cloud-operator/cancel-command", `{"operationId":"`+id+`"}`)), "WRONG_STATE")
}
