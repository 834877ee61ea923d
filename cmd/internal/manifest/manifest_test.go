package manifest_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/cmd/internal/manifest"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

var update = flag.Bool("update", false, "rewrite golden files")

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

const full = `
apiVersion: dhow/v1
kind: Workload
metadata:
  name: web
  namespace: shop
  labels: {team: shop, tier: "1", n: 5}
  annotations: {note: hello}
spec:
  type: service
  replicas: 3
  lostAfter: 5s
  template:
    labels: {app: web}
    gracePeriod: 1m30s
    restart: {mode: on-failure, attempts: 0, backoff: 100ms, maxBackoff: 2s, resetAfter: 1h}
    placement:
      strategy: spread
      constraints:
        - {label: disk, operator: notIn, values: [hdd]}
        - zone in (a, b)
        - "!gpu"
    tasks:
      - name: main
        wasm: {artifact: "` + digest + `", trigger: http, file: ./web.wasm}
        args: [--level, 3, true]
        env:
          - {name: GREETING, value: hello}
          - {name: PORT, value: 0080}
        stdin: ""
        resources:
          requests: {cpu: 0.25, memory: 32Mi}
          limits: {cpu: 500m, memory: 64M}
        ports: [8080, {name: admin, port: 9090, hostPort: 19090}]
      - name: helper
        role: sidecar
        image: nginx:1.27
        env: {A: b}
`

func decode(t *testing.T, text string) []*manifest.Document {
	t.Helper()
	docs, err := manifest.Decode("web.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func TestDecodeFull(t *testing.T) {
	docs := decode(t, full)
	if len(docs) != 1 {
		t.Fatalf("got %d documents", len(docs))
	}
	want := &dhowv1.Workload{
		Meta: &dhowv1.Meta{
			Name: "web", Namespace: "shop",
			Labels:      map[string]string{"team": "shop", "tier": "1", "n": "5"},
			Annotations: map[string]string{"note": "hello"},
		},
		Spec: &dhowv1.WorkloadSpec{
			Type: dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE, Replicas: proto.Uint32(3), LostAfter: durationpb.New(5 * time.Second),
			Template: &dhowv1.Template{
				Labels:      map[string]string{"app": "web"},
				GracePeriod: durationpb.New(90 * time.Second),
				Restart: &dhowv1.RestartPolicy{
					Mode: dhowv1.RestartMode_RESTART_MODE_ON_FAILURE, Attempts: proto.Uint32(0),
					Backoff: durationpb.New(100 * time.Millisecond), MaxBackoff: durationpb.New(2 * time.Second), ResetAfter: durationpb.New(time.Hour),
				},
				Placement: &dhowv1.Placement{
					Strategy: dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_SPREAD,
					Constraints: []*dhowv1.Constraint{
						{Label: "disk", Operator: dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_IN, Values: []string{"hdd"}},
						{Label: "zone", Operator: dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_IN, Values: []string{"a", "b"}},
						{Label: "gpu", Operator: dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_EXISTS},
					},
				},
				Tasks: []*dhowv1.Task{
					{
						Name:   "main",
						Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: digest, Trigger: dhowv1.Trigger_TRIGGER_HTTP, File: "./web.wasm"}},
						Args:   []string{"--level", "3", "true"},
						Env:    []*dhowv1.EnvVar{{Name: "GREETING", Value: "hello"}, {Name: "PORT", Value: "0080"}},
						Resources: &dhowv1.Resources{
							Requests: &dhowv1.ResourceList{Cpu: 250, Memory: 32 << 20},
							Limits:   &dhowv1.ResourceList{Cpu: 500, Memory: 64e6},
						},
						Ports: []*dhowv1.Port{{Port: 8080}, {Name: "admin", Port: 9090, HostPort: 19090}},
					},
					{
						Name: "helper", Role: dhowv1.TaskRole_TASK_ROLE_SIDECAR,
						Source: &dhowv1.Task_Image{Image: &dhowv1.ImageSource{Ref: "nginx:1.27"}},
						Env:    []*dhowv1.EnvVar{{Name: "A", Value: "b"}},
					},
				},
			},
		},
	}
	got := docs[0].Object.GetWorkload()
	if got.Spec.Template.Tasks[0].Stdin == nil {
		t.Error("an empty stdin was lost")
	}
	got.Spec.Template.Tasks[0].Stdin = nil
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestDecodeFindsModules(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	docs, err := manifest.Decode(file, []byte("kind: Workload\nmetadata: {name: a}\nspec: {template: {tasks: [{wasm: ./sub/a.wasm}, {name: b, wasm: /abs/b.wasm}, {name: c, wasm: "+digest+"}]}}"))
	if err != nil {
		t.Fatal(err)
	}
	m := docs[0].Modules
	if len(m) != 2 || m[0].Path != filepath.Join(dir, "sub/a.wasm") || m[1].Path != "/abs/b.wasm" || m[1].Field != "spec.template.tasks[1].wasm" {
		t.Fatalf("got %+v", m)
	}
	m[0].Source.Artifact = digest
	if tasks := docs[0].Object.GetWorkload().Spec.Template.Tasks; tasks[0].GetWasm().Artifact != digest || tasks[2].GetWasm().Artifact != digest {
		t.Errorf("got %v", tasks)
	}
}

