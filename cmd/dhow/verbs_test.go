package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/internal/client"
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

// world fills a fake with something of everything.
func world(f *fake) (now time.Time) {
	now = time.Now()
	ago := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }
	f.put(spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "shop", CreatedAt: ago(365 * 3 * 24 * time.Hour)}}))
	f.remove(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NAMESPACE, Name: "default"})
	f.put(spec.Wrap(&dhowv1.Workload{
		Meta: &dhowv1.Meta{Name: "web", Namespace: "default", CreatedAt: ago(3*time.Hour + 20*time.Minute), Labels: map[string]string{"team": "shop"}},
		Spec: &dhowv1.WorkloadSpec{Type: dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE, Replicas: proto.Uint32(3), Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{
			Name: "main", Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: "sha256:" + strings.Repeat("ab", 32), File: "web.wasm"}},
		}}}},
		Status: &dhowv1.WorkloadStatus{Desired: 3, Ready: 2, Revision: 2, Phase: dhowv1.WorkloadPhase_WORKLOAD_PHASE_DEGRADED, Message: "1 instance has no place"},
	}))
	f.put(spec.Wrap(&dhowv1.Workload{
		Meta:   &dhowv1.Meta{Name: "count", Namespace: "default", CreatedAt: ago(90 * time.Second)},
		Spec:   &dhowv1.WorkloadSpec{Type: dhowv1.WorkloadType_WORKLOAD_TYPE_JOB, Replicas: proto.Uint32(1)},
		Status: &dhowv1.WorkloadStatus{Succeeded: 1, Phase: dhowv1.WorkloadPhase_WORKLOAD_PHASE_COMPLETE},
	}))
	inst := func(name string, age time.Duration, node string, status *dhowv1.InstanceStatus, more func(*dhowv1.Instance)) {
		i := &dhowv1.Instance{
			Meta: &dhowv1.Meta{Name: name, Namespace: "default", CreatedAt: ago(age)},
			Spec: &dhowv1.InstanceSpec{Workload: "web", Node: node, Revision: 2}, Status: status,
		}
		if more != nil {
			more(i)
		}
		f.put(spec.Wrap(i))
	}
	inst("web-0-aaaaa", 3*time.Hour, "n1", &dhowv1.InstanceStatus{
		State: dhowv1.InstanceState_INSTANCE_STATE_RUNNING, Ready: true,
		Tasks: []*dhowv1.TaskStatus{{Name: "main", Running: true, Restarts: 2, StartedAt: ago(5*time.Minute + 3*time.Second)}},
		Ports: []*dhowv1.PortStatus{{Name: "http", Address: "10.0.0.1:31000"}},
	}, nil)
	inst("web-1-bbbbb", 3*time.Hour, "n2", &dhowv1.InstanceStatus{
		State: dhowv1.InstanceState_INSTANCE_STATE_FAILED, Reason: "OutOfMemory", Message: "the guest asked for more than 64Mi\n\x1b[31mred",
	}, nil)
	inst("web-2-ccccc", 40*time.Second, "", &dhowv1.InstanceStatus{State: dhowv1.InstanceState_INSTANCE_STATE_PENDING}, func(i *dhowv1.Instance) {
		i.Spec.PendingReason = "no node has 64Gi of memory"
	})
	f.put(spec.Wrap(&dhowv1.Node{
		Meta: &dhowv1.Meta{Name: "n1", CreatedAt: ago(50 * 24 * time.Hour), Labels: map[string]string{"disk": "ssd"}},
		Spec: &dhowv1.NodeSpec{Cordoned: true},
		Info: &dhowv1.NodeInfo{Version: "0.1.0", Os: "linux", Arch: "arm64", Zone: "a", Address: "10.0.0.1", Runtimes: []string{"wasm"},
			Allocatable: &dhowv1.ResourceList{Cpu: 3500, Memory: 15 << 28}},
		Liveness: &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_READY},
	}))
	f.put(spec.Wrap(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "n2", CreatedAt: ago(36 * time.Hour)}, Liveness: &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_LOST}}))
	for i, age := range []time.Duration{2 * time.Minute, 20 * time.Minute} {
		f.put(spec.Wrap(&dhowv1.Event{
			Meta: &dhowv1.Meta{Name: fmt.Sprintf("web-0-aaaaa.%d", i), Namespace: "default"}, Type: dhowv1.EventType(i + 1), Reason: []string{"Started", "Crashed"}[i],
			Regarding: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Name: "web-0-aaaaa"}, Time: ago(age), Message: "it " + []string{"runs", "crashed"}[i], Source: "n1",
		}))
	}
	f.put(spec.Wrap(&dhowv1.Artifact{Meta: &dhowv1.Meta{Name: "sha256:" + strings.Repeat("ab", 32), CreatedAt: ago(time.Hour)}, Size: 1 << 21, File: "web.wasm"}))
	f.put(spec.Wrap(&dhowv1.Revision{Meta: &dhowv1.Meta{Name: "web.2", Namespace: "default", CreatedAt: ago(time.Hour)}, Workload: "web", Number: 2}))
	f.put(spec.Wrap(&dhowv1.Token{Meta: &dhowv1.Meta{Name: "old", CreatedAt: ago(48 * time.Hour)}, Role: dhowv1.Role_ROLE_JOIN_NODE, ExpiresAt: ago(25 * time.Hour), Description: "first node"}))
	return now
}

