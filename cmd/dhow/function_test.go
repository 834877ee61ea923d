package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// callableModule exports a function of the name, which does nothing.
func callableModule(name string) string { return importingModule("", "", name) }

// importingModule imports a function, too, unless its module is empty.
func importingModule(module, field, export string) string {
	text := func(s string) string { return string(rune(len(s))) + s }
	section := func(id byte, body string) string { return string([]byte{id}) + string(rune(len(body))) + body }
	index := "\x00"
	out := "\x00asm\x01\x00\x00\x00" + section(1, "\x01\x60\x00\x00")
	if module != "" {
		index = "\x01"
		out += section(2, "\x01"+text(module)+text(field)+"\x00\x00")
	}
	return out + section(3, "\x01\x00") + section(5, "\x01\x00\x01") +
		section(7, "\x02"+text("memory")+"\x02\x00"+text(export)+"\x00"+index) + section(10, "\x01\x02\x00\x0b")
}

func (f *fake) withFunction(name string, answer func(c *dhowv1.FunctionCall) (*dhowv1.FunctionResult, error)) {
	f.function = answer
	f.put(spec.Wrap(&dhowv1.Workload{Meta: &dhowv1.Meta{Name: name, Namespace: "default"}, Spec: &dhowv1.WorkloadSpec{Type: dhowv1.WorkloadType_WORKLOAD_TYPE_FUNCTION}}))
}

func TestCallVerb(t *testing.T) {
	f := newFake(t)
	var got *dhowv1.FunctionCall
	answer, failure := &dhowv1.FunctionResult{}, error(nil)
	f.withFunction("fn", func(c *dhowv1.FunctionCall) (*dhowv1.FunctionResult, error) {
		got = c
		return answer, failure
	})
	file := writeFile(t, "in.txt", "from a file")
	for _, c := range []struct {
		name   string
		args   []string
		answer *dhowv1.FunctionResult
		err    error
		want   *dhowv1.FunctionCall
		code   int
		out    string
		says   string
	}{
		{"typed", []string{"fn", "add", "1", "2"}, &dhowv1.FunctionResult{Values: []string{"3"}}, nil, &dhowv1.FunctionCall{Function: "add", Args: []string{"1", "2"}}, 0, "3\n", ""},
		{"negative", []string{"fn", "add", "--", "-1", "2"}, &dhowv1.FunctionResult{Values: []string{"1"}}, nil, &dhowv1.FunctionCall{Function: "add", Args: []string{"-1", "2"}}, 0, "1\n", ""},
		{"data", []string{"fn", "--data", "hello"}, &dhowv1.FunctionResult{Data: []byte("HELLO")}, nil, &dhowv1.FunctionCall{Data: []byte("hello")}, 0, "HELLO", ""},
		{"file", []string{"fn", "shout", "--file", file}, &dhowv1.FunctionResult{Data: []byte("x")}, nil, &dhowv1.FunctionCall{Function: "shout", Data: []byte("from a file")}, 0, "x", ""},
		{"input", []string{"fn", "--file", "-"}, &dhowv1.FunctionResult{}, nil, &dhowv1.FunctionCall{Data: []byte("from stdin")}, 0, "", ""},
		{"header", []string{"fn", "-H", "x-a: b"}, &dhowv1.FunctionResult{Status: 200}, nil, &dhowv1.FunctionCall{Headers: []*dhowv1.Header{{Name: "X-A", Values: []string{"b"}}}}, 0, "", ""},
		{"status", []string{"fn"}, &dhowv1.FunctionResult{Status: 404, Data: []byte("gone\n")}, nil, nil, 1, "gone\n", "404 Not Found"},
		{"failed", []string{"fn"}, &dhowv1.FunctionResult{Failure: "Trapped", Message: "unreachable"}, nil, nil, 1, "", "fn-0-aaaaa on node n1: Trapped: unreachable"},
		{"busy", []string{"fn"}, nil, spec.Errorf(spec.CodeExhausted, "all 2 instances of fn are busy"), nil, 1, "", "busy"},
		{"not ready", []string{"fn"}, nil, spec.Errorf(spec.CodeUnavailable, "fn has no ready instance"), nil, exitUnreachable, "", "no ready instance"},
		{"no function", []string{"fn", "x"}, nil, spec.Errorf(spec.CodeNotFound, "there is no function x: there are add, shout"), nil, exitNotFound, "", "add, shout"},
		{"unknown", []string{"nothing"}, nil, nil, nil, exitNotFound, "", "no workload nothing"},
		{"both", []string{"fn", "--data", "x", "--file", "y"}, nil, nil, nil, exitInput, "", "data"},
		{"no file", []string{"fn", "--file", "/nonexistent"}, nil, nil, nil, exitInput, "", "--file"},
		{"bad header", []string{"fn", "-H", "x"}, nil, nil, nil, exitInput, "", "Name: value"},
		{"json", []string{"fn", "-o", "json"}, &dhowv1.FunctionResult{Values: []string{"3"}}, nil, nil, 0, "{\n  \"result\": {\n    \"values\": [\n      \"3\"\n    ]\n  },\n  \"instance\": \"fn-0-aaaaa\",\n  \"node\": \"n1\"\n}\n", ""},
		{"list", []string{"fn", "--list"}, nil, nil, nil, 0, "FUNCTION   TAKES      GIVES\nadd        i32, i32   i32\nshout      data       data\n", ""},
		{"list and call", []string{"fn", "add", "--list"}, nil, nil, nil, exitInput, "", "--list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, failure = c.answer, c.err
			r := dhow(t, "from stdin", append([]string{"call"}, c.args...)...)
			wantCode(t, r, c.code)
			wantText(t, r.err, c.says)
			if r.out != c.out {
				t.Errorf("the output is %q", r.out)
			}
			if c.want != nil {
				c.want.Ref = &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "default", Name: "fn"}
				if !proto.Equal(got, c.want) {
					t.Errorf("called %v", got)
				}
			}
		})
	}
}

