package totp

import (
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/sshd/privatefile"
)

// TestVectors is RFC 6238, appendix B, with the secrets of its errata: as many
// bytes as the hash has.
func TestVectors(t *testing.T) {
	const digits = "1234567890123456789012345678901234567890123456789012345678901234"
	for _, tt := range []struct {
		at                 int64
		sha1, sha256, sha5 string
	}{
		{59, "94287082", "46119246", "90693936"},
		{1111111109, "07081804", "68084774", "25091201"},
		{1111111111, "14050471", "67062674", "99943326"},
		{1234567890, "89005924", "91819424", "93441116"},
		{2000000000, "69279037", "90698825", "38618901"},
		{20000000000, "65353130", "77737706", "47863826"},
	} {
		for algorithm, v := range map[string]struct {
			bytes int
			want  string
		}{"SHA1": {20, tt.sha1}, "SHA256": {32, tt.sha256}, "SHA512": {64, tt.sha5}} {
			secret := base32.StdEncoding.EncodeToString([]byte(digits[:v.bytes]))
			k, err := Parse("otpauth://totp/x?digits=8&algorithm=" + algorithm + "&secret=" + url.QueryEscape(secret))
			if err != nil {
				t.Fatal(err)
			}
			if got := k.code(counterAt(time.Unix(tt.at, 0))); got != v.want {
				t.Errorf("%s at %d: %s, want %s", algorithm, tt.at, got, v.want)
			}
		}
	}
}

const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		value  string
		digits int
		err    error
	}{
		{secret, 6, nil},
		{" jbsw y3dp-ehpk 3pxp \n", 6, nil},
		{"JBSWY3DPEHPK3PXP====", 6, nil},
		{"otpauth://totp/Corp:alice?secret=" + secret + "&issuer=Corp&period=30", 6, nil},
		{"OTPAUTH://TOTP/x?secret=" + secret + "&digits=7&algorithm=sha512", 7, nil},
		{"otpauth://totp/x?secret=" + secret + "&digits=9", 0, errDigits},
		{"otpauth://totp/x?secret=" + secret + "&digits=many", 0, errDigits},
		{"otpauth://totp/x?secret=" + secret + "&algorithm=MD5", 0, errAlgorithm},
		{"otpauth://totp/x?secret=" + secret + "&period=60", 0, errPeriod},
		{"otpauth://hotp/x?secret=" + secret, 0, errType},
		{"otpauth://totp/%zz?secret=" + secret, 0, errBase32},
		{"otpauth://totp/x", 0, errShort},
		{" otpauth://totp/x?secret=" + secret + "\n", 6, nil},
		{"JBSWY3DP", 0, errShort},
		{"GEZDGNBVGY3TQOI", 0, errShort}, // 9 bytes
		{"GEZDGNBVGY3TQOJQ", 6, nil},     // 10
		{"password1!", 0, errBase32},
		{"", 0, errShort},
	} {
		k, err := Parse(tt.value)
		if !errors.Is(err, tt.err) || k.digits != tt.digits {
			t.Errorf("Parse(%q) = %d digits, %v, want %d, %v", tt.value, k.digits, err, tt.digits, tt.err)
		}
		if err != nil && (strings.Contains(err.Error(), "JBSW") || strings.Contains(err.Error(), "password1")) {
			t.Errorf("the error holds the value: %v", err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			if text := fmt.Sprintf(verb, k); text != "(secret)" {
				t.Errorf("a key printed with %s is %q", verb, text)
			}
		}
	}
}

// TestOneCodeOfTwoSecrets types a code that two secrets of a person have, at
// different times: the later counts, so that the code cannot be used again.
func TestOneCodeOfTwoSecrets(t *testing.T) {
	now := time.Unix(1_800_000_010, 0)
	const after, before = "JBSWY3DPEHPK3PXP", "GEZAAAAAAAAA2FVI" // found by trying
	k, err := Parse(after)
	if err != nil {
		t.Fatal(err)
	}
	want := counterAt(now) + 1
	for _, secrets := range [][]string{{after, before}, {before, after}} {
		if n, err := (&Codes{}).Check("id", secrets, k.code(want), now); n != want {
			t.Errorf("%q: code %d, %v, want %d", secrets, n, err, want)
		}
	}
	if n, err := (&Codes{}).Check("id", []string{before}, k.code(want), now); n != want-2 {
		t.Errorf("the other secret alone: code %d, %v, want %d", n, err, want-2)
	}
}

