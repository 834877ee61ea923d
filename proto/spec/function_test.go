package spec_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// fn is the smallest good function.
func fn() *dhowv1.Workload {
	w := web()
	w.Spec.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_FUNCTION
	return w
}

func TestDefaultFunction(t *testing.T) {
	w := fn()
	w.Spec.Template.Tasks = append(w.Spec.Template.Tasks, &dhowv1.Task{Name: "init", Role: dhowv1.TaskRole_TASK_ROLE_INIT, Source: web().Spec.Template.Tasks[0].Source})
	w.Spec.Template.Tasks[0].GetWasm().Host = &dhowv1.HostPolicy{Kv: &dhowv1.KeyValue{Store: "a"}}
	o := spec.Wrap(w)
	spec.Default(o)
	want := &dhowv1.WasmSource{
		Artifact: digest,
		Limits:   &dhowv1.WasmLimits{Timeout: durationpb.New(30 * time.Second)},
		Host:     &dhowv1.HostPolicy{Kv: &dhowv1.KeyValue{Store: "a", MaxBytes: 16 << 20}},
		Pool:     &dhowv1.Pool{Concurrency: 4, Queue: proto.Uint32(64), IdleTimeout: durationpb.New(time.Minute)},
	}
	task := w.Spec.Template.Tasks[0]
	if !proto.Equal(task.GetWasm(), want) {
		t.Errorf("got  %v\nwant %v", task.GetWasm(), want)
	}
	if p := task.Ports; len(p) != 1 || p[0].Name != "http" || p[0].Port != 80 {
		t.Errorf("its ports are %v", p)
	}
	if i := w.Spec.Template.Tasks[1].GetWasm(); i.Pool != nil || i.Trigger != dhowv1.Trigger_TRIGGER_COMMAND {
		t.Errorf("the init task became %v", i)
	}
	if a := w.Spec.Template.Restart.Attempts; a == nil || *a != spec.DefaultServiceAttempts {
		t.Errorf("attempts are %v", a)
	}
	again := proto.CloneOf(o)
	spec.Default(again)
	if !proto.Equal(again, o) {
		t.Errorf("a second Default changed it: %v", again)
	}
	if err := spec.Validate(o); err != nil {
		t.Error(err)
	}
}

