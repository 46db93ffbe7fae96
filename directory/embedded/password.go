package embedded

import (
	"context"
	"crypto/sha1" // only to verify what other directories stored
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"golang.org/x/sync/semaphore"
)

// The cost of a new password's hash, the second choice of OWASP's list: about
// 30 ms and 19 MiB a login.
const (
	argonMemory     = 19 * 1024 // KiB
	argonIterations = 2
)

// scheme finds the "{SSHA}" before a stored password. A value without a
// scheme is a password in the clear.
var scheme = regexp.MustCompile(`^\{([A-Za-z0-9-]+)\}`)

// salted are the schemes whose value is base64(hash(password, salt), salt).
var salted = map[string]func() hash.Hash{
	"SSHA":    sha1.New,
	"SSHA256": sha256.New,
	"SSHA384": sha512.New384,
	"SSHA512": sha512.New,
}

// parseStored returns a function that compares a password with a stored one.
// The error says what would be right.
func parseStored(stored string) (check func(password string) bool, err error) {
	name := strings.ToUpper(scheme.FindString(stored))
	value := stored[len(name):]
	name = strings.Trim(name, "{}")
	if newHash, ok := salted[name]; ok {
		raw, err := base64.StdEncoding.DecodeString(value)
		size := newHash().Size()
		if err != nil || len(raw) <= size {
			return nil, errors.New("stored password: want the base64 of a hash and its salt after the scheme")
		}
		return func(password string) bool {
			h := newHash()
			h.Write([]byte(password))
			h.Write(raw[size:])
			return subtle.ConstantTimeCompare(h.Sum(nil), raw[:size]) == 1
		}, nil
	}
	switch name {
	case "CRYPT", "ARGON2":
	case "PBKDF2", "PBKDF2-SHA1", "PBKDF2-SHA256", "PBKDF2-SHA512":
		value = "{" + name + "}" + value
	default:
		return nil, fmt.Errorf("passwords stored as {%s} are not read here: want {ARGON2}, {CRYPT} with $2b$, $5$ or $6$, {PBKDF2-SHA256} or {SSHA512}, or the password in the clear, which is then hashed", name)
	}
	forms, err := decoder()
	if err != nil {
		return nil, err
	}
	digest, err := forms.Decode(value)
	if err != nil {
		return nil, fmt.Errorf("stored password of scheme {%s}: %w", name, err)
	}
	return digest.Match, nil
}

// decoder reads the "$6$…" forms. The package has a decoder too, but creates it at
// the first use without a lock.
var decoder = sync.OnceValues(crypt.NewDefaultDecoder)

// isClear reports whether a value of userPassword is the password itself.
func isClear(stored string) bool { return !scheme.MatchString(stored) }

// checkStored finds values of userPassword in the file that nobody could log in
// with.
func checkStored(stored string) error {
	if !isClear(stored) {
		_, err := parseStored(stored)
		return err
	}
	if stored == "" || strings.TrimSpace(stored) != stored {
		return errors.New("a password is empty, or begins or ends with a space")
	}
	return nil
}

// hasher computes and verifies hashes: at most as many at once as there are
// processors, because each takes 19 MiB.
type hasher struct {
	slots  *semaphore.Weighted
	memory uint32 // KiB for a new hash
	decoy  string // stored password of nobody
}

func newHasher(memory uint32) (*hasher, error) {
	h := &hasher{slots: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))), memory: memory}
	var err error
	h.decoy, err = h.hash(context.Background(), "decoy")
	return h, err
}

// hash returns what to store for a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.slots.Acquire(ctx, 1); err != nil {
		return "", err
	}
	defer h.slots.Release(1)
	argon, err := argon2.New(argon2.WithVariantID(), argon2.WithParallelism(1),
		argon2.WithMemoryInKiB(h.memory), argon2.WithIterations(argonIterations))
	if err != nil {
		return "", fmt.Errorf("setting up a password hash: %w", err)
	}
	digest, err := argon.Hash(password)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	return "{ARGON2}" + digest.Encode(), nil
}

func (h *hasher) matches(ctx context.Context, stored, password string) bool {
	check, err := parseStored(stored)
	if err != nil || h.slots.Acquire(ctx, 1) != nil {
		return false
	}
	defer h.slots.Release(1)
	return check(password)
}

// waste takes as long as matches does, so that the time does not show whether a name
// exists.
func (h *hasher) waste(ctx context.Context, password string) { h.matches(ctx, h.decoy, password) }
