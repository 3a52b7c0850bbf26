package issuer

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const (
	keyBits  = 2048
	keyBlock = "PRIVATE KEY"
)

// key is a signing key and the id that tokens call it by, which follows from it.
type key struct {
	id      string
	private *rsa.PrivateKey
}

func newKey(private *rsa.PrivateKey) key {
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&private.PublicKey))
	return key{base64.RawURLEncoding.EncodeToString(sum[:12]), private}
}

func generateKey() (key, error) {
	private, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return key{}, fmt.Errorf("generate a signing key: %w", err)
	}
	return newKey(private), nil
}

// keyring holds the keys that are published: the next to sign, the one that
// signs, and after a rotation the one that signed before. They are kept in a
// file, if it has a name.
type keyring struct {
	file string

	mu   sync.RWMutex
	keys []key
}

// openKeyring reads the file, or creates it with new keys.
func openKeyring(file string) (*keyring, error) {
	k := &keyring{file: file}
	text, err := []byte(nil), error(nil)
	if file != "" {
		text, err = os.ReadFile(filepath.Clean(file))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the sandbox's signing keys: %w", err)
	}
	if text == nil {
		return k, errors.Join(k.rotate(), k.rotate())
	}
	if k.keys = parseKeys(text); len(k.keys) < 2 {
		return nil, fmt.Errorf("read the sandbox's signing keys: %s does not hold them; delete it to begin anew, and everybody signs in again", file)
	}
	return k, nil
}

// parseKeys returns the keys that text holds, or none if anything else is in it.
func parseKeys(text []byte) []key {
	var keys []key
	for len(bytes.TrimSpace(text)) > 0 {
		block, rest := pem.Decode(text)
		if block == nil || block.Type != keyBlock {
			return nil
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		private, ok := parsed.(*rsa.PrivateKey)
		if err != nil || !ok {
			return nil
		}
		keys, text = append(keys, newKey(private)), rest
	}
	return keys
}

// rotate puts a new key before the others, of which it keeps two.
func (k *keyring) rotate() error {
	next, err := generateKey()
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := append([]key{next}, k.keys[:min(len(k.keys), 2)]...)
	if err := keep(k.file, keys); err != nil {
		return fmt.Errorf("keep the sandbox's signing keys: %w", err)
	}
	k.keys = keys
	return nil
}

// keep writes keys to a file so that a crash leaves the old ones or these.
func keep(file string, keys []key) error {
	if file == "" {
		return nil
	}
	var text bytes.Buffer
	for _, key := range keys {
		der, err := x509.MarshalPKCS8PrivateKey(key.private)
		if err != nil {
			return err
		}
		if err := pem.Encode(&text, &pem.Block{Type: keyBlock, Bytes: der}); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// published returns all keys. The second of them signs.
func (k *keyring) published() []key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Clone(k.keys)
}

// sign returns the claims as a token.
func (k *keyring) sign(claims jwt.MapClaims) (string, error) {
	key := k.published()[1]
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = key.id
	return token.SignedString(key.private)
}

// public finds the key that a token says it is signed with.
func (k *keyring) public(token *jwt.Token) (any, error) {
	for _, key := range k.published() {
		if token.Header["kid"] == key.id {
			return &key.private.PublicKey, nil
		}
	}
	return nil, errors.New("the token was signed with no key of this issuer")
}

// set returns what is published of the keys.
func (k *keyring) set() (jwkset.JWKSMarshal, error) {
	var set jwkset.JWKSMarshal
	for _, key := range k.published() {
		options := jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: key.id, ALG: jwkset.AlgRS256, USE: jwkset.UseSig}}
		jwk, err := jwkset.NewJWKFromKey(&key.private.PublicKey, options)
		if err != nil {
			return set, fmt.Errorf("publish a signing key: %w", err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	return set, nil
}
