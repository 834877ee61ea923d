package client_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/proto/spec"
)

func wantCode(t *testing.T, err error, code spec.Code, says ...string) {
	t.Helper()
	if spec.CodeOf(err) != code {
		t.Fatalf("got %q (%v), want %q", spec.CodeOf(err), err, code)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Fatalf("error %q does not say %q", err, s)
		}
	}
}

func TestPath(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == k {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	for want, get := range map[string]func(string) string{
		"/x/dhow/config.yaml":         env("XDG_CONFIG_HOME", "/x", "HOME", "/h"),
		"/h/.config/dhow/config.yaml": env("HOME", "/h"),
	} {
		if got, err := client.Path(get); err != nil || got != want {
			t.Error(got, err)
		}
	}
	_, err := client.Path(env())
	wantCode(t, err, spec.CodeInvalid, "HOME")
}

func TestSaveKeepsOtherContexts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dhow", "config.yaml")
	save := func(c client.Context, current bool) {
		t.Helper()
		if err := client.Save(path, c, current); err != nil {
			t.Fatal(err)
		}
	}
	save(client.Context{Name: "prod", Servers: []string{"a:1"}, Token: "t1", Namespace: "team"}, false)
	save(client.Context{Name: "local", Servers: []string{"b:1"}, Token: "t2"}, true)
	save(client.Context{Name: "prod", Servers: []string{"c:1"}, Token: "t3"}, false)
	f, err := client.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	cur, err := f.Find("")
	if err != nil || cur.Name != "local" || len(f.Contexts) != 2 {
		t.Errorf("%+v %v", f, err)
	}
	if p, err := f.Find("prod"); err != nil || p.Servers[0] != "c:1" || p.Token != "t3" || p.Namespace != "team" {
		t.Errorf("%+v %v", p, err)
	}
	_, err = f.Find("nowhere")
	wantCode(t, err, spec.CodeInvalid, "nowhere", "prod", "local")
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("it holds tokens: %v %v", st.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*tmp*"))
	if err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

func TestSaveAtTheSameTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := client.Save(path, client.Context{Name: fmt.Sprintf("c%d", i)}, true); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	f, err := client.Load(path)
	if err != nil || len(f.Contexts) != 20 {
		t.Errorf("%d contexts: %v", len(f.Contexts), err)
	}
}

func TestSaveThroughALink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "dotfiles.yaml"), filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(real, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if err := client.Save(link, client.Context{Name: "x"}, true); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced", err)
	}
}

func TestLoadRefusals(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if f, err := client.Load(path); err != nil || len(f.Contexts) != 0 {
		t.Error("no file is an empty one:", f, err)
	}
	f, _ := client.Load(path)
	_, err := f.Find("")
	wantCode(t, err, spec.CodeInvalid, "dhow up")
	for content, says := range map[string]string{
		"contexts: [":                           "yaml",
		"contexts: 7":                           "cannot unmarshal",
		"contexts: [{name: a, tokne: x}]":       "tokne",
		"contexts: [{name: a}, {name: a}]":      "twice",
		"contexts: [{token: a}]":                "contexts[0].name",
		strings.Repeat("# much\n", 1_000_000):   "not a context file",
		"current: a\ncontexts: []\nextra: true": "extra",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := client.Load(path)
		wantCode(t, err, spec.CodeInvalid, says, path)
		if err := client.Save(path, client.Context{Name: "new"}, true); err == nil {
			t.Errorf("a file that cannot be read was overwritten: %.30s", content)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("current: a\ncontexts: [{name: a, servers: [x:1], ca: c, token: t}]"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := client.Load(path)
		if err != nil {
			wantCode(t, err, spec.CodeInvalid)
			return
		}
		for _, c := range got.Contexts {
			if _, err := got.Find(c.Name); err != nil {
				t.Error(err)
			}
		}
	})
}
