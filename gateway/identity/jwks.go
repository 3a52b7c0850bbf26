package identity

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/MicahParks/keyfunc/v3"
)

// rsaBits is the least that a key must have.
const rsaBits = 2048

// errNoKeys means that an issuer published nothing that can be used.
var errNoKeys = errors.New("the answer has no key for " + algorithm)

// parseSet returns the keys of a JWK set that tokens may be signed with. Other
// keys in it are passed over; without any, the error is errNoKeys.
func parseSet(ctx context.Context, text []byte) (map[string]keyfunc.Keyfunc, error) {
	var published struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := decode(text, &published); err != nil {
		return nil, fmt.Errorf("the answer is not a set of keys: %w", err)
	}
	set := map[string]keyfunc.Keyfunc{}
	for _, raw := range published.Keys {
		var about struct {
			ID        string `json:"kid"`
			Use       string `json:"use"`
			Algorithm string `json:"alg"`
		}
		if decode(raw, &about) != nil || about.ID == "" || len(about.ID) > keyIDBytes ||
			about.Use != "" && about.Use != "sig" || about.Algorithm != "" && about.Algorithm != algorithm {
			continue
		}
		if key, err := keyfunc.NewJWKJSON(raw); err == nil && strong(ctx, key) {
			set[about.ID] = key
		}
	}
	if len(set) == 0 {
		return nil, errNoKeys
	}
	return set, nil
}

func decode(text []byte, into any) error {
	return json.NewDecoder(bytes.NewReader(text)).Decode(into)
}

// strong says whether a key is one of RSA that is long enough.
func strong(ctx context.Context, key keyfunc.Keyfunc) bool {
	set, err := key.VerificationKeySet(ctx)
	if err != nil || len(set.Keys) != 1 {
		return false
	}
	public, ok := set.Keys[0].(*rsa.PublicKey)
	return ok && public.N.BitLen() >= rsaBits
}
