package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"dhow.dev/dhow/proto/spec"
)

func flagSet() *pflag.FlagSet {
	f := pflag.NewFlagSet("server", pflag.ContinueOnError)
	f.String("data-dir", "/var/lib/dhow", "")
	f.StringArray("join", nil, "")
	f.Int("count", 1, "")
	f.String("zone", "", "")
	return f
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFlagWinsOverEnvironmentOverFile(t *testing.T) {
	file := write(t, "data-dir: /file\nzone: file\ncount: 7\njoin: [a:1, b:2]\n")
	env := map[string]string{"DHOW_ZONE": "env", "DHOW_DATA_DIR": "/env"}
	flags := flagSet()
	if err := flags.Parse([]string{"--data-dir=/flag"}); err != nil {
		t.Fatal(err)
	}
	if err := Load(flags, file, func(k string) (string, bool) { v, ok := env[k]; return v, ok }); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	flags.VisitAll(func(f *pflag.Flag) { got[f.Name] = f.Value.String() })
	want := map[string]string{"data-dir": "/flag", "zone": "env", "count": "7", "join": "[a:1,b:2]"}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %q, want %q", k, got[k], v)
		}
	}
}

func TestBadSettingsNameTheirPlace(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	for _, c := range []struct{ text, want string }{
		{"data-dir: /x\nzoen: a\n", "server.yaml:2: unknown setting \"zoen\""},
		{"count: many\n", "server.yaml:1: count: "},
		{"- a\n", "server.yaml:1: expected settings"},
		{"zone: {a: b}\n", "server.yaml:1: zone: expected a value"},
		{"a: [\n", "server.yaml: yaml"},
	} {
		err := Load(flagSet(), write(t, c.text), none)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.text, err, c.want)
		}
		if spec.CodeOf(err) != spec.CodeInvalid {
			t.Errorf("%q: code %s", c.text, spec.CodeOf(err))
		}
	}
	err := Load(flagSet(), "", func(k string) (string, bool) { return "x", k == "DHOW_COUNT" })
	if err == nil || !strings.Contains(err.Error(), "DHOW_COUNT") {
		t.Errorf("error %v does not name the variable", err)
	}
	if err := Load(flagSet(), write(t, ""), none); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("zone: a\njoin: [x]\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = parse(flagSet(), data) })
}
