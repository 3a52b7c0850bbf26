package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/threefoldtech/cloud-marketplace/client"
	"github.com/threefoldtech/cloud-marketplace/configs"
	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence"
	"github.com/threefoldtech/cloud-marketplace/persistence/backup"
)

// onRedis is a configuration whose store is a Redis of its own.
func onRedis(t *testing.T) configs.Config {
	c := testConfig(t)
	c.Store.Redis.URL = "redis://" + redistest.Start(t).Addr
	return c
}

// credit asks for alice's credit, and gives her some first.
func credit(t *testing.T, r running, give int64) int64 {
	t.Helper()
	call := func(who, method string, req, resp any) {
		t.Helper()
		c, err := client.Dial(t.Context(), client.Config{URL: "ws://" + r.API + "/ws", Token: (&child{addresses: r.Addresses}).tokens(who)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		switch req := req.(type) {
		case *marketplacev1.GrantCreditRequest:
			err = c.Call(t.Context(), method, req, &marketplacev1.GrantCreditResponse{})
		case *marketplacev1.GetAccountRequest:
			err = c.Call(t.Context(), method, req, resp.(*marketplacev1.GetAccountResponse))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if give > 0 {
		call("olga", "cloud-operator/grant-credit", &marketplacev1.GrantCreditRequest{UserId: "sandbox|alice", Amount: give, Note: "for a backup"}, nil)
	}
	account := &marketplacev1.GetAccountResponse{}
	call("alice", "cloud-user/get-account", &marketplacev1.GetAccountRequest{}, account)
	return account.GetAccount().GetCredit()
}

// TestBackupAndRestore backs a working server up, and restores that into each
// kind of store.
func TestBackupAndRestore(t *testing.T) {
	for name, from := range map[string]func(*testing.T) configs.Config{"bolt": testConfig, "redis": onRedis} {
		t.Run("from "+name, func(t *testing.T) {
			c := from(t)
			r := run(t, c)
			if got := credit(t, r, 1_000); got != 1_000 {
				t.Fatalf("credit %d", got)
			}
			file := filepath.Join(t.TempDir(), "backup")
			var out bytes.Buffer
			if err := makeBackup(t.Context(), &out, c, file); err != nil || !strings.Contains(out.String(), "nothing is wrong") {
				t.Fatalf("%v: %s", err, out.String())
			}
			if err := makeBackup(t.Context(), &out, c, file); err == nil || !strings.Contains(err.Error(), "is there already") {
				t.Fatalf("over another: %v", err)
			}
			if err := restore(t.Context(), &out, c, file); !errors.Is(err, persistence.ErrNotEmpty) && !errors.Is(err, persistence.ErrLocked) {
				t.Fatalf("under a working server: %v", err)
			}
			if got := credit(t, r, 500); got != 1_500 {
				t.Fatalf("credit %d", got)
			}
			r.stop()
			if err := restore(t.Context(), &out, c, file); !errors.Is(err, persistence.ErrNotEmpty) {
				t.Fatalf("over a store: %v", err)
			}
			for name, to := range map[string]func(*testing.T) configs.Config{"bolt": testConfig, "redis": onRedis} {
				t.Run("to "+name, func(t *testing.T) { restored(t, file, c, to(t)) })
			}
		})
	}
}

// restored restores a backup and has a server go on with it.
func restored(t *testing.T, file string, was, c configs.Config) {
	damaged := damagedCopy(t, file)
	var out bytes.Buffer
	if err := restore(t.Context(), &out, c, damaged); !errors.Is(err, backup.ErrDamaged) {
		t.Fatalf("a damaged backup: %v", err)
	}
	if err := restore(t.Context(), &out, c, file); err != nil || !strings.Contains(out.String(), "nothing is wrong") {
		t.Fatalf("%v: %s", err, out.String())
	}
	c.Sealing.KeyFile = filepath.Join(was.Data, keyFile)
	r := run(t, c)
	if got := credit(t, r, 7); got != 1_007 {
		t.Fatalf("credit %d after the backup's 1,000 and 7", got)
	}
}

// damagedCopy is a backup with a byte changed in its middle.
func damagedCopy(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0x10
	damaged := filepath.Join(t.TempDir(), "damaged")
	if err := os.WriteFile(damaged, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return damaged
}

func TestJournalShowsAnEntity(t *testing.T) {
	c := testConfig(t)
	r := run(t, c)
	credit(t, r, 1_000)
	file := filepath.Join(t.TempDir(), "backup")
	if err := makeBackup(t.Context(), &bytes.Buffer{}, c, file); err != nil {
		t.Fatal(err)
	}
	show := func(kind, id string) (string, error) {
		var out bytes.Buffer
		err := withBackup(t.Context(), file, func(s persistence.Store) error {
			return showJournal(t.Context(), &out, s, persistence.Entity{Kind: kind, ID: id})
		})
		return out.String(), err
	}
	text, err := show("user", "sandbox|alice")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"creditGranted":`, `"for a backup"`, "of sandbox|olga", "1\tis now\t"} {
		if !strings.Contains(text, want) {
			t.Errorf("the journal does not show %s:\n%s", want, text)
		}
	}
	if _, err := show("user", "nobody"); err == nil || !strings.Contains(err.Error(), "there is no user/nobody") {
		t.Errorf("of nobody: %v", err)
	}
	if _, err := show("ghost", "x"); err == nil || !strings.Contains(err.Error(), `there is no kind "ghost"`) {
		t.Errorf("of no kind: %v", err)
	}
}

// TestUnreadyWithoutItsStore has a Redis forget how to keep things: the server
// says so, and that it is well again.
func TestUnreadyWithoutItsStore(t *testing.T) {
	server := redistest.Start(t)
	c := testConfig(t)
	c.Store.Redis.URL = "redis://" + server.Addr
	r := run(t, c)
	await := func(want string) {
		t.Helper()
		text := ""
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if text = get(t, "http://"+r.Admin+"/readyz"); strings.Contains(text, want) {
				return
			}
		}
		t.Fatalf("/readyz says %q, want %q", text, want)
	}
	set := func(setting, value string) {
		t.Helper()
		if err := redistest.Command(t.Context(), server.Addr, "CONFIG", "SET", setting, value); err != nil {
			t.Fatal(err)
		}
	}
	await("ready")
	set("maxmemory-policy", "allkeys-lru")
	await("maxmemory-policy is allkeys-lru")
	set("maxmemory-policy", "noeviction")
	await("ready")
	set("maxmemory", "1mb")
	await("takes no writes")
	set("maxmemory", "0")
	await("ready")
	server.Kill()
	await("does not answer")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	await("ready")
	if got := credit(t, r, 5); got != 5 {
		t.Fatalf("credit %d", got)
	}
}

// get returns what an address answers.
func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
