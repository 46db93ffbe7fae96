package audit

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"berth/sshd/event"
)

// TestTampering is the property: whatever is changed before the last signature is
// found, in the right file and near the line.
func TestTampering(t *testing.T) {
	s, key := chained(t), newKey(t)
	f := openSigned(t, s, key)
	for i := range 60 {
		f.Emit(numbered(i))
	}
	closeFile(t, f)
	intact(t, s, key)
	type lineOf struct{ file, text string }
	var whole []lineOf
	for _, path := range append(glob(t, s, "events-*"), s.File) {
		for l := range strings.Lines(read(t, path)) {
			whole = append(whole, lineOf{path, l})
		}
	}
	r := mathrand.New(mathrand.NewPCG(7, 7))
	kinds := map[string]func(all []lineOf, i int) []lineOf{
		"changed": func(all []lineOf, i int) []lineOf {
			b := []byte(all[i].text)
			b[r.IntN(len(b))] ^= 1 << r.IntN(7)
			all[i].text = string(b)
			return all
		},
		"removed":  func(all []lineOf, i int) []lineOf { return slices.Delete(all, i, i+1) },
		"repeated": func(all []lineOf, i int) []lineOf { return slices.Insert(all, i, all[i]) },
		"inserted": func(all []lineOf, i int) []lineOf {
			return slices.Insert(all, i, lineOf{all[i].file, `{"time":"2026-01-01T00:00:00.000Z","id":1532,"type":"removed"}` + "\n"})
		},
		"garbage": func(all []lineOf, i int) []lineOf { return slices.Insert(all, i, lineOf{all[i].file, "x\n"}) },
		"moved": func(all []lineOf, i int) []lineOf {
			all[i-1].text, all[i].text = all[i].text, all[i-1].text
			return all
		},
		"cut": func(all []lineOf, i int) []lineOf {
			all[i].text = all[i].text[:r.IntN(len(all[i].text))]
			return all
		},
		"made anew": func(all []lineOf, i int) []lineOf { // with a chain that fits, up to the end
			_, last, _ := cutLink([]byte(strings.TrimSuffix(all[i-1].text, "\n")))
			c := &chain{}
			for ; i < len(all); i++ {
				body, _, _ := cutLink([]byte(strings.TrimSuffix(all[i].text, "\n")))
				plain := strings.Replace(string(body), "/0000", "/0001", 1) + "}\n"
				var b []byte
				b, last = c.append(nil, []byte(plain), last)
				all[i].text = string(b)
			}
			return all
		},
	}
	for kind, change := range kinds {
		t.Run(kind, func(t *testing.T) {
			for range 60 {
				// neither the checkpoint at the beginning, which may be the first that is kept, nor the one at the end
				i := 2 + r.IntN(len(whole)-4)
				text := map[string]string{}
				for _, l := range change(slices.Clone(whole), i) {
					text[l.file] += l.text
				}
				for path, all := range text {
					if err := os.WriteFile(path, []byte(all), 0o640); err != nil {
						t.Fatal(err)
					}
				}
				_, breaks := verify(t, key, s.File)
				if len(breaks) == 0 {
					t.Fatalf("line %d of all was %s, and nothing was found", i, kind)
				}
				_, at, _ := strings.Cut(breaks[0], ":")
				var got int
				fmt.Sscan(strings.SplitN(at, ":", 2)[0], &got)
				want, n := filepath.Base(whole[i].file), 1
				for j := i - 1; j >= 0 && whole[j].file == whole[i].file; j-- {
					n++
				}
				named := strings.HasPrefix(breaks[0], want+":") && got >= n-1 && got <= n+1
				if first := n == 1 || i+1 < len(whole) && whole[i+1].file != whole[i].file; !named && !first && kind != "made anew" {
					t.Errorf("%s of line %d: got %q, want a place in %s", kind, n, breaks, want)
				}
			}
		})
	}
}

// Somebody who signs with another key, or not at all, is noticed.
func TestForeignSignature(t *testing.T) {
	s, key := chained(t), newKey(t)
	f := openSigned(t, s, newKey(t))
	f.Emit(numbered(1))
	closeFile(t, f)
	if _, breaks := verify(t, key, s.File); len(breaks) != 2 || !strings.Contains(breaks[0], "is no key of this server") {
		t.Errorf("another key: %q", breaks)
	}
	text := read(t, s.File)
	at := strings.Index(text, `"signature":"`) + len(`"signature":"`)
	for name, changed := range map[string]string{
		"none of the format": text[:at] + "AAAA" + text[at+4:],
		"a bit of it":        text[:at+150] + "+" + text[at+151:],
		"no base64":          text[:at] + "%" + text[at+1:],
	} {
		if err := os.WriteFile(s.File, []byte(changed), 0o640); err != nil {
			t.Fatal(err)
		}
		if _, breaks := verify(t, key, s.File); len(breaks) < 2 || !strings.Contains(strings.Join(breaks, "\n"), "the checkpoint proves nothing") {
			t.Errorf("%s: %q", name, breaks)
		}
	}
}