func TestDecodeStdin(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in.txt"), []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"hello": "hello", "{base64: aGVsbG8=}": "hello", "{file: in.txt}": "from a file", "!!binary aGVsbG8=": "hello",
	} {
		docs, err := manifest.Decode(filepath.Join(dir, "a.yaml"), []byte("kind: Workload\nspec: {template: {tasks: [{stdin: "+in+"}]}}"))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := string(docs[0].Object.GetWorkload().Spec.Template.Tasks[0].Stdin); got != want {
			t.Errorf("%s: got %q", in, got)
		}
	}
}

// TestDecodeErrors: each fault is told with file, line, path and what to do.
func TestDecodeErrors(t *testing.T) {
	work := func(body string) string {
		return "kind: Workload\nmetadata:\n  name: web\nspec:\n" + body
	}
	task := func(body string) string {
		return work("  template:\n    tasks:\n      - " + body)
	}
	for name, c := range map[string]struct{ in, want string }{
		"unknown field":   {work("  replcas: 3"), `web.yaml:5: spec.replcas: unknown field; did you mean replicas?`},
		"kubectl's field": {work("  template:\n    containers: []"), `web.yaml:6: spec.template.containers: unknown field; did you mean tasks?`},
		"deep":            {task("wasm: a\n        resources:\n          limits: {mem: 3}"), `web.yaml:9: spec.template.tasks[0].resources.limits.mem: unknown field; did you mean memory?`},
		"far":             {task("zzzzzz: 1"), "web.yaml:7: spec.template.tasks[0].zzzzzz: unknown field; known here: args, env, image, mounts, name, ports, resources, role, stdin, wasm"},
		"top level":       {"kind: Workload\nname: web", "web.yaml:2: name: unknown field; did you mean metadata.name?"},
		"top typo":        {"kind: Workload\nspecs: {}", "web.yaml:2: specs: unknown field; did you mean spec?"},
		"meta typo":       {"kind: Workload\nmetadata: {nam: a}", "web.yaml:2: metadata.nam: unknown field; did you mean name?"},
		"wrong type":      {work("  replicas: three"), `web.yaml:5: spec.replicas: want a whole number, not the text "three"`},
		"quoted":          {work(`  replicas: "3"`), `web.yaml:5: spec.replicas: want a whole number, not the text "3": leave the quotes out`},
		"fraction":        {work("  replicas: 1.5"), `web.yaml:5: spec.replicas: want a whole number from 0 to 4294967295, not the number "1.5"`},
		"octal":           {work("  replicas: 010"), "web.yaml:5: spec.replicas: want a whole number"},
		"negative":        {work("  replicas: -1"), `web.yaml:5: spec.replicas: is negative ("-1"): want 0 or more`},
		"too large":       {work("  replicas: 99999999999"), "web.yaml:5: spec.replicas: want a whole number from 0 to 4294967295"},
		"list":            {work("  replicas: [1]"), "web.yaml:5: spec.replicas: want a whole number, not a list"},
		"null":            {work("  replicas:"), "web.yaml:5: spec.replicas: has no value: give one, or leave the key out"},
		"enum":            {work("  type: servce"), `web.yaml:5: spec.type: "servce" is unknown: want one of service, job, function; did you mean service?`},
		"duration":        {work("  lostAfter: 30"), `web.yaml:5: spec.lostAfter: "30" is no duration such as 500ms, 30s or 1h30m: add the unit, such as 30s`},
		"neg duration":    {work("  lostAfter: -30s"), `web.yaml:5: spec.lostAfter: is negative (-30s)`},
		"quantity":        {task("resources: {limits: {memory: 64MB}}"), `web.yaml:7: spec.template.tasks[0].resources.limits.memory: "64MB" is no amount of memory`},
		"text":            {"kind: Workload\nmetadata:\n  name: 5", `web.yaml:3: metadata.name: want text, not the number "5": put it in quotes`},
		"label":           {"kind: Workload\nmetadata:\n  labels: {a: [x]}", `web.yaml:3: metadata.labels[a]: want text, not a list`},
		"labels":          {"kind: Workload\nmetadata:\n  labels: [x]", `web.yaml:3: metadata.labels: want a mapping of names to texts, not a list`},
		"no dash":         {work("  template:\n    tasks:\n      wasm: a"), "web.yaml:7: spec.template.tasks: want a list, not a mapping: begin each entry with '- '"},
		"duplicate":       {work("  replicas: 1\n  replicas: 2"), `web.yaml:6: spec.replicas: this key is there already, in line 5`},
		"two sources":     {task("wasm: a\n        image: b"), "web.yaml:8: spec.template.tasks[0].image: wasm is given already"},
		"no kind":         {"metadata: {name: a}", "web.yaml:1: kind is missing: say Workload, Namespace or Node"},
		"unknown kind":    {"kind: Deployment", `web.yaml:1: kind: "Deployment" is unknown; known here: Namespace, Node, Workload`},
		"near kind":       {"kind: Wrokload", `web.yaml:1: kind: "Wrokload" is unknown; did you mean Workload?`},
		"cluster's kind":  {"kind: Instance", "web.yaml:1: kind: Instance objects cannot be applied: only the cluster makes them"},
		"version":         {"apiVersion: v1\nkind: Workload", `web.yaml:1: apiVersion: "v1" is unknown; this dhow reads dhow/v1`},
		"not a mapping":   {"- a", "web.yaml:1: a document is a mapping that begins with kind:, not a list"},
		"not YAML":        {"kind: Workload\nmetadata:\n\tname: a", "web.yaml:3: this is not YAML"},
		"not YAML 2":      {"a: [", "web.yaml"},
		"constraint":      {work("  template: {placement: {constraints: [a in b]}}"), `web.yaml:5: spec.template.placement.constraints[0]: "a in b" is no constraint`},
		"image mapping":   {task("image: {reff: x}"), "web.yaml:7: spec.template.tasks[0].image.reff: unknown field; did you mean ref?"},
		"stdin":           {task("stdin: {fil: x}"), "web.yaml:7: spec.template.tasks[0].stdin.fil: unknown field; did you mean file?"},
		"stdin missing":   {task("stdin: {file: nowhere.txt}"), "web.yaml:7: spec.template.tasks[0].stdin.file: open nowhere.txt: no such file"},
		"second document": {"kind: Namespace\nmetadata: {name: a}\n---\nkind: Namespace\nmetadata: {nam: b}", "web.yaml:5: metadata.nam: unknown field; did you mean name?"},
		"in a list":       {"kind: List\nitems:\n  - kind: Namespace\n    metadata: {nam: b}", "web.yaml:4: metadata.nam: unknown field"},
		"list in a list":  {"kind: List\nitems: [{kind: List}]", `web.yaml:2: kind: "List" is unknown`},
		"complex key":     {"kind: Workload\n? [a]\n: b", "web.yaml:2: a key must be plain text, not a list"},
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := manifest.Decode("web.yaml", []byte(c.in))
			if err == nil {
				t.Fatalf("no error; got %v", docs)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %v", err, c.want)
			}
			var pos *manifest.Error
			if !errors.As(err, &pos) || spec.CodeOf(err) != spec.CodeInvalid {
				t.Errorf("not a positioned input error: %#v", err)
			}
		})
	}
}

