package main

import (
	"context"
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
		Info: &dhowv1.NodeInfo{
			Version: "0.1.0", Os: "linux", Arch: "arm64", Zone: "a", Address: "10.0.0.1", Runtimes: []string{"wasm"},
			Allocatable: &dhowv1.ResourceList{Cpu: 3500, Memory: 15 << 28},
		},
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
