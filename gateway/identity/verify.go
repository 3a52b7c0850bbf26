package identity

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/threefoldtech/cloud-marketplace/messages"
	optionsv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/options/v1"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

const (
	algorithm  = "RS256"
	leeway     = 30 * time.Second // by which the issuer's clock may differ from ours
	tokenBytes = 8 << 10
	keyIDBytes = 128
)

// Verify returns who an access token stands for. Every error is a
// *messages.Error, of TOKEN_REQUIRED, TOKEN_INVALID or TOKEN_EXPIRED.
func (v *Verifier) Verify(token string) (Principal, error) {
	if token == "" {
		return Principal{}, messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_REQUIRED, "this needs an access token")
	}
	if len(token) > tokenBytes {
		return Principal{}, invalid("the access token is larger than %d bytes", tokenBytes)
	}
	claims := jwt.MapClaims{}
	if _, err := v.parser.ParseWithClaims(token, claims, v.key); err != nil {
		return Principal{}, refusal(err)
	}
	return v.principal(claims)
}

func invalid(format string, args ...any) *messages.Error {
	return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_INVALID, format, args...)
}

// key returns the public key for a token whose header is in order.
func (v *Verifier) key(t *jwt.Token) (any, error) {
	typ, named := t.Header["typ"]
	name, isText := typ.(string)
	if named && (!isText || !slices.Contains([]string{"", "jwt", "at+jwt"}, strings.ToLower(name))) {
		return nil, invalid("the token is of another type than an access token")
	}
	if _, ok := t.Header["crit"]; ok {
		return nil, invalid("the access token asks for extensions that are not known here")
	}
	id, ok := t.Header["kid"].(string)
	if !ok || id == "" || len(id) > keyIDBytes {
		return nil, invalid("the access token does not name the key that it is signed with")
	}
	key, err := v.keys.find(id)
	if err != nil {
		return nil, err
	}
	return key.Keyfunc(t)
}

// sentences say what is wrong with a token, the gravest first: one that is
// expired and forged is forged.
var sentences = []struct {
	is   error
	text string
}{
	{jwt.ErrTokenMalformed, "the access token is not a signed token"},
	{jwt.ErrTokenSignatureInvalid, "the access token is not signed as its issuer signs"},
	{jwt.ErrTokenUnverifiable, "the access token is not signed with a key of its issuer"},
	{jwt.ErrTokenInvalidIssuer, "the access token is of another issuer"},
	{jwt.ErrTokenInvalidAudience, "the access token is meant for another service"},
	{jwt.ErrTokenUsedBeforeIssued, "the access token is issued in the future"},
	{jwt.ErrTokenNotValidYet, "the access token is not valid yet"},
	{jwt.ErrTokenRequiredClaimMissing, "the access token lacks a claim that it must have"},
	{jwt.ErrInvalidType, "a claim of the access token is of the wrong type"},
}

// refusal says what the parser found.
func refusal(err error) *messages.Error {
	if e, ok := errors.AsType[*messages.Error](err); ok {
		return e
	}
	for _, s := range sentences {
		if errors.Is(err, s.is) {
			return invalid("%s", s.text)
		}
	}
	if errors.Is(err, jwt.ErrTokenExpired) {
		return messages.Refuse(marketplacev1.ErrorReason_ERROR_REASON_TOKEN_EXPIRED, "the access token has expired")
	}
	return invalid("the access token is not valid")
}

// principal reads claims that the parser has found in order.
func (v *Verifier) principal(claims jwt.MapClaims) (Principal, error) {
	subject, err := claims.GetSubject()
	if err != nil || !messages.ValidID(subject) {
		return Principal{}, invalid(`the access token's subject names no account: it must have 1 to 128 visible characters, without "/" and "$"`)
	}
	issued, err := claims.GetIssuedAt()
	if err != nil || issued == nil {
		return Principal{}, invalid("the access token does not say when it was issued")
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return Principal{}, invalid("the access token does not say when it expires")
	}
	roles, err := roles(claims[v.claim])
	if err != nil {
		return Principal{}, err
	}
	if machine(subject, claims["gty"]) {
		roles = slices.DeleteFunc(roles, func(r optionsv1.Role) bool { return r == optionsv1.Role_ROLE_CLOUD_OPERATOR })
	}
	return Principal{Subject: subject, Roles: roles, Expires: expires.Time, IssuedAt: issued.Time}, nil
}

// machine says whether a token was issued to a program for itself. Programs
// are never operators, whatever the token says: an operator can be asked.
func machine(subject string, grant any) bool {
	return strings.HasSuffix(subject, "@clients") || strings.Contains(fmt.Sprint(grant), "client-credentials")
}

var roleNames = namesOfRoles()

// namesOfRoles maps roles as tokens spell them: cloud-user for ROLE_CLOUD_USER.
func namesOfRoles() map[string]optionsv1.Role {
	names := map[string]optionsv1.Role{}
	for number, name := range optionsv1.Role_name {
		if number != 0 {
			names[strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "ROLE_")), "_", "-")] = optionsv1.Role(number)
		}
	}
	return names
}

// roles reads the claim that lists roles. Names that are not known here are
// somebody else's, and passed over.
func roles(claim any) ([]optionsv1.Role, error) {
	if claim == nil {
		return nil, nil
	}
	list, ok := claim.([]any)
	if !ok {
		return nil, invalid("the access token's roles are not a list")
	}
	var roles []optionsv1.Role
	for _, item := range list {
		name, ok := item.(string)
		if !ok {
			return nil, invalid("the access token's roles are not a list of names")
		}
		if r, ok := roleNames[name]; ok && !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	return roles, nil
}