// A key that does not sign, as one in an agent may, stops nothing.
func TestUnsignedCheckpoint(t *testing.T) {
	s, key := chained(t), newKey(t)
	f := openSigned(t, s, noSigner{key})
	f.Emit(numbered(1))
	closeFile(t, f)
	v, breaks := verify(t, key, s.File)
	if len(breaks) > 0 || v.Lines != 3 || v.Unsigned != 3 || len(v.Signatures) > 0 || !strings.Contains(read(t, s.File), `"error":"no card"`) {
		t.Errorf("%q, %+v", breaks, v)
	}
	f = openSigned(t, s, key)
	closeFile(t, f)
	f = openSigned(t, s, key)
	f.Emit(numbered(2))
	closeFile(t, f)
	intact(t, s, key)
}

type noSigner struct{ ssh.Signer }

func (noSigner) Sign(io.Reader, []byte) (*ssh.Signature, error) { return nil, errors.New("no card") }

// TestSSHKeygenVerifies: the proof needs no Berth.
func TestSSHKeygenVerifies(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	sha2, err := ssh.NewSignerWithAlgorithms(plain.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []ssh.Signer{newKey(t), sha2} {
		s := chained(t)
		f := openSigned(t, s, key)
		f.Emit(numbered(1))
		closeFile(t, f)
		intact(t, s, key)
		lines := strings.Split(strings.TrimSpace(read(t, s.File)), "\n")
		var c checkpoint
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &c); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		put := func(name, text string) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		sig := put("sig", "-----BEGIN SSH SIGNATURE-----\n"+c.Fields.Signature+"\n-----END SSH SIGNATURE-----\n")
		allowed := put("allowed", "berth "+string(ssh.MarshalAuthorizedKey(key.PublicKey())))
		cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "berth", "-n", "berth-events", "-s", sig)
		cmd.Stdin = strings.NewReader(c.Fields.Previous)
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("Good")) {
			t.Errorf("ssh-keygen: %v, %s", err, out)
		}
		if !strings.Contains(lines[len(lines)-2], `"chain":"`+c.Fields.Previous+`"`) {
			t.Errorf("signed %s, want the link of %s", c.Fields.Previous, lines[len(lines)-2])
		}
	}
}

func TestVerifyMistakes(t *testing.T) {
	dir := t.TempDir()
	v := &Verifier{Broken: func(string, int, string) {}}
	if err := v.Verify(filepath.Join(dir, "none.jsonl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	bad := filepath.Join(dir, "bad.jsonl.gz")
	if err := os.WriteFile(bad, []byte("no gzip"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(bad); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("a damaged archive: %v", err)
	}
	long := filepath.Join(dir, "long.jsonl")
	if err := os.WriteFile(long, append(bytes.Repeat([]byte("x"), 3*mostLine), "\n{}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	v = &Verifier{Broken: func(_ string, line int, what string) {
		if line != 1 || !strings.Contains(what, "longer than any line") {
			t.Errorf("line %d: %s", line, what)
		}
	}}
	if err := v.Verify(long); err != nil || v.Breaks != 1 || v.Unchained != 1 {
		t.Errorf("a long line: %v, %+v", err, v)
	}
}

// TestOrderWithLongSignatures: files are in their order although the first line of one is long,
// as that of a large RSA key is.
func TestOrderWithLongSignatures(t *testing.T) {
	dir := t.TempDir()
	var c chain
	var last link
	var files []string
	for i, signature := range []int{10, 5552} {
		e := event.Event{Type: event.EventsCheckpoint, Fields: map[string]string{"previous": last.String(), "key": strings.Repeat("x", signature)}}
		var text []byte
		text, last = c.append(nil, append(e.AppendJSON(nil, ""), '\n'), last)
		files = append(files, filepath.Join(dir, strconv.Itoa(i)))
		if err := os.WriteFile(files[i], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v := &Verifier{Broken: func(file string, line int, what string) { t.Errorf("%s:%d: %s", file, line, what) }}
	if err := v.Verify(files...); err != nil || v.Lines != 2 {
		t.Errorf("%d lines, %v", v.Lines, err)
	}
}