func TestCallCompletes(t *testing.T) {
	f := newFake(t)
	f.withFunction("fn", nil)
	for _, c := range [][]string{{"fn", ""}, {"shout", "fn", "s"}} {
		r := dhow(t, "", append([]string{"__complete", "call"}, c[1:]...)...)
		if got, _, _ := strings.Cut(r.out, "\n"); got != c[0] {
			t.Errorf("%v completes to %q", c[1:], r.out)
		}
	}
	r := dhow(t, "", "__complete", "deploy", "x", "y", "--type", "f")
	wantText(t, r.out, "function")
}

func TestCallOfAnInstance(t *testing.T) {
	f := newFake(t)
	f.withFunction("other", func(c *dhowv1.FunctionCall) (*dhowv1.FunctionResult, error) {
		return &dhowv1.FunctionResult{Values: []string{spec.KindName(c.GetRef().GetKind())}}, nil
	})
	f.put(spec.Wrap(&dhowv1.Instance{Meta: &dhowv1.Meta{Name: "fn-0-a", Namespace: "default"}}))
	for _, name := range []string{"fn-0-a", "instance/fn-0-a"} {
		r := dhow(t, "", "call", name)
		wantCode(t, r, 0)
		wantText(t, r.out, "instance")
	}
}

func TestDeployFunction(t *testing.T) {
	f := newFake(t)
	file := writeFile(t, "calc.wasm", callableModule("add"))
	r := dhow(t, "", "deploy", "calc", file, "--type", "function", "--trigger", "call", "--function", "add", "--fuel", "1000", "--weight", "50",
		"--max-time", "2s", "--concurrency", "8", "--queue", "0", "--dir", "data:/data:rw", "--net-allow", "api.example.com",
		"--config", "a=b,c", "--secret", "k=s=t", "--kv", "cart", "--invoke", "price", "--memory", "64Mi", "--no-wait")
	wantCode(t, r, 0)
	w := f.workload("calc")
	task := w.GetSpec().GetTemplate().GetTasks()[0]
	want := &dhowv1.WasmSource{
		Artifact: task.GetWasm().GetArtifact(), File: "calc.wasm", Trigger: dhowv1.Trigger_TRIGGER_CALL, Function: "add",
		Limits: &dhowv1.WasmLimits{Fuel: 1000, Weight: 50, Timeout: durationpb.New(2 * time.Second)},
		Host: &dhowv1.HostPolicy{
			Http: []string{"api.example.com"}, Config: map[string]string{"a": "b,c"}, Secrets: map[string]string{"k": "s=t"},
			Kv: &dhowv1.KeyValue{Store: "cart", MaxBytes: 16 << 20}, Invoke: []string{"price"},
		},
		Pool: &dhowv1.Pool{Concurrency: 8, Queue: proto.Uint32(0), IdleTimeout: durationpb.New(time.Minute)},
	}
	if w.GetSpec().GetType() != dhowv1.WorkloadType_WORKLOAD_TYPE_FUNCTION || !proto.Equal(task.GetWasm(), want) {
		t.Errorf("deployed %v", w)
	}
	if m := task.GetMounts(); len(m) != 1 || !proto.Equal(m[0], &dhowv1.Mount{Directory: "data", Path: "/data", Writable: true}) {
		t.Errorf("mounts %v", m)
	}
}