// TestTables: what people see, kind by kind. go test -update rewrites it.
func TestTables(t *testing.T) {
	f := newFake(t)
	now := world(f)
	var b strings.Builder
	for _, line := range []string{
		"get workloads", "get wl -A", "get wl -o wide", "get instances", "get i -o wide", "get nodes", "get nodes -o wide", "get events", "get artifacts",
		"get ns", "get rev", "get tokens", "get wl -o name", "get i -l team=shop", "get i --node n1", "get wl/web -o name", "events web", "node list", "server list", "server list -o wide",
		"server list -o name", "why web", "why web -o yaml", "debug hash", "debug info", "debug whoami", "debug whoami -o json", "context list -o name",
		"token list", "ns list -o name", "get wl web nope",
	} {
		fmt.Fprintf(&b, "$ dhow %s\n", line)
		a := newApp(strings.NewReader(""), &b, &b)
		a.now = func() time.Time { return now } // ages do not depend on how fast the test is
		if code := execute(t.Context(), a, strings.Fields(line)); code != 0 {
			fmt.Fprintf(&b, "[exit code %d]\n", code)
		}
		b.WriteByte('\n')
	}
	golden(t, "tables.txt", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update rewrites it); got:\n%s", path, got)
	}
}

func TestDescribe(t *testing.T) {
	f := newFake(t)
	world(f)
	r := dhow(t, "", "describe", "web")
	wantCode(t, r, 0)
	wantText(t, r.out, "workload/web: Degraded, 2/3: 1 instance has no place\n", "kind: Workload", "instances:\n", "web-1-bbbbb", "events:\n", "it crashed")
	r = dhow(t, "", "describe", "node", "n1", "n2")
	wantCode(t, r, 0)
	wantText(t, r.out, "node/n1: Ready,Cordoned", "node/n2: Lost", "web-0-aaaaa")
	r = dhow(t, "", "describe", "i/web-1-bbbbb")
	wantText(t, r.out, "instance/web-1-bbbbb: Failed:OutOfMemory")
	if strings.Contains(r.out, "\x1b") {
		t.Error("an escape sequence came through")
	}
	wantCode(t, dhow(t, "", "describe", "nope"), exitNotFound)
}

func TestGetWatch(t *testing.T) {
	f := newFake(t)
	world(f)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &tripwire{text: "web-2-ccccc", trip: func() {
		go f.remove(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Name: "web-2-ccccc"})
	}}
	both := &tripwire{text: "Deleted", trip: cancel}
	code := run(ctx, []string{"get", "i", "-w"}, strings.NewReader(""), multi{out, both}, &strings.Builder{})
	if code != 0 {
		t.Errorf("exit code %d after an interrupt", code)
	}
	if !regexp.MustCompile(`web-2-ccccc +Pending.*\nweb-2-ccccc +Deleted`).MatchString(both.String()) {
		t.Errorf("got\n%s", both.String())
	}
}

type multi []*tripwire

func (m multi) Write(p []byte) (int, error) {
	for _, w := range m {
		_, _ = w.Write(p)
	}
	return len(p), nil
}

