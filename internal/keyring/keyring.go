// Package keyring wraps the data keys of entities with the key of the
// configuration, and seals values with a data key. Both are AES-256-GCM with a
// random nonce, bound to the name of what they belong to.
package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Size is the length of every key, in bytes.
const Size = 32

// Errors of opening.
var (
	// ErrNoKey says that no key of the ring has wrapped a data key.
	ErrNoKey = errors.New("wrapped with a key that is not configured")
	// ErrForged says that something was not sealed by this key for this name.
	ErrForged = errors.New("does not open: it was changed, or sealed for something else")
)

// idSize is how much of a key's digest names it.
const idSize = 8

// Ring is the key that wraps, and those before it, which only unwrap.
type Ring struct {
	current [idSize]byte
	keys    map[[idSize]byte]cipher.AEAD
}

// New returns a ring. Every key has Size bytes.
func New(current []byte, previous ...[]byte) (*Ring, error) {
	r := &Ring{keys: map[[idSize]byte]cipher.AEAD{}}
	for i, key := range append([][]byte{current}, previous...) {
		if len(key) != Size {
			return nil, fmt.Errorf("a key has %d bytes, not %d", len(key), Size)
		}
		sum := sha256.Sum256(append([]byte("marketplace key "), key...))
		id := [idSize]byte(sum[:idSize])
		if i == 0 {
			r.current = id
		}
		r.keys[id] = gcm(key)
	}
	return r, nil
}

// Wrap returns a data key as it may be stored, for the entity of a name.
func (r *Ring) Wrap(name string, key []byte) []byte {
	return seal(r.keys[r.current], r.current[:], key, []byte(name))
}

// Unwrap returns the data key that Wrap was given. It fails with ErrNoKey or ErrForged.
func (r *Ring) Unwrap(name string, wrapped []byte) ([]byte, error) {
	if len(wrapped) < idSize {
		return nil, ErrForged
	}
	key := r.keys[[idSize]byte(wrapped[:idSize])]
	if key == nil {
		return nil, ErrNoKey
	}
	return open(key, wrapped[idSize:], []byte(name))
}

// Current says whether a data key is wrapped with the key that wraps now.
func (r *Ring) Current(wrapped []byte) bool { return bytes.HasPrefix(wrapped, r.current[:]) }

// Box seals values with a data key.
type Box struct {
	key    cipher.AEAD
	pepper []byte
}

// NewKey returns a new data key.
func NewKey() []byte {
	key := make([]byte, Size)
	_, _ = rand.Read(key) // never fails
	return key
}

// NewBox returns a box for a data key of Size bytes.
func NewBox(key []byte) *Box {
	pepper := sha256.Sum256(append([]byte("marketplace digest "), key...))
	return &Box{gcm(key), pepper[:16]}
}

// prefix tells a sealed value from one that never was.
const prefix = "sealed:"

// Seal returns a value as it may be stored, for a name.
func (b *Box) Seal(name, value string) string {
	return prefix + base64.RawStdEncoding.EncodeToString(seal(b.key, nil, []byte(value), []byte(name)))
}

// Open returns the value that Seal was given. It fails with ErrForged.
func (b *Box) Open(name, sealed string) (string, error) {
	raw, found := strings.CutPrefix(sealed, prefix)
	text, err := base64.RawStdEncoding.DecodeString(raw)
	if !found || err != nil {
		return "", ErrForged
	}
	value, err := open(b.key, text, []byte(name))
	return string(value), err
}

// Pepper makes a digest one that cannot be guessed at without the key.
func (b *Box) Pepper() []byte { return b.pepper }

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) //nolint:forbidigo // the length was checked
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) //nolint:forbidigo // AES has the block size that GCM wants
	}
	return aead
}

func seal(key cipher.AEAD, to, value, name []byte) []byte {
	return key.Seal(append([]byte{}, to...), nil, value, name) //nolint:gosec // the nonce is made inside, and prepended
}

func open(key cipher.AEAD, sealed, name []byte) ([]byte, error) {
	value, err := key.Open(nil, nil, sealed, name)
	if err != nil {
		return nil, ErrForged
	}
	return value, nil
}