// TestDeployRefusesWhatCannotRun: nothing is sent of a module that can never
// run as it is meant to.
func TestDeployRefusesWhatCannotRun(t *testing.T) {
	f := newFake(t)
	for _, c := range []struct {
		name, module string
		args         []string
		says         string
	}{
		{"component", "\x00asm\x0d\x00\x01\x00", nil, "runwasi shim"},
		{"older than preview 1", importingModule("wasi_unstable", "fd_write", "_start"), nil, "wasi_unstable"},
		{"missing import", importingModule("env", "magic", "_start"), nil, "env.magic"},
		{"missing function of a host module", importingModule("http_handler", "magic", "handle_request"), []string{"--type", "function"}, "http_handler.magic"},
		{"library as a service", callableModule("add"), nil, "--type function"},
		{"plugin as a service", importingModule("extism:host/env", "input_length", "greet"), nil, "Extism plugin"},
		{"library as a command", callableModule("add"), []string{"--type", "function", "--trigger", "command"}, "_start"},
		{"no handler", callableModule("add"), []string{"--type", "function", "--trigger", "http-wasm"}, "handle_request"},
		{"nothing to call", callableModule("_initialize"), []string{"--type", "function"}, "neither _start"},
		{"trigger of a function", emptyModule, []string{"--trigger", "extism"}, "function"},
		{"service without ports", emptyModule, []string{"--trigger", "service"}, "ports"},
		{"no wasm", "#!/bin/sh\n", nil, "no WebAssembly module"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := dhow(t, "", append([]string{"deploy", "x", writeFile(t, "x.wasm", c.module), "--no-wait"}, c.args...)...)
			wantCode(t, r, exitInput)
			wantText(t, r.err, c.says)
		})
	}
	for _, bad := range [][]string{
		{"--type", "functoin"},
		{"--type", "function", "--job"},
		{"--trigger", "x"},
		{"--dir", "data"},
		{"--config", "a"},
		{"--concurrency", "0"},
		{"--net-allow", "a b"},
	} {
		r := dhow(t, "", append([]string{"deploy", "x", writeFile(t, "x.wasm", callableModule("add")), "--no-wait", "--type", "function"}, bad...)...)
		wantCode(t, r, exitInput)
	}
	wantCode(t, dhow(t, "", "deploy", "x", "nginx", "--fuel", "5"), exitInput)
	if f.uploads > 0 || f.workload("x") != nil {
		t.Errorf("something was sent: %d uploads", f.uploads)
	}
}