func TestCheck(t *testing.T) {
	now := time.Unix(1_800_000_010, 0)
	k, err := Parse(secret)
	if err != nil {
		t.Fatal(err)
	}
	other := "otpauth://totp/x?digits=8&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	o, err := Parse(other)
	if err != nil {
		t.Fatal(err)
	}
	present := counterAt(now)
	for _, tt := range []struct {
		name    string
		secrets []string
		typed   string
		since   time.Time
		want    error
	}{
		{"now", []string{secret}, k.code(present), time.Time{}, nil},
		{"the one before", []string{secret}, k.code(present - 1), time.Time{}, nil},
		{"the one after", []string{secret}, k.code(present + 1), time.Time{}, nil},
		{"two before", []string{secret}, k.code(present - 2), time.Time{}, ErrWrong},
		{"two after", []string{secret}, k.code(present + 2), time.Time{}, ErrWrong},
		{"in groups", []string{secret}, " " + k.code(present)[:3] + " " + k.code(present)[3:] + " ", time.Time{}, nil},
		{"the second token", []string{secret, other}, o.code(present), time.Time{}, nil},
		{"an unusable value beside", []string{"!", secret}, k.code(present), time.Time{}, nil},
		{"empty", []string{secret}, "", time.Time{}, ErrWrong},
		{"too few digits", []string{secret}, k.code(present)[1:], time.Time{}, ErrWrong},
		{"no secret", nil, k.code(present), time.Time{}, ErrNoSecret},
		{"no usable secret", []string{"!"}, k.code(present), time.Time{}, ErrNoSecret},
		{"shown before the start", []string{secret}, k.code(present), now, ErrOld},
		{"shown after the start", []string{secret}, k.code(present + 1), now, nil},
	} {
		n, err := (&Codes{Since: func() time.Time { return tt.since }}).Check("id", tt.secrets, tt.typed, now)
		if !errors.Is(err, tt.want) || (err == nil) != (n != 0) {
			t.Errorf("%s: %d, %v, want %v", tt.name, n, err, tt.want)
		}
	}
}

func settings(t *testing.T) Settings {
	dir := t.TempDir()
	return Settings{File: filepath.Join(dir, "totp"), KeyFile: filepath.Join(dir, "key"), Issuer: "Corp & Co"}
}

func TestFile(t *testing.T) {
	s := settings(t)
	f, err := Open(s)
	if err != nil {
		t.Fatalf("Open of no file = %v", err)
	}
	now := time.Now()
	uri, err := f.Add(Person{ID: "id-1", Directory: "corp", Name: "alice", Added: now})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(uri, "otpauth://totp/Corp%20&%20Co:alice?") || !strings.Contains(uri, "issuer=Corp%20%26%20Co") {
		t.Errorf("the URI is %q", uri)
	}
	if _, err := f.Add(Person{ID: "id-1", Directory: "corp", Name: "alice", Added: now}); !errors.Is(err, ErrExists) {
		t.Errorf("the second secret of one user: %v, want ErrExists", err)
	}
	other, err := Open(s) // another process
	if err != nil {
		t.Fatal(err)
	}
	k, err := Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	codes := &Codes{File: other}
	if _, err := codes.Check("id-1@corp", nil, k.code(counterAt(now)), now); err != nil {
		t.Errorf("Check = %v", err)
	}
	if _, err := f.Add(Person{ID: "id-2", Directory: "corp", Name: "bob", Added: now}); err != nil {
		t.Fatal(err)
	}
	if ok, err := codes.Enrolled("id-2@corp", nil); !ok || err != nil {
		t.Errorf("what another process added is not seen: %t, %v", ok, err)
	}
	for _, file := range []string{s.File, s.KeyFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if info, _ := os.Stat(file); info.Mode().Perm() != 0o600 || strings.Contains(string(text), "alice") {
			t.Errorf("%s: mode %v, or not sealed", file, info.Mode())
		}
	}
	if err := f.Remove(Person{ID: "id-1", Directory: "corp"}); err != nil {
		t.Fatal(err)
	}
	if people, err := other.People(); err != nil || len(people) != 1 || people[0].Name != "bob" {
		t.Errorf("People = %v, %v, want bob", people, err)
	}
}