func TestContextAndTokens(t *testing.T) {
	f := newFake(t)
	if err := client.Save(f.file, client.Context{Name: "other", Servers: []string{"127.0.0.1:1"}, CA: f.ca}, false); err != nil {
		t.Fatal(err)
	}
	wantText(t, dhow(t, "", "context", "list").out, "*         test    "+f.addr)
	wantText(t, dhow(t, "", "config", "use", "other").out, "other is now the current one")
	wantCode(t, dhow(t, "", "get", "ns"), exitUnreachable)
	wantCode(t, dhow(t, "", "get", "ns", "--context", "test"), 0)
	wantCode(t, dhow(t, "", "context", "use", "nope"), exitInput)
	wantCode(t, dhow(t, "", "context", "use", "test", "--set-namespace", "shop"), 0)
	wantText(t, dhow(t, "", "get", "wl").err, "in the namespace shop")
	// Without any file: address, CA and token by flag.
	ca := writeFile(t, "ca.pem", f.ca)
	wantCode(t, dhow(t, "", "get", "ns", "--context-file", "/nowhere/config.yaml", "--server", f.addr, "--ca", ca, "--token", "x"), 0)
	r := dhow(t, "", "token", "create", "ci", "--role", "deployer", "--ttl", "24h")
	wantCode(t, r, 0)
	if r.out != "dhow_ci_secret\n" || !strings.Contains(r.err, "token/ci created (deployer, good for 24h)") {
		t.Errorf("got %q and %q", r.out, r.err)
	}
	r = dhow(t, "", "token", "create", "--role", "join-node", "--quiet")
	wantCode(t, r, 0)
	if !strings.HasPrefix(r.out, "dhow_join-node-") || r.err != "" {
		t.Errorf("got %q and %q", r.out, r.err)
	}
	wantCode(t, dhow(t, "", "token", "create", "--role", "king"), exitInput)
	wantText(t, dhow(t, "", "token", "delete", "ci").out, "token/ci deleted")
	wantText(t, dhow(t, "", "ns", "create", "shop").out, "namespace/shop created")
	wantCode(t, dhow(t, "", "ns", "create", "shop"), exitFailed)
	wantText(t, dhow(t, "", "ns", "delete", "shop").out, "namespace/shop deleted")
	wantText(t, dhow(t, "", "server", "remove", "s2").out, "server/s2 removed")
}

func TestPush(t *testing.T) {
	f := newFake(t)
	big := writeFile(t, "big.wasm", emptyModule+"\x00\x82\x80\x40\x01x"+strings.Repeat("x", 1<<20))
	r := dhow(t, "", "push", big, big)
	wantCode(t, r, 0)
	if lines := strings.Split(r.out, "\n"); len(lines) != 3 || lines[0] != lines[1] || !strings.HasPrefix(lines[0], "sha256:") || f.uploads != 1 {
		t.Errorf("got %s; %d uploads", r.out, f.uploads)
	}
}

func TestLogs(t *testing.T) {
	f := newFake(t)
	world(f)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	line := func(s int, text string) *dhowv1.LogLine {
		return &dhowv1.LogLine{Time: timestamppb.New(at.Add(time.Duration(s) * time.Second)), Task: "main", Text: []byte(text)}
	}
	f.lines["web-0-aaaaa"] = []*dhowv1.LogLine{line(1, "a1"), line(3, "a3"), line(5, "a5")}
	f.lines["web-1-bbbbb"] = []*dhowv1.LogLine{line(2, "b2"), line(4, "b4")}
	r := dhow(t, "", "logs", "web-0-aaaaa", "--tail", "2", "--timestamps")
	wantCode(t, r, 0)
	if r.out != "2026-01-02T03:04:08.000000Z a3\n2026-01-02T03:04:10.000000Z a5\n" {
		t.Errorf("got %s", r.out)
	}
	// Of a workload: a running one, and it says so.
	r = dhow(t, "", "logs", "web", "--since", "2026-01-02T03:04:08Z")
	wantCode(t, r, 0)
	if r.out != "a3\na5\n" || !strings.Contains(r.err, "web has 2 instances; this is web-0-aaaaa") {
		t.Errorf("got %q and %q", r.out, r.err)
	}
	// All of them, in the order of time.
	r = dhow(t, "", "logs", "web", "--all")
	wantCode(t, r, 0)
	if r.out != "web-0-aaaaa | a1\nweb-1-bbbbb | b2\nweb-0-aaaaa | a3\nweb-1-bbbbb | b4\nweb-0-aaaaa | a5\n" {
		t.Errorf("got %s", r.out)
	}
	// Following goes on until it is interrupted, and that is no failure.
	r = until(t, "a5", "logs", "web-0-aaaaa", "-f")
	wantCode(t, r, 0)
	wantCode(t, dhow(t, "", "logs", "web", "--since", "yesterday"), exitInput)
	wantCode(t, dhow(t, "", "logs", "count"), exitNotFound)
}

