package rig

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"

	"github.com/golang-jwt/jwt/v5"

	"github.com/threefoldtech/cloud-marketplace/client"
)

// Mint makes tokens for anybody, with the key of the sandbox's issuer.
type Mint struct {
	Key    *rsa.PrivateKey
	KeyID  string
	Roles  string // the claim that lists roles
	claims jwt.MapClaims
}

// NewMint takes a token of the server's issuer as its model.
func NewMint(ctx context.Context, s *Server) (*Mint, error) {
	model, _, err := client.SignIn(ctx, s.At.Issuer, "olga")
	if err != nil {
		return nil, err
	}
	m := &Mint{claims: jwt.MapClaims{}}
	parsed, _, err := jwt.NewParser().ParseUnverified(model, m.claims)
	if err != nil {
		return nil, err
	}
	m.KeyID, _ = parsed.Header["kid"].(string)
	for name, value := range m.claims {
		if list, ok := value.([]any); ok && len(list) > 0 && list[0] == "cloud-operator" {
			m.Roles = name
		}
	}
	text, err := os.ReadFile(filepath.Join(s.Data, "sandbox-issuer.pem"))
	if err != nil {
		return nil, err
	}
	_, rest := pem.Decode(text)
	block, _ := pem.Decode(rest) // the second key signs
	if block == nil || m.Roles == "" || m.KeyID == "" {
		return nil, errors.New("the sandbox's issuer is not as it was")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the sandbox's issuer signs with another kind of key")
	}
	m.Key = private
	return m, nil
}

// Claims returns what a token of somebody says.
func (m *Mint) Claims(subject string, roles ...string) jwt.MapClaims {
	claims := maps.Clone(m.claims)
	claims["sub"], claims[m.Roles] = subject, roles
	return claims
}

// Sign signs claims as the issuer does.
func (m *Mint) Sign(claims jwt.MapClaims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	t.Header["kid"] = m.KeyID
	return t.SignedString(m.Key)
}

// Token returns a token of somebody.
func (m *Mint) Token(subject string, roles ...string) (string, error) {
	return m.Sign(m.Claims(subject, roles...))
}