func TestDecodeTellsAllFaultsAtOnce(t *testing.T) {
	_, err := manifest.Decode("web.yaml", []byte("kind: Workload\nmetadata: {nam: a}\nspec: {replicas: -1, x: 1}\n---\nkind: Nope"))
	if n := strings.Count(err.Error(), "web.yaml:"); n != 4 {
		t.Errorf("got %d faults: %v", n, err)
	}
}

func TestDecodeAnchorsAndMerge(t *testing.T) {
	docs := decode(t, `
kind: Workload
metadata: &m {name: a, labels: &l {x: y}}
spec:
  template:
    labels: *l
    tasks:
      - &t {name: one, image: nginx, args: [a]}
      - {<<: *t, name: two}
---
kind: Namespace
metadata: {name: a}
`)
	tasks := docs[0].Object.GetWorkload().Spec.Template.Tasks
	if len(docs) != 2 || tasks[1].Name != "two" || tasks[1].GetImage().Ref != "nginx" || docs[0].Object.GetWorkload().Spec.Template.Labels["x"] != "y" {
		t.Errorf("got %v", docs[0].Object)
	}
}

// TestDecodeBombs: what multiplies itself ends with an error, soon.
func TestDecodeBombs(t *testing.T) {
	bomb := "kind: Workload\nx: &t {args: [" + strings.Repeat("a,", 5000) + "]}\nspec: {template: {tasks: [" + strings.Repeat("*t,", 5000) + "]}}"
	merge := "kind: Workload\na0: &a0 {x: 1}\n"
	for i := range 20 {
		merge += fmt.Sprintf("a%d: &a%d {<<: [*a%d, *a%d, *a%d]}\n", i+1, i+1, i, i, i)
	}
	merge += "spec: *a20\n"
	cycle := "kind: Workload\nspec: &s\n  <<: *s\n"
	for name, in := range map[string]string{
		"aliases": bomb, "merge": merge, "cycle": cycle,
		"items":  "kind: List\nitems: &i\n  - kind: List\n    items: *i\n",
		"large":  strings.Repeat("# x\n", 2<<20),
		"nested": strings.Repeat("[", 100_000),
	} {
		if _, err := manifest.Decode("web.yaml", []byte(in)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestLocate(t *testing.T) {
	d := decode(t, full)[0]
	err := d.Locate(errors.Join(
		&spec.Error{Code: spec.CodeInvalid, Path: "spec.template.tasks[0].resources.limits.memory", Message: "is wrong"},
		&spec.Error{Code: spec.CodeInvalid, Path: "spec.template.tasks[1].wasm.trigger", Message: "is wrong"},
		&spec.Error{Code: spec.CodeInvalid, Path: "metadata.labels[team]", Message: "is wrong"},
	))
	want := "web.yaml:33: spec.template.tasks[0].resources.limits.memory: is wrong\n" +
		"web.yaml:35: spec.template.tasks[1].wasm.trigger: is wrong\n" +
		"web.yaml:7: metadata.labels[team]: is wrong"
	if err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd[name]")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	ns := func(name string) string { return "kind: Namespace\nmetadata: {name: " + name + "}\n" }
	for name, text := range map[string]string{
		"b.yml": ns("b"), "a.yaml": ns("a") + "---\n" + ns("a2"), "c.json": `{"kind":"Namespace","metadata":{"name":"c"}}`,
		"d.txt": "no", "sub/e.yaml": ns("e"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := manifest.Load([]string{dir, "-"}, strings.NewReader(ns("z")))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range docs {
		names = append(names, spec.MetaOf(d.Object).Name)
	}
	if got := strings.Join(names, " "); got != "a a2 b c z" {
		t.Errorf("got %s", got)
	}
	for name, c := range map[string]struct {
		paths []string
		stdin string
		want  string
	}{
		"missing": {[]string{filepath.Join(dir, "none.yaml")}, "", "no such file"},
		"no docs": {[]string{filepath.Join(dir, "sub"), "-"}, "# nothing\n---\n", "stdin: no document in it"},
		"empty":   {[]string{t.TempDir()}, "", "no *.yaml, *.yml or *.json"},
		"twice":   {[]string{filepath.Join(dir, "b.yml"), "-"}, ns("b"), `stdin:2: metadata.name: namespace "b" is in`},
	} {
		if _, err := manifest.Load(c.paths, strings.NewReader(c.stdin)); err == nil || !strings.Contains(err.Error(), c.want) || spec.CodeOf(err) != spec.CodeInvalid {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestEncodeGolden(t *testing.T) {
	o := decode(t, full)[0].Object
	w := o.GetWorkload()
	w.Meta.Uid, w.Meta.Version, w.Meta.Generation = "u-1", 42, 3
	w.Meta.CreatedAt = timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	w.Status = &dhowv1.WorkloadStatus{Desired: 3, Running: 2, Phase: dhowv1.WorkloadPhase_WORKLOAD_PHASE_PROGRESSING}
	w.Spec.Template.Tasks[0].Stdin = []byte{0, 1, 2}
	w.Spec.Template.Tasks[1].Stdin = []byte("line\n  two\n")
	var y, j bytes.Buffer
	if err := manifest.WriteYAML(&y, o, spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "shop"}})); err != nil {
		t.Fatal(err)
	}
	if err := manifest.WriteJSON(&j, true, o, spec.Wrap(&dhowv1.Token{Meta: &dhowv1.Meta{Name: "t"}, SecretHash: []byte("x"), Role: dhowv1.Role_ROLE_JOIN_NODE})); err != nil {
		t.Fatal(err)
	}
	golden(t, "full.yaml", y.Bytes())
	golden(t, "full.json", j.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update rewrites it):\n%s", path, got)
	}
}

func TestEveryWorkloadFieldComesBack(t *testing.T) {
	o := decode(t, full)[0].Object
	spec.Default(o)
	o.GetWorkload().Spec.Template.Tasks[0].Stdin = []byte{255}
	o.GetWorkload().Spec.Template.Tasks[1].GetImage().Runtime = "io.containerd.runc.v2"
	o.GetWorkload().Spec.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
	o.GetWorkload().Spec.BackoffLimit = proto.Uint32(0)
	comesBack(t, o)
}

func comesBack(t interface {
	Helper()
	Fatalf(string, ...any)
}, o *dhowv1.Object,
) {
	t.Helper()
	var y, j bytes.Buffer
	if err := manifest.WriteYAML(&y, o); err != nil {
		t.Fatalf("%v", err)
	}
	if err := manifest.WriteJSON(&j, false, o); err != nil {
		t.Fatalf("%v", err)
	}
	for _, text := range [][]byte{y.Bytes(), j.Bytes()} {
		docs, err := manifest.Decode("web.yaml", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if len(docs) != 1 || !proto.Equal(docs[0].Object, o) {
			t.Fatalf("\n%s\nbecame %v\nfrom   %v", text, docs[0].Object, o)
		}
	}
}

func TestDecodeJSONSurrogates(t *testing.T) {
	docs := decode(t, `{"kind": "Namespace", "metadata": {"name": "a", "annotations": {"smile": "\ud83d\ude00 \\ud83d \u00e9"}}}`)
	if got := docs[0].Object.GetNamespace().Meta.Annotations["smile"]; got != "😀 \\ud83d é" {
		t.Errorf("got %q", got)
	}
}