// TestLogsFollowAll: an instance that comes later is followed, too.
func TestLogsFollowAll(t *testing.T) {
	f := newFake(t)
	world(f)
	f.lines["web-0-aaaaa"] = []*dhowv1.LogLine{{Text: []byte("first")}}
	f.lines["web-3-ddddd"] = []*dhowv1.LogLine{{Text: []byte("replacement")}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := &tripwire{text: "web-0-aaaaa | first", trip: func() {
		i := &dhowv1.Instance{Meta: &dhowv1.Meta{Name: "web-3-ddddd", Namespace: "default"}, Spec: &dhowv1.InstanceSpec{Workload: "web", Node: "n1"}, Status: &dhowv1.InstanceStatus{}}
		running(i)
		go f.put(spec.Wrap(i))
	}}
	second := &tripwire{text: "web-3-ddddd | replacement", trip: cancel}
	if code := run(ctx, []string{"logs", "web", "-f", "--all"}, strings.NewReader(""), multi{first, second}, &strings.Builder{}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	wantText(t, second.String(), "web-3-ddddd | replacement")
}

// TestProgress: elsewhere than on a terminal, a wait that takes long says now
// and then where it is.
func TestProgress(t *testing.T) {
	f := newFake(t)
	wantCode(t, dhow(t, "", "deploy", "web", "nginx", "--no-wait"), 0)
	var errs strings.Builder
	a := newApp(strings.NewReader(""), &strings.Builder{}, &errs)
	begin, calls := time.Now(), 0
	a.now = func() time.Time { calls++; return begin.Add(time.Duration(calls) * 400 * time.Millisecond) }
	f.onApply = func(w *dhowv1.Workload) {
		f.runs(w, func(i *dhowv1.Instance) { i.Spec.Node, i.Spec.PendingReason = "", "no room" })
	}
	if code := execute(t.Context(), a, []string{"scale", "web", "2", "--wait", "--timeout", "1s"}); code != exitTimeout {
		t.Errorf("exit code %d", code)
	}
	wantText(t, errs.String(), "web: 0/2 running (2 pending): no room\n")
}

func TestCompletion(t *testing.T) {
	f := newFake(t)
	world(f)
	for line, want := range map[string]string{
		"get wl ":        "count\nweb\n",
		"get wl w":       "web\n",
		"get wl/":        "wl/count\nwl/web\n",
		"get wo":         "workloads\n",
		"logs web-0":     "web-0-aaaaa\n",
		"scale ":         "count\nweb\n",
		"node drain n1 ": "n2\n",
		"server remove ": "s1\ns2\n",
		"context use ":   "test\n",
		"get wl -o y":    "yaml\n",
		"get wl -n sh":   "shop\n",
		"token delete ":  "old\n",
	} {
		fields := strings.Split(line, " ")
		r := dhow(t, "", append([]string{"__completeNoDesc"}, fields...)...)
		if got, _, _ := strings.Cut(r.out, ":"); got != want {
			t.Errorf("%q: got %q, want %q (%s)", line, got, want, r.err)
		}
	}
	// Nothing is offered, and no error shown, when the cluster is away.
	r := dhow(t, "", "__completeNoDesc", "--server", unused(t), "get", "wl", "")
	if !strings.HasPrefix(r.out, ":") {
		t.Errorf("got %q", r.out)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := dhow(t, "", "completion", shell)
		wantCode(t, r, 0)
		wantText(t, r.out, "__complete")
	}
}

func TestHelp(t *testing.T) {
	for _, line := range []string{"", "--help", "deploy --help", "node", "help get"} {
		r := dhow(t, "", strings.Fields(line)...)
		wantCode(t, r, 0)
		wantText(t, r.out, "Usage:")
	}
	r := dhow(t, "", "version")
	wantCode(t, r, 0)
	wantText(t, r.out, "dhow 0.")
}