func usageOf(name string, at time.Duration, tasks ...*dhowv1.TaskUsage) *dhowv1.InstanceUsage {
	return &dhowv1.InstanceUsage{
		Ref:  &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "default", Name: name, Uid: name},
		Node: "n1", Workload: "web", Time: timestamppb.New(time.Unix(100, 0).Add(at)), Tasks: tasks,
	}
}

func cpu(d time.Duration, memory uint64) *dhowv1.TaskUsage {
	return &dhowv1.TaskUsage{Name: "main", Cpu: durationpb.New(d), Memory: memory, PeakMemory: memory * 2, Fuel: 1_234_567, Calls: 12, Failed: 1, Throttled: durationpb.New(1500 * time.Millisecond)}
}

func TestTop(t *testing.T) {
	f := newFake(t)
	again := cpu(time.Hour, 1<<20)
	again.Run = 1 // restarted in between: no CPU is known
	f.usage = []*dhowv1.UsageResponse{
		{Instances: []*dhowv1.InstanceUsage{usageOf("a", 0, cpu(time.Second, 1<<20)), usageOf("b", 0, cpu(time.Second, 1<<20)), usageOf("c", 0, cpu(0, 0))}},
		{
			Instances: []*dhowv1.InstanceUsage{
				usageOf("a", 2*time.Second, cpu(1100*time.Millisecond, 1<<20)), usageOf("b", 2*time.Second, cpu(4*time.Second, 8<<20)), usageOf("c", 2*time.Second, again),
			},
			Silent: []*dhowv1.SilentNode{{Name: "n2", Message: "it is not connected"}},
		},
	}
	r := dhow(t, "", "top", "--interval", "1ms")
	wantCode(t, r, 0)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) != 4 {
		t.Fatalf("printed\n%s", r.out)
	}
	for i, fields := range []string{
		"NAME CPU MEMORY FUEL CALLS THROTTLED NODE", "b 1500m 8Mi 1.2M 12 1.5s n1", "a 50m 1Mi 1.2M 12 1.5s n1", "c - 1Mi 1.2M 12 1.5s n1",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != fields {
			t.Errorf("line %d is %q, want %q", i, got, fields)
		}
	}
	wantText(t, r.err, "node n2: it is not connected")
	wantCode(t, dhow(t, "", "top", "--sort", "x"), exitInput)
	wantCode(t, dhow(t, "", "top", "nothing"), exitNotFound)
	r = dhow(t, "", "top", "-o", "json")
	wantCode(t, r, 0)
	wantText(t, r.out, `"peakMemory": 16777216`, `"cpu": "4s"`)
	wantCode(t, until(t, "\n\nNAME", "top", "-w", "--interval", "1ms"), 0)
}

func TestDescribeInstanceTellsItsUsage(t *testing.T) {
	f := newFake(t)
	f.put(spec.Wrap(&dhowv1.Instance{
		Meta: &dhowv1.Meta{Name: "a", Namespace: "default"}, Spec: &dhowv1.InstanceSpec{Node: "n1"},
		Status: &dhowv1.InstanceStatus{State: dhowv1.InstanceState_INSTANCE_STATE_RUNNING},
	}))
	f.usage = []*dhowv1.UsageResponse{{Instances: []*dhowv1.InstanceUsage{usageOf("a", 0, cpu(1100*time.Millisecond, 1<<20))}}}
	r := dhow(t, "", "describe", "a")
	wantCode(t, r, 0)
	wantText(t, r.out, "usage:\nmain: CPU 1.1s, memory 1Mi (at most 2Mi), fuel 1.2M, 12 calls (1 failed), held back by its CPU limit for 1.5s")
	f.usage = []*dhowv1.UsageResponse{{Silent: []*dhowv1.SilentNode{{Name: "n1", Message: "it is not connected"}}}}
	r = dhow(t, "", "describe", "a")
	wantCode(t, r, 0)
	wantText(t, r.out, "usage:\nnot known: it is not connected")
}
