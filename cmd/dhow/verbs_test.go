package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

var update = flag.Bool("update", false, "rewrite golden files")

// emptyModule is the smallest there is.
const emptyModule = "\x00asm\x01\x00\x00\x00" +
	"\x01\x04\x01\x60\x00\x00" + // type: func()
	"\x03\x02\x01\x00" + // a function of that type
	"\x05\x03\x01\x00\x01" + // a page of memory
	"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00" +
	"\x0a\x04\x01\x02\x00\x0b" // which does nothing

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantCode(t *testing.T, r result, code int) {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.out, r.err)
	}
}

func wantText(t *testing.T, got string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(got, w) {
			t.Errorf("%q is not in:\n%s", w, got)
		}
	}
}

// TestExitCodes: each code of the documentation, and what leads to it.
func TestExitCodes(t *testing.T) {
	f := newFake(t)
	deny := func(e error) func() {
		return func() { f.mu.Lock(); f.refuse = e; f.mu.Unlock() }
	}
	for _, c := range []struct {
		name  string
		code  int
		setup func()
		args  []string
		err   string
	}{
		{"done", 0, nil, []string{"get", "ns"}, ""},
		{"failed", 1, deny(spec.Errorf(spec.CodeExists, "there already")), []string{"ns", "create", "a"}, "there already"},
		{"conflict", 1, deny(spec.Errorf(spec.CodeConflict, "changed")), []string{"ns", "create", "a"}, "changed"},
		{"internal", 1, deny(spec.Errorf(spec.CodeInternal, "broken disk")), []string{"get", "ns"}, "server's log"},
		{"exhausted", 1, deny(spec.Errorf(spec.CodeExhausted, "disk full")), []string{"get", "ns"}, "disk full"},
		{"unknown verb", 2, nil, []string{"gte", "ns"}, `unknown command "gte" for "dhow"; did you mean get?`},
		{"unknown sub-verb", 2, nil, []string{"node", "lst"}, `unknown command "lst" for "dhow node"`},
		{"unknown flag", 2, nil, []string{"get", "ns", "--wied"}, "unknown flag: --wied"},
		{"unknown kind", 2, nil, []string{"get", "pods"}, `kind "pods" is unknown`},
		{"missing argument", 2, nil, []string{"deploy", "web"}, "is missing"},
		{"one too many", 2, nil, []string{"version", "x"}, "one argument too many"},
		{"bad output", 2, nil, []string{"get", "ns", "-o", "xml"}, `"xml" is unknown`},
		{"output ignored", 2, nil, []string{"version", "-o", "json"}, "leave -o out"},
		{"bad duration", 2, nil, []string{"get", "ns", "--timeout", "5"}, "no duration"},
		{"invalid", 2, deny(&spec.Error{Code: spec.CodeInvalid, Path: "spec.replicas", Message: "is odd"}), []string{"ns", "create", "a"}, "spec.replicas: is odd"},
		{"not found", 3, nil, []string{"get", "wl", "nope"}, `there is no workload "nope"`},
		{"unknown name", 3, nil, []string{"logs", "nope"}, `no workload and no instance named "nope"`},
		{"timeout", 4, deny(spec.Errorf(spec.CodeTimeout, "took too long")), []string{"get", "ns"}, "took too long"},
		{"denied", 5, deny(spec.Errorf(spec.CodeDenied, "viewers may not")), []string{"ns", "create", "a"}, "viewers may not"},
		{"unknown user", 5, deny(spec.Errorf(spec.CodeUnknownUser, "no such token")), []string{"get", "ns"}, "dhow context list"},
		{"unavailable", 6, deny(spec.Errorf(spec.CodeUnavailable, "no leader")), []string{"get", "ns"}, "no leader"},
		{"unreachable", 6, nil, []string{"get", "ns", "--server", unused(t)}, "cannot reach the server"},
		{"watch unreachable", 6, nil, []string{"get", "ns", "-w", "--server", unused(t)}, "cannot reach the server"},
		{"no context", 2, nil, []string{"get", "ns", "--context", "other"}, `no context "other"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			deny(nil)()
			if c.setup != nil {
				c.setup()
			}
			r := dhow(t, "", c.args...)
			wantCode(t, r, c.code)
			wantText(t, r.err, c.err)
			if strings.Contains(r.err, "Usage:") || strings.Contains(r.err, "goroutine ") || strings.Count(r.err, "\n") > 4 {
				t.Errorf("too much was said:\n%s", r.err)
			}
		})
	}
}

// TestEnvironment: global flags come from DHOW_…, too, and flags win.
func TestEnvironment(t *testing.T) {
	f := newFake(t)
	f.put(spec.Wrap(&dhowv1.Workload{Meta: &dhowv1.Meta{Name: "web", Namespace: "shop"}, Spec: &dhowv1.WorkloadSpec{}}))
	t.Setenv("DHOW_NAMESPACE", "shop")
	wantText(t, dhow(t, "", "get", "wl", "-o", "name").out, "workload/web")
	if r := dhow(t, "", "get", "wl", "-o", "name", "-n", "default"); strings.Contains(r.out, "web") {
		t.Errorf("the flag did not win: %s", r.out)
	}
	t.Setenv("DHOW_TIMEOUT", "soon")
	r := dhow(t, "", "get", "wl")
	wantCode(t, r, exitInput)
	wantText(t, r.err, "DHOW_TIMEOUT")
}

// runs plays the leader and one node: instances are born, and go through the
// states given.
func (f *fake) runs(w *dhowv1.Workload, states ...func(*dhowv1.Instance)) {
	f.mu.Lock()
	for _, o := range f.all(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_INSTANCE, Workload: w.Meta.Name}) {
		old := proto.CloneOf(o)
		old.GetInstance().Status.State = dhowv1.InstanceState_INSTANCE_STATE_STOPPED
		f.store(old)
	}
	f.mu.Unlock()
	w.Status = &dhowv1.WorkloadStatus{ObservedGeneration: w.Meta.Generation, Revision: w.Meta.Generation, Desired: w.Spec.GetReplicas()}
	f.put(spec.Wrap(w))
	for n := range w.Spec.GetReplicas() {
		i := &dhowv1.Instance{
			Meta: &dhowv1.Meta{Name: fmt.Sprintf("%s-%d-aaaa%d", w.Meta.Name, n, w.Meta.Generation), Namespace: w.Meta.Namespace},
			Spec: &dhowv1.InstanceSpec{
				Workload: w.Meta.Name, WorkloadUid: w.Meta.Uid, Index: n, Revision: w.Meta.Generation, Node: "n1", Desired: dhowv1.Desired_DESIRED_RUN,
			},
			Status: &dhowv1.InstanceStatus{},
		}
		for _, change := range states {
			change(i)
			f.put(spec.Wrap(i))
		}
	}
}

func preparing(i *dhowv1.Instance) {
	i.Status.State = dhowv1.InstanceState_INSTANCE_STATE_PREPARING
}

func running(i *dhowv1.Instance) {
	i.Status.State, i.Status.Ready = dhowv1.InstanceState_INSTANCE_STATE_RUNNING, true
}

func broken(i *dhowv1.Instance) {
	i.Status.State, i.Status.Reason = dhowv1.InstanceState_INSTANCE_STATE_FAILED, "BadModule"
	i.Status.Message = "unknown import env.magic"
}

func succeeded(i *dhowv1.Instance) {
	i.Status.State, i.Status.Ready = dhowv1.InstanceState_INSTANCE_STATE_SUCCEEDED, false
}

func TestDeployWaits(t *testing.T) {
	f := newFake(t)
	f.onApply = func(w *dhowv1.Workload) { f.runs(w, preparing, running) }
	file := writeFile(t, "web.wasm", emptyModule)
	r := dhow(t, "", "deploy", "web", file, "--replicas", "3", "--wait", "--env", "A=b", "--label", "team=shop", "--cpu", "0.5", "--memory", "64Mi",
		"--constraint", "disk=ssd", "--spread", "-p", "8080", "--", "--loud", "-x")
	wantCode(t, r, 0)
	wantText(t, r.out, "workload/web created\n", "web: 3/3 running in ")
	w := f.workload("web")
	task := w.GetSpec().GetTemplate().GetTasks()[0]
	if task.GetWasm().GetFile() != "web.wasm" || !strings.HasPrefix(task.GetWasm().GetArtifact(), "sha256:") ||
		strings.Join(task.GetArgs(), " ") != "--loud -x" || task.GetEnv()[0].GetValue() != "b" ||
		task.GetResources().GetLimits().GetMemory() != 64<<20 || task.GetResources().GetLimits().GetCpu() != 500 ||
		task.GetPorts()[0].GetPort() != 8080 || w.GetMeta().GetLabels()["team"] != "shop" || w.GetSpec().GetReplicas() != 3 ||
		w.GetSpec().GetTemplate().GetPlacement().GetStrategy() != dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_SPREAD ||
		w.GetSpec().GetTemplate().GetPlacement().GetConstraints()[0].GetLabel() != "disk" {
		t.Errorf("got %v", w)
	}
	// Again: the module is there, nothing is uploaded, and few calls are made.
	f.mu.Lock()
	f.calls = nil
	f.mu.Unlock()
	r = dhow(t, "", "deploy", "web", file, "--wait")
	wantCode(t, r, 0)
	wantText(t, r.out, "workload/web changed", "web: 1/1 running")
	if got := strings.Join(f.calls, " "); got != "Watch Stat Apply" || f.uploads != 1 {
		t.Errorf("calls: %s; %d uploads", got, f.uploads)
	}
	// What was replaced does not crowd the table.
	if r := dhow(t, "", "get", "i"); strings.Contains(r.out, "web-0-aaaa1") || !strings.Contains(r.out, "web-0-aaaa2") {
		t.Errorf("got %s", r.out)
	}
	wantText(t, dhow(t, "", "get", "i", "--stopped").out, "web-0-aaaa1", "Stopped")
}

func TestDeployFails(t *testing.T) {
	f := newFake(t)
	f.onApply = func(w *dhowv1.Workload) { f.runs(w, preparing, broken) }
	r := dhow(t, "", "deploy", "web", writeFile(t, "web.wasm", emptyModule), "--wait")
	wantCode(t, r, exitFailed)
	wantText(t, r.err, "web failed: instance web-0-aaaa1: BadModule: unknown import env.magic (on n1)", "dhow logs web-0-aaaa1")
}

func TestDeployTimesOut(t *testing.T) {
	f := newFake(t)
	f.onApply = func(w *dhowv1.Workload) {
		f.runs(w, func(i *dhowv1.Instance) {
			i.Spec.Node, i.Spec.PendingReason = "", "no node has 64Gi of memory"
		})
	}
	r := dhow(t, "", "deploy", "web", writeFile(t, "web.wasm", emptyModule), "--wait", "--timeout", "300ms")
	wantCode(t, r, exitTimeout)
	wantText(t, r.err, "not done after 300ms: web: 0/1 running (1 pending): no node has 64Gi of memory")
}

func TestDeployJob(t *testing.T) {
	f := newFake(t)
	f.onApply = func(w *dhowv1.Workload) { f.runs(w, running, succeeded) }
	r := dhow(t, "to be counted", "deploy", "count", writeFile(t, "count.wasm", emptyModule), "--job", "--stdin", "-", "--wait", "-r", "2")
	wantCode(t, r, 0)
	wantText(t, r.out, "count: 2/2 succeeded in ")
	if w := f.workload("count"); string(w.GetSpec().GetTemplate().GetTasks()[0].GetStdin()) != "to be counted" || w.GetSpec().GetType() != dhowv1.WorkloadType_WORKLOAD_TYPE_JOB {
		t.Errorf("got %v", w)
	}
}

// TestDeployDoesNotWaitByItself: not on a terminal, nothing is waited for.
func TestDeployDoesNotWaitByItself(t *testing.T) {
	f := newFake(t)
	r := dhow(t, "", "deploy", "web", writeFile(t, "web.wasm", emptyModule))
	wantCode(t, r, 0)
	if r.out != "workload/web created\n" || r.err != "" {
		t.Errorf("got %q and %q", r.out, r.err)
	}
	r = dhow(t, "", "deploy", "cache", "docker.io/library/redis:8", "-o", "name")
	wantCode(t, r, 0)
	if r.out != "workload/cache\n" || f.workload("cache").GetSpec().GetTemplate().GetTasks()[0].GetImage().GetRef() != "docker.io/library/redis:8" {
		t.Errorf("got %q", r.out)
	}
}

// TestDeployRefuses: bad input reaches no server.
func TestDeployRefuses(t *testing.T) {
	f := newFake(t)
	good := writeFile(t, "good.wasm", emptyModule)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"missing file": {[]string{"web", "./nope.wasm"}, "no such file"},
		"empty file":   {[]string{"web", writeFile(t, "a.wasm", "")}, "is empty"},
		"not wasm":     {[]string{"web", writeFile(t, "a.wasm", "#!/bin/sh\n")}, "is no WebAssembly module"},
		"cut off":      {[]string{"web", writeFile(t, "a.wasm", "\x00asm\x01")}, "is cut off"},
		"component":    {[]string{"web", writeFile(t, "a.wasm", "\x00asm\x0d\x00\x01\x00")}, "is a WebAssembly component"},
		"version":      {[]string{"web", writeFile(t, "a.wasm", "\x00asm\x02\x00\x00\x00")}, "unknown version 2"},
		"directory":    {[]string{"web", t.TempDir()}, "is no file"},
		"name":         {[]string{"My_Web", good}, "such as my-web"},
		"digest":       {[]string{"web", "sha256:12"}, "is no digest"},
		"image":        {[]string{"web", "Not An Image"}, "is no image"},
		"replicas":     {[]string{"web", good, "-r", "-1"}, "--replicas -1"},
		"many":         {[]string{"web", good, "-r", "100001"}, "--replicas 100001"},
		"memory":       {[]string{"web", good, "--memory", "64MB"}, "--memory: "},
		"cpu":          {[]string{"web", good, "--cpu", "fast"}, "--cpu: "},
		"port":         {[]string{"web", good, "-p", "http"}, `--port "http"`},
		"env":          {[]string{"web", good, "-e", "NOT_SET_HERE_AT_ALL"}, "it is not set here"},
		"label":        {[]string{"web", good, "--label", "a"}, "want key=value"},
		"constraint":   {[]string{"web", good, "--constraint", "a in"}, "is no constraint"},
		"http image":   {[]string{"web", "nginx", "--http"}, "--http is for wasm modules"},
		"http job":     {[]string{"web", good, "--http", "--job"}, "a job must"},
		"both waits":   {[]string{"web", good, "--wait", "--no-wait"}, "exclude each other"},
		"args":         {[]string{"web", good, "loud"}, "behind --"},
		"stdin":        {[]string{"web", good, "--stdin", "./nope.txt"}, "--stdin: open"},
		"restart":      {[]string{"web", good, "--restart", "sometimes"}, "--restart"},
	} {
		r := dhow(t, "", append([]string{"deploy"}, c.args...)...)
		if r.code != exitInput || !strings.Contains(r.err, c.want) {
			t.Errorf("%s: exit code %d, %s", name, r.code, r.err)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("calls were made: %v", f.calls)
	}
}

const twoWorkloads = `
kind: Namespace
metadata: {name: shop}
---
kind: Workload
metadata: {name: web}
spec:
  replicas: 2
  template:
    tasks: [{wasm: ./web.wasm}]
---
kind: Workload
metadata: {name: cache}
spec: {template: {tasks: [{image: redis}]}}
`

func manifestDir(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range map[string]string{"app.yaml": text, "web.wasm": emptyModule} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestApplyDiffDelete(t *testing.T) {
	f := newFake(t)
	f.onApply = func(w *dhowv1.Workload) { f.runs(w, preparing, running) }
	dir := manifestDir(t, twoWorkloads)
	// A dry run changes nothing, and needs no upload.
	r := dhow(t, "", "apply", "-f", dir, "--dry-run")
	wantCode(t, r, 0)
	if r.out != "namespace/shop created (dry run)\nworkload/web created (dry run)\nworkload/cache created (dry run)\n" || f.uploads != 0 || f.workload("web") != nil {
		t.Errorf("got %s", r.out)
	}
	r = dhow(t, "", "diff", "-f", dir)
	wantCode(t, r, 1)
	wantText(t, r.out, "+kind: Workload", "+++ manifest: workload/web")
	r = dhow(t, "", "apply", "-f", dir, "--wait")
	wantCode(t, r, 0)
	wantText(t, r.out, "namespace/shop created\nworkload/web created\nworkload/cache created\n", "2 workloads as wanted in ")
	r = dhow(t, "", "diff", "-f", dir)
	wantCode(t, r, 0)
	r = dhow(t, "", "apply", "-f", dir)
	wantCode(t, r, 0)
	wantText(t, r.out, "workload/web unchanged")
	// What get prints can be applied again.
	r = dhow(t, "", "get", "wl/web", "-o", "yaml")
	wantCode(t, r, 0)
	wantText(t, r.out, "status:")
	r = dhow(t, strings.Replace(r.out, "replicas: 2", "replicas: 3", 1), "diff", "-f", "-")
	wantCode(t, r, 1)
	wantText(t, r.out, "-  replicas: 2\n+  replicas: 3\n")
	r = dhow(t, "", "delete", "-f", dir, "--dry-run")
	wantCode(t, r, 0)
	wantText(t, r.out, "workload/cache deleted (dry run)\nworkload/web deleted (dry run)\nnamespace/shop deleted (dry run)\n")
	r = dhow(t, "", "delete", "-f", dir)
	wantCode(t, r, 0)
	if f.workload("web") != nil {
		t.Error("web is still there")
	}
	wantCode(t, dhow(t, "", "delete", "wl", "web"), exitNotFound)
	wantCode(t, dhow(t, "", "delete", "wl", "web", "--ignore-not-found"), 0)
	wantCode(t, dhow(t, "", "delete", "wl"), exitInput)
}

func TestApplyTellsWhere(t *testing.T) {
	f := newFake(t)
	dir := manifestDir(t, "kind: Workload\nmetadata: {name: web}\nspec:\n  replcas: 2\n")
	file := filepath.Join(dir, "app.yaml")
	r := dhow(t, "", "apply", "-f", file)
	wantCode(t, r, exitInput)
	wantText(t, r.err, file+":4: spec.replcas: unknown field; did you mean replicas?")
	// Local validation, with the line.
	r = dhow(t, "kind: Workload\nmetadata: {name: web}\nspec:\n  replicas: 200000\n  template:\n    tasks:\n      - wasm: ./nope.wasm\n", "apply", "-f", "-")
	wantCode(t, r, exitInput)
	wantText(t, r.err, "stdin:7: spec.template.tasks[0].wasm: open nope.wasm: no such file")
	r = dhow(t, "kind: Workload\nmetadata: {name: web}\nspec:\n  replicas: 200000\n  template:\n    tasks:\n      - image: a\n", "apply", "-f", "-")
	wantCode(t, r, exitInput)
	wantText(t, r.err, "stdin:4: spec.replicas: is 200000; at most 100000")
	// And what only the server knows.
	digest := "sha256:" + strings.Repeat("0", 64)
	r = dhow(t, "kind: Workload\nmetadata: {name: a}\nspec: {template: {tasks: [{image: a}]}}\n---\nkind: Workload\nmetadata: {name: b}\nspec:\n  template:\n    tasks:\n      - wasm: {artifact: '"+digest+"'}\n", "apply", "-f", "-")
	wantCode(t, r, exitNotFound)
	wantText(t, r.err, "stdin:10: spec.template.tasks[0].wasm.artifact: there is no artifact")
	wantCode(t, dhow(t, "", "apply"), exitInput)
	r = dhow(t, "kind: Workload\nmetadata: {name: a, namespace: x}\nspec: {template: {tasks: [{image: a}]}}\n", "apply", "-f", "-", "-n", "y")
	wantCode(t, r, exitInput)
	wantText(t, r.err, `stdin:2: metadata.namespace: is "x", but --namespace says "y"`)
	if f.workload("web") != nil || f.workload("a") != nil {
		t.Error("something was applied")
	}
}

// TestScaleRetries: a node that reports meanwhile does not make scale fail, and
// nobody else's change is lost.
func TestScaleRetries(t *testing.T) {
	f := newFake(t)
	wantCode(t, dhow(t, "", "deploy", "web", "nginx", "--env", "A=1"), 0)
	times := 0
	f.race = func() {
		if times++; times <= 3 {
			o := proto.CloneOf(f.objects["workload/default/web"])
			o.GetWorkload().Spec.Template.Tasks[0].Env[0].Value = fmt.Sprint(times)
			f.store(o)
		}
	}
	f.onApply = func(w *dhowv1.Workload) { f.runs(w, running) }
	r := dhow(t, "", "scale", "web", "4", "--wait")
	wantCode(t, r, 0)
	wantText(t, r.out, "workload/web changed", "web: 4/4 running")
	if w := f.workload("web"); w.GetSpec().GetReplicas() != 4 || w.GetSpec().GetTemplate().GetTasks()[0].GetEnv()[0].GetValue() != "3" {
		t.Errorf("got %v", w)
	}
	wantCode(t, dhow(t, "", "scale", "web", "many"), exitInput)
	wantCode(t, dhow(t, "", "scale", "nope", "1"), exitNotFound)
}

func TestDeleteWaits(t *testing.T) {
	f := newFake(t)
	f.onApply = func(w *dhowv1.Workload) { f.runs(w, running) }
	wantCode(t, dhow(t, "", "deploy", "web", "nginx", "--wait"), 0)
	go func() {
		for f.workload("web") != nil {
			f.mu.Lock()
			changed := f.changed
			gone := f.objects["workload/default/web"] == nil
			f.mu.Unlock()
			if !gone {
				<-changed
			}
		}
		f.remove(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Name: "web-0-aaaa1"})
	}()
	wantCode(t, dhow(t, "", "delete", "wl/web", "--wait"), 0)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.objects["instance/default/web-0-aaaa1"] != nil {
		t.Error("delete did not wait for the instance")
	}
}

func TestNodeVerbs(t *testing.T) {
	f := newFake(t)
	node := func() *dhowv1.Node {
		f.mu.Lock()
		defer f.mu.Unlock()
		return proto.CloneOf(f.objects["node//n1"].GetNode())
	}
	f.put(spec.Wrap(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "n1", Labels: map[string]string{"old": "x"}}}))
	wantText(t, dhow(t, "", "node", "cordon", "n1").out, "node/n1 cordoned")
	wantText(t, dhow(t, "", "node", "cordon", "n1").out, "node/n1 cordoned already")
	wantText(t, dhow(t, "", "node", "list").out, "Cordoned")
	wantText(t, dhow(t, "", "node", "label", "n1", "disk=ssd", "old-").out, "node/n1 labelled")
	if n := node(); n.GetMeta().GetLabels()["disk"] != "ssd" || len(n.GetMeta().GetLabels()) != 1 || !n.GetSpec().GetCordoned() {
		t.Errorf("got %v", n)
	}
	i := &dhowv1.Instance{Meta: &dhowv1.Meta{Name: "web-0-aaaaa", Namespace: "default"}, Spec: &dhowv1.InstanceSpec{Node: "n1"}, Status: &dhowv1.InstanceStatus{}}
	running(i)
	f.put(spec.Wrap(i))
	go func() {
		for !node().GetSpec().GetDraining() {
			f.mu.Lock()
			changed := f.changed
			f.mu.Unlock()
			if node().GetSpec().GetDraining() {
				break
			}
			<-changed
		}
		i.Status.State = dhowv1.InstanceState_INSTANCE_STATE_STOPPED
		f.put(spec.Wrap(i))
	}()
	r := dhow(t, "", "node", "drain", "n1", "--wait")
	wantCode(t, r, 0)
	wantText(t, dhow(t, "", "node", "uncordon", "n1").out, "in use again")
	if n := node(); n.GetSpec().GetCordoned() || n.GetSpec().GetDraining() {
		t.Errorf("got %v", n)
	}
	wantCode(t, dhow(t, "", "node", "label", "n1", "a b"), exitInput)
	wantCode(t, dhow(t, "", "node", "drain", "nope"), exitNotFound)
}
