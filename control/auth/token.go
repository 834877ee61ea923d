// Package auth says who calls and what they may do: the form of tokens, their
// verification, identities from tokens and certificates, and the table of what
// each role may do. It is pure but for making secrets; where tokens are stored
// and how calls arrive is others' business.
package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"strings"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	accessPrefix = "dhow"
	joinPrefix   = "dhowj"
	secretBytes  = 20 // 160 bits: no guessing, so no slow hash is needed
	secretChars  = 32
)

// Token is what the holder presents, taken apart.
type Token struct {
	Name   string
	Secret string
	// Fingerprint of the CA; in join tokens only.
	Fingerprint string
}

// Join tells whether it is a join token.
func (t Token) Join() bool { return t.Fingerprint != "" }

// String is the token as its holder keeps it.
func (t Token) String() string {
	if t.Join() {
		return joinPrefix + "_" + t.Name + "_" + t.Secret + "_" + t.Fingerprint
	}
	return accessPrefix + "_" + t.Name + "_" + t.Secret
}

// Hash is what is stored of the secret.
func (t Token) Hash() []byte {
	sum := sha256.Sum256([]byte(t.Secret))
	return sum[:]
}

// New makes a token with a random secret. A fingerprint of the CA makes it a
// join token.
func New(name, fingerprint string) Token {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return Token{Name: name, Secret: strings.ToLower(base32.StdEncoding.EncodeToString(b[:])), Fingerprint: fingerprint}
}

// Parse takes apart what New made, and nothing else. The error never repeats
// the secret.
func Parse(s string) (Token, error) {
	parts := strings.Split(strings.TrimSpace(s), "_")
	var t Token
	switch {
	case len(parts) == 3 && parts[0] == accessPrefix:
		t = Token{Name: parts[1], Secret: parts[2]}
	case len(parts) == 4 && parts[0] == joinPrefix:
		t = Token{Name: parts[1], Secret: parts[2], Fingerprint: parts[3]}
		if len(t.Fingerprint) != 64 || !all(t.Fingerprint, "0123456789abcdef") {
			return Token{}, malformed("its last part is not a fingerprint of 64 hexadecimal digits")
		}
	default:
		return Token{}, malformed("it does not look like dhow_NAME_SECRET or dhowj_NAME_SECRET_FINGERPRINT")
	}
	if t.Name == "" || len(t.Name) > 63 || !all(t.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") {
		return Token{}, malformed("its name is not of 1 to 63 of a-z, 0-9 and '-'")
	}
	if len(t.Secret) != secretChars || !all(t.Secret, "abcdefghijklmnopqrstuvwxyz234567") {
		return Token{}, malformed("its secret is cut short or changed")
	}
	return t, nil
}

func malformed(why string) error {
	return spec.Errorf(spec.CodeUnknownUser, "malformed token: %s: copy it whole, or make a new one with `dhow token create`", why)
}

func all(s, set string) bool {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return true
}

// Lookup finds a stored token by name; CodeNotFound when there is none.
type Lookup func(name string) (*dhowv1.Token, error)

// Verify tells who holds the token. Unknown tokens and wrong secrets get the
// same answer, and take the same time. Join tokens give an identity that may
// join and nothing else.
func Verify(s string, lookup Lookup, now time.Time) (Identity, error) {
	t, err := Parse(s)
	if err != nil {
		return Identity{}, err
	}
	stored, err := lookup(t.Name)
	if err != nil && spec.CodeOf(err) != spec.CodeNotFound {
		return Identity{}, err
	}
	want := stored.GetSecretHash()
	known := len(want) == sha256.Size
	if !known {
		want = make([]byte, sha256.Size)
	}
	if subtle.ConstantTimeCompare(t.Hash(), want) != 1 || !known {
		return Identity{}, spec.Errorf(spec.CodeUnknownUser, "token %q is not known to this cluster, or its secret is wrong: use a context of this cluster, or make a new token with `dhow token create`", t.Name)
	}
	if end := stored.GetExpiresAt(); end != nil && !now.Before(end.AsTime()) {
		return Identity{}, spec.Errorf(spec.CodeUnknownUser, "token %q ended %s (it is %s here): make a new one with `dhow token create`",
			t.Name, end.AsTime().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	role := stored.GetRole()
	join := role == dhowv1.Role_ROLE_JOIN_NODE || role == dhowv1.Role_ROLE_JOIN_SERVER
	if join != t.Join() {
		return Identity{}, spec.Errorf(spec.CodeUnknownUser, "token %q is for the role %s, and has the form of another: copy it whole", t.Name, RoleName(role))
	}
	return Identity{Subject: "token/" + t.Name, Role: role}, nil
}
