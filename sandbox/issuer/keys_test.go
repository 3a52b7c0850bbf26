package issuer

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeysSurviveARestart(t *testing.T) {
	w := open(t)
	token := w.token("grant_type", "password", "username", "alice").json["access_token"]
	info, err := os.Stat(w.config.KeyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key file: %v, %v", info.Mode(), err)
	}
	again, err := New(w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.Issuer = again
	if _, err := w.claims(token); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	for _, text := range []string{"", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		w.config.KeyFile = filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(w.config.KeyFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(w.config); err == nil || !strings.Contains(err.Error(), "delete it") {
			t.Errorf("a key file that holds %q: %v", text, err)
		}
	}
}

func TestRotation(t *testing.T) {
	w := open(t)
	published := func() (ids []any) {
		for _, k := range w.get(".well-known/jwks.json").json["keys"].([]any) {
			k := k.(map[string]any)
			ids = append(ids, k["kid"])
			if k["alg"] != "RS256" || k["use"] != "sig" || k["d"] != nil {
				t.Errorf("published: %v", k)
			}
		}
		return ids
	}
	before := published()
	token := w.token("grant_type", "password", "username", "alice").json["access_token"]
	if err := w.Rotate(); err != nil {
		t.Fatal(err)
	}
	after := published()
	if len(before) != 2 || len(after) != 3 || after[1] != before[0] || after[2] != before[1] {
		t.Errorf("published %v, then %v: the next key is to sign", before, after)
	}
	if _, err := w.claims(token); err != nil {
		t.Errorf("signed before the rotation: %v", err)
	}
	fresh := fmt.Sprint(w.token("grant_type", "password", "username", "alice").json["access_token"])
	header, _, _ := strings.Cut(fresh, ".")
	if text, _ := base64.RawURLEncoding.DecodeString(header); !strings.Contains(string(text), fmt.Sprint(before[0])) {
		t.Errorf("signed after the rotation: %s", text)
	}
	if err := w.Rotate(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.claims(token); err == nil || len(published()) != 3 {
		t.Errorf("signed two rotations ago: %v, published %v", err, published())
	}
}
