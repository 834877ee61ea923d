package pki

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dhow.dev/dhow/proto/spec"
)

func TestFiles(t *testing.T) {
	c := at(date(2027, 1, 1))
	dir := t.TempDir()
	if _, err := LoadCA(dir); spec.CodeOf(err) != spec.CodeNotFound {
		t.Errorf("no CA yet: %v", err)
	}
	if _, err := Load(dir, c.now); spec.CodeOf(err) != spec.CodeNotFound {
		t.Errorf("no credentials yet: %v", err)
	}
	ca := newCA(t, "blue", c.now())
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	creds, err := ca.Issue(dir, c.now, Identity{"blue", Server, "s1"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadCA(dir)
	if err != nil || again.Fingerprint() != ca.Fingerprint() || again.Cluster() != "blue" {
		t.Errorf("CA read back: %v", err)
	}
	loaded, err := Load(dir, c.now)
	if err != nil || loaded.Identity() != creds.Identity() {
		t.Errorf("credentials read back: %v", err)
	}
	for _, name := range []string{caFile, identityFile} {
		path := filepath.Join(dir, name)
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, st.Mode(), err)
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, data := range map[string][]byte{
			"empty": nil, "cut": whole[:len(whole)/2], "garbage": []byte("hello"), "one block": whole[:bytes.Index(whole, []byte("-----END"))+30],
			"no key": EncodeCert(ca.Certificate()), "twice": append(bytes.Clone(whole), whole...),
		} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if name == caFile {
				_, err = LoadCA(dir)
			} else {
				_, err = Load(dir, c.now)
			}
			if spec.CodeOf(err) != spec.CodeInvalid || !strings.Contains(err.Error(), path) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	key, err := ca.Key()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseCA(newCA(t, "blue", c.now()).Certificate(), key); spec.CodeOf(err) != spec.CodeInvalid {
		t.Errorf("a key of another CA: %v", err)
	}
	if _, err := ParseCA(creds.current.Load().leaf.Raw, key); spec.CodeOf(err) != spec.CodeInvalid {
		t.Errorf("a certificate that is no CA's: %v", err)
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add("dhow://blue/node/n1")
	f.Add("dhow://blue/server/s-1")
	f.Add("dhow://blue/node/../server/s1")
	f.Add("dhow://user@blue:80/node/n1?x#y")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseIdentity(s)
		if err != nil {
			return
		}
		if err := id.Check(); err != nil {
			t.Errorf("%q gave a bad identity: %v", s, err)
		}
		if got := id.URI().String(); got != s {
			t.Errorf("%q came back as %q", s, got)
		}
	})
}

func FuzzDecodePEM(f *testing.F) {
	ca := newCA(f, "blue", date(2027, 1, 1))
	f.Add(EncodeCert(ca.Certificate()))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := decodePEM(data)
		if err == nil && len(b.certs) == 0 {
			t.Error("no certificate, no error")
		}
		if err == nil {
			_, _ = ParseCA(b.certs[0], b.key) // must not panic
			_, _ = assemble(b.certs[0], b.certs[len(b.certs)-1], b.key)
		}
	})
}