func TestValidateFunction(t *testing.T) {
	task := func(w *dhowv1.Workload) *dhowv1.Task { return w.Spec.Template.Tasks[0] }
	wasm := func(w *dhowv1.Workload) *dhowv1.WasmSource { return task(w).GetWasm() }
	trigger := func(tr dhowv1.Trigger) func(*dhowv1.Workload) {
		return func(w *dhowv1.Workload) { wasm(w).Trigger = tr }
	}
	service := func(tr dhowv1.Trigger) func(*dhowv1.Workload) {
		return func(w *dhowv1.Workload) {
			w.Spec.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE
			wasm(w).Trigger = tr
			task(w).Ports = []*dhowv1.Port{{Port: 80}}
		}
	}
	limits := func(l *dhowv1.WasmLimits) func(*dhowv1.Workload) {
		return func(w *dhowv1.Workload) { wasm(w).Limits = l }
	}
	pool := func(p *dhowv1.Pool) func(*dhowv1.Workload) { return func(w *dhowv1.Workload) { wasm(w).Pool = p } }
	host := func(h *dhowv1.HostPolicy) func(*dhowv1.Workload) {
		return func(w *dhowv1.Workload) { wasm(w).Host = h }
	}
	mount := func(m ...*dhowv1.Mount) func(*dhowv1.Workload) {
		return func(w *dhowv1.Workload) { task(w).Mounts = m }
	}
	const at = "spec.template.tasks[0]"
	for name, c := range map[string]struct {
		edit func(*dhowv1.Workload)
		want string // "path: part of the message"; "" when it is fine
	}{
		"command":            {trigger(dhowv1.Trigger_TRIGGER_COMMAND), ""},
		"http":               {trigger(dhowv1.Trigger_TRIGGER_HTTP), ""},
		"call":               {trigger(dhowv1.Trigger_TRIGGER_CALL), ""},
		"extism":             {trigger(dhowv1.Trigger_TRIGGER_EXTISM), ""},
		"http-wasm":          {trigger(dhowv1.Trigger_TRIGGER_HTTP_WASM), ""},
		"service":            {trigger(dhowv1.Trigger_TRIGGER_SERVICE), at + ".wasm.trigger: use the type service"},
		"unknown":            {trigger(99), at + ".wasm.trigger: is unknown"},
		"service service":    {service(dhowv1.Trigger_TRIGGER_SERVICE), ""},
		"service call":       {service(dhowv1.Trigger_TRIGGER_CALL), at + ".wasm.trigger: use the type function"},
		"service unknown":    {service(99), at + ".wasm.trigger: command, http or service"},
		"no ports":           {func(w *dhowv1.Workload) { service(dhowv1.Trigger_TRIGGER_SERVICE)(w); task(w).Ports = nil }, at + ".wasm.trigger: ports"},
		"service job":        {func(w *dhowv1.Workload) { service(dhowv1.Trigger_TRIGGER_SERVICE)(w); w.Spec.Type = 2 }, at + ".wasm.trigger: a job must"},
		"pool of a service":  {func(w *dhowv1.Workload) { service(1)(w); pool(&dhowv1.Pool{})(w) }, at + ".wasm.pool: functions only"},
		"name of a service":  {func(w *dhowv1.Workload) { service(1)(w); wasm(w).Function = "f" }, at + ".wasm.function: functions only"},
		"image":              {func(w *dhowv1.Workload) { task(w).Source = image("nginx") }, at + ".image: a function is a wasm module"},
		"stdin":              {func(w *dhowv1.Workload) { task(w).Stdin = []byte("x") }, at + ".stdin: data of each call"},
		"function":           {func(w *dhowv1.Workload) { wasm(w).Function = "add" }, ""},
		"concurrency":        {pool(&dhowv1.Pool{Concurrency: 1001}), at + ".wasm.pool.concurrency: at most 1000"},
		"queue":              {pool(&dhowv1.Pool{Queue: proto.Uint32(100_001)}), at + ".wasm.pool.queue: at most 100000"},
		"no queue":           {pool(&dhowv1.Pool{Queue: proto.Uint32(0)}), ""},
		"idle timeout":       {pool(&dhowv1.Pool{IdleTimeout: durationpb.New(-1)}), at + ".wasm.pool.idleTimeout: is negative"},
		"weight":             {limits(&dhowv1.WasmLimits{Weight: 10_001}), at + ".wasm.limits.weight: 1 to 10000"},
		"small stack":        {limits(&dhowv1.WasmLimits{Stack: 1}), at + ".wasm.limits.stack: 64Ki to 256Mi"},
		"large stack":        {limits(&dhowv1.WasmLimits{Stack: 1 << 40}), at + ".wasm.limits.stack: 64Ki to 256Mi"},
		"tables":             {limits(&dhowv1.WasmLimits{Tables: 1 << 30}), at + ".wasm.limits.tables: at most"},
		"files":              {limits(&dhowv1.WasmLimits{Files: 1 << 30}), at + ".wasm.limits.files: at most"},
		"timeout":            {limits(&dhowv1.WasmLimits{Timeout: durationpb.New(0)}), at + ".wasm.limits.timeout: at least 1ms"},
		"limits":             {limits(&dhowv1.WasmLimits{Fuel: 1 << 62, Weight: 1, Stack: 1 << 20, Tables: 5, Files: 5}), ""},
		"hosts":              {host(&dhowv1.HostPolicy{Http: []string{"api.example.com", "*.example.com", "https://A.b:8443", "http://10.0.0.1", "[::1]:80", "*"}}), ""},
		"no host":            {host(&dhowv1.HostPolicy{Http: []string{""}}), at + ".wasm.host.http[0]: is no host"},
		"scheme":             {host(&dhowv1.HostPolicy{Http: []string{"a", "ftp://b"}}), at + ".wasm.host.http[1]: is no host"},
		"path":               {host(&dhowv1.HostPolicy{Http: []string{"https://a/b"}}), at + ".wasm.host.http[0]: is no host"},
		"port":               {host(&dhowv1.HostPolicy{Http: []string{"a:0"}}), at + ".wasm.host.http[0]: is no host"},
		"star":               {host(&dhowv1.HostPolicy{Http: []string{"a.*"}}), at + ".wasm.host.http[0]: is no host"},
		"ipv6":               {host(&dhowv1.HostPolicy{Http: []string{"[x]"}}), at + ".wasm.host.http[0]: is no host"},
		"many hosts":         {host(&dhowv1.HostPolicy{Http: make([]string, 257)}), at + ".wasm.host.http: at most 256"},
		"config":             {host(&dhowv1.HostPolicy{Config: map[string]string{"": "x"}}), at + ".wasm.host.config: no name"},
		"secret":             {host(&dhowv1.HostPolicy{Secrets: map[string]string{"a": "\x00"}}), at + ".wasm.host.secrets[a]: NUL"},
		"store":              {host(&dhowv1.HostPolicy{Kv: &dhowv1.KeyValue{}}), at + ".wasm.host.kv.store: a name is needed"},
		"large store":        {host(&dhowv1.HostPolicy{Kv: &dhowv1.KeyValue{Store: "a", MaxBytes: 1 << 40}}), at + ".wasm.host.kv.maxBytes: at most 1Gi"},
		"invoke":             {host(&dhowv1.HostPolicy{Invoke: []string{"*", "A"}}), at + ".wasm.host.invoke[1]: is no name"},
		"mount":              {mount(&dhowv1.Mount{Directory: "data", Path: "/data"}, &dhowv1.Mount{Directory: "data", Path: "/"}), ""},
		"mount no directory": {mount(&dhowv1.Mount{Path: "/data"}), at + ".mounts[0].directory: directories that nodes offer"},
		"mount relative":     {mount(&dhowv1.Mount{Directory: "data", Path: "data"}), at + ".mounts[0].path: absolute"},
		"mount escape":       {mount(&dhowv1.Mount{Directory: "data", Path: "/a/../b"}), at + ".mounts[0].path: absolute"},
		"mount twice":        {mount(&dhowv1.Mount{Directory: "a", Path: "/a"}, &dhowv1.Mount{Directory: "b", Path: "/a"}), at + ".mounts[1].path: mounts[0] already"},
		"mounts":             {mount(make([]*dhowv1.Mount, 65)...), at + ".mounts: at most 64"},
		"image mount": {func(w *dhowv1.Workload) {
			service(0)(w)
			task(w).Source = image("nginx")
			mount(&dhowv1.Mount{Directory: "a", Path: "/a"})(w)
		}, at + ".mounts: wasm modules only"},
	} {
		t.Run(name, func(t *testing.T) {
			w := fn()
			c.edit(w)
			o := spec.Wrap(w)
			spec.Default(o)
			err := spec.Validate(o)
			path, message, _ := strings.Cut(c.want, ": ")
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			for _, e := range spec.Errors(err) {
				if e.Path == path && strings.Contains(e.Message, message) {
					return
				}
			}
			t.Errorf("want %s\n got %v", c.want, err)
		})
	}
}

func TestUntouched(t *testing.T) {
	if spec.Untouched(nil) || spec.Untouched(spec.Errorf(spec.CodeUnavailable, "x")) || !spec.Untouched(&spec.Error{Code: spec.CodeUnavailable, Untouched: true}) {
		t.Error("what was done is not told from what was not")
	}
}