func TestFileRefusals(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, s Settings){
		"other key": func(t *testing.T, s Settings) { write(t, s.KeyFile, strings.Repeat("k", 40), 0o600) },
		"short key": func(t *testing.T, s Settings) { write(t, s.KeyFile, "short", 0o600) },
		"no key":    func(_ *testing.T, s Settings) { os.Remove(s.KeyFile) },
		"changed": func(t *testing.T, s Settings) {
			text, _ := os.ReadFile(s.File)
			text[len(text)-1] ^= 1
			write(t, s.File, string(text), 0o600)
		},
		"cut off":         func(t *testing.T, s Settings) { write(t, s.File, header, 0o600) },
		"not ours":        func(t *testing.T, s Settings) { write(t, s.File, "{}", 0o600) },
		"for everybody":   func(t *testing.T, s Settings) { os.Chmod(s.File, 0o644) },
		"key of all":      func(t *testing.T, s Settings) { os.Chmod(s.KeyFile, 0o604) },
		"not even a file": func(t *testing.T, s Settings) { os.Remove(s.File); os.Mkdir(s.File, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			s := settings(t)
			f, err := Open(s)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Add(Person{ID: "id-1", Directory: "corp", Name: "alice", Added: time.Now()}); err != nil {
				t.Fatal(err)
			}
			spoil(t, s)
			g, err := Open(s)
			if !errors.Is(err, ErrUnreadable) {
				t.Fatalf("Open = %v, want ErrUnreadable", err)
			}
			if _, err := (&Codes{File: g}).Check("id-1@corp", nil, "000000", time.Now()); !errors.Is(err, ErrUnreadable) {
				t.Errorf("Check = %v, want ErrUnreadable", err)
			}
			if yes, err := (&Codes{File: g}).Enrolled("id-1@corp", []string{secret}); yes || !errors.Is(err, ErrUnreadable) {
				t.Errorf("Enrolled = %t, %v, want ErrUnreadable", yes, err)
			}
			before, _ := os.ReadFile(s.File)
			if _, err := g.Add(Person{ID: "id-2", Directory: "corp", Name: "bob", Added: time.Now()}); err == nil {
				t.Error("Add wrote over it")
			}
			if after, _ := os.ReadFile(s.File); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

// TestSecretOfAnotherDirectory gives two people of two directories one id.
func TestSecretOfAnotherDirectory(t *testing.T) {
	s := settings(t)
	f, err := Open(s, "corp", "partner")
	if err != nil {
		t.Fatal(err)
	}
	uri, err := f.Add(Person{ID: "id-1", Directory: "corp", Name: "bob", Added: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	k, err := Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	codes, now := &Codes{File: f}, time.Now()
	code := k.code(counterAt(now))
	if _, err := codes.Check("id-1@corp", nil, code, now); err != nil {
		t.Errorf("the person of the secret: %v", err)
	}
	for _, person := range []string{"id-1@partner", "id-1@", "id-1", "@corp", "", "id-1@corp@corp"} {
		if _, err := codes.Check(person, nil, code, now); !errors.Is(err, ErrNoSecret) {
			t.Errorf("%q: %v, want ErrNoSecret", person, err)
		}
	}
	if _, err := f.Add(Person{ID: "id-1", Directory: "partner", Name: "bob", Added: now}); err != nil {
		t.Errorf("a secret for the other person: %v", err)
	}
	if err := f.Remove(Person{ID: "id-1", Directory: "partner"}); err != nil {
		t.Fatal(err)
	}
	if people, err := f.People(); err != nil || len(people) != 1 || people[0].Directory != "corp" {
		t.Errorf("People = %v, %v, want the one of corp", people, err)
	}
}

// TestSecretsOfAnOlderVersion reads a file whose records have ids alone.
func TestSecretsOfAnOlderVersion(t *testing.T) {
	s := settings(t)
	write(t, s.KeyFile, strings.Repeat("k", 40), 0o600)
	plain := `{"id-1":{"name":"alice","added":"2026-01-02T03:04:05Z","uri":"` + secret + `"}}`
	sealer, err := (&File{settings: s}).sealer()
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, sealer.NonceSize())
	write(t, s.File, string(sealer.Seal(append([]byte(header), nonce...), nonce, []byte(plain), []byte(header))), 0o600)
	enrolled := func(f *File, person string) bool {
		yes, err := (&Codes{File: f}).Enrolled(person, nil)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	several, err := Open(s, "corp", "partner")
	if err != nil {
		t.Fatal(err)
	}
	for _, person := range []string{"id-1@corp", "id-1@partner"} {
		if enrolled(several, person) {
			t.Errorf("%s has a secret, though nobody knows whose it is", person)
		}
	}
	if people, err := several.People(); err != nil || len(people) != 1 || people[0].Directory != "" || people[0].ID != "id-1" {
		t.Errorf("People = %v, %v, want one of no directory", people, err)
	}
	one, err := Open(s, "corp")
	if err != nil {
		t.Fatal(err)
	}
	if !enrolled(one, "id-1@corp") || enrolled(one, "id-1@partner") {
		t.Error("with one directory, the secret must be of a person of that one")
	}
	// A change writes the directory down: it is known from then on.
	if _, err := one.Add(Person{ID: "id-2", Directory: "corp", Name: "bob", Added: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if !enrolled(several, "id-1@corp") || enrolled(several, "id-1@partner") {
		t.Error("after a change with one directory, the secret must have that directory")
	}
	if err := several.Remove(Person{ID: "id-1", Directory: "corp"}); err != nil || enrolled(one, "id-1@corp") {
		t.Errorf("removed, and there: %v", err)
	}
}

func TestSettingsCheck(t *testing.T) {
	for _, tt := range []struct {
		s    Settings
		want string // beginnings of the errors
	}{
		{DefaultSettings(), ""},
		{Settings{File: "/f", KeyFile: "/k", Issuer: "Corp"}, ""},
		{Settings{File: "/f"}, "key_file: missing"},
		{Settings{KeyFile: "/k"}, "file: missing"},
		{Settings{Issuer: "Corp: Inc"}, `issuer: "Corp: Inc"`},
	} {
		got := errors.Join(tt.s.Check()...)
		if (got == nil) != (tt.want == "") || got != nil && !strings.HasPrefix(got.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.s, got, tt.want)
		}
		if tt.s.Enabled() != (tt.s.File != "") {
			t.Errorf("%+v: Enabled is %t", tt.s, tt.s.Enabled())
		}
	}
}

// TestShortKey seals with a key that somebody made.
func TestShortKey(t *testing.T) {
	for n, ok := range map[int]bool{31: false, 32: true} {
		s := settings(t)
		write(t, s.KeyFile, strings.Repeat("k", n)+" \n", 0o600)
		f, err := Open(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Add(Person{ID: "id-1", Directory: "corp", Name: "alice"}); (err == nil) != ok {
			t.Errorf("a key of %d bytes: %v, want accepted: %t", n, err, ok)
		}
	}
}

// TestSealedWithANewNonce seals the same records twice.
func TestSealedWithANewNonce(t *testing.T) {
	s := settings(t)
	f, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Add(Person{ID: "id-1", Directory: "corp", Name: "alice", Added: time.Now()}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 20 {
		if err := f.Remove(Person{ID: "nobody"}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(s.File)
		if err != nil {
			t.Fatal(err)
		}
		nonce := string(text[len(header) : len(header)+24])
		if seen[nonce] {
			t.Fatalf("the nonce %x was used before: two texts under one nonce give the secrets away", nonce)
		}
		seen[nonce] = true
	}
}

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	os.Remove(file)
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestTwoWriters checks that no secret is lost when several processes write at
// once: a writer that comes too late gets an error.
func TestTwoWriters(t *testing.T) {
	s := settings(t)
	first, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	added := 0
	for i := range 20 {
		wg.Go(func() {
			f, err := Open(s)
			if err != nil {
				t.Errorf("Open = %v", err)
				return
			}
			_, err = f.Add(Person{ID: fmt.Sprint("id-", i), Directory: "corp", Name: "x", Added: time.Now()})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				added++
			case !errors.Is(err, privatefile.ErrBusy):
				t.Errorf("Add = %v", err)
			}
		})
	}
	wg.Wait()
	people, err := first.People()
	if err != nil || len(people) != added || added == 0 {
		t.Errorf("%d people in the file (%v), %d were added", len(people), err, added)
	}
}

// TestFirstSecretWhileOthersOpen makes the file of secrets while others read it. They
// find no secrets or the first one, never an error.
func TestFirstSecretWhileOthersOpen(t *testing.T) {
	for range 300 {
		s := settings(t)
		f, err := Open(s)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					if _, err := Open(s); err != nil {
						t.Errorf("Open = %v", err)
					}
				}
			})
		}
		if _, err := f.Add(Person{ID: "id", Directory: "corp", Name: "x"}); err != nil {
			t.Errorf("Add = %v", err)
		}
		wg.Wait()
	}
}

func FuzzParse(f *testing.F) {
	f.Add(secret)
	f.Add("otpauth://totp/a:b?secret=JBSWY3DPEHPK3PXP&digits=8&algorithm=SHA512&period=30")
	f.Fuzz(func(t *testing.T, value string) {
		k, err := Parse(value)
		if (err == nil) != (len(k.secret) >= leastSecret) {
			t.Errorf("Parse(%q) = %d bytes, %v", value, len(k.secret), err)
		}
		if err == nil && len(k.code(1)) != k.digits {
			t.Errorf("a code of %d digits, want %d", len(k.code(1)), k.digits)
		}
	})
}
