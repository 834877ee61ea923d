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

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// web is the smallest good workload.
func web() *dhowv1.Workload {
	return &dhowv1.Workload{
		Meta: &dhowv1.Meta{Name: "web"},
		Spec: &dhowv1.WorkloadSpec{Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{
			Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: digest}},
		}}}},
	}
}

func TestValidateAcceptsTheSmallestWorkload(t *testing.T) {
	o := spec.Wrap(web())
	spec.Default(o)
	if err := spec.Validate(o); err != nil {
		t.Fatal(err)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	type edit = func(*dhowv1.Workload)
	task := func(w *dhowv1.Workload) *dhowv1.Task { return w.Spec.Template.Tasks[0] }
	for name, c := range map[string]struct {
		edit edit
		want string // "path: part of the message"; "" when it is fine
	}{
		"no name":          {func(w *dhowv1.Workload) { w.Meta.Name = "" }, "metadata.name: a name is needed"},
		"capitals":         {func(w *dhowv1.Workload) { w.Meta.Name = "My_App" }, "metadata.name: \"My_App\" is no name"},
		"suggestion":       {func(w *dhowv1.Workload) { w.Meta.Name = "My_App" }, "metadata.name: such as my-app"},
		"long name":        {func(w *dhowv1.Workload) { w.Meta.Name = strings.Repeat("a", 52) }, "metadata.name: at most 51"},
		"longest name":     {func(w *dhowv1.Workload) { w.Meta.Name = strings.Repeat("a", 51) }, ""},
		"namespace":        {func(w *dhowv1.Workload) { w.Meta.Namespace = "a b" }, "metadata.namespace: is no name"},
		"own label":        {func(w *dhowv1.Workload) { w.Meta.Labels = map[string]string{"dhow/os": "x"} }, "metadata.labels[dhow/os]: dhow's own"},
		"label value":      {func(w *dhowv1.Workload) { w.Meta.Labels = map[string]string{"a": "b c"} }, "metadata.labels[a]: no label value"},
		"label key":        {func(w *dhowv1.Workload) { w.Meta.Labels = map[string]string{"": "b"} }, "metadata.labels: no label key"},
		"no meta":          {func(w *dhowv1.Workload) { w.Meta = nil }, "metadata: is missing"},
		"no spec":          {func(w *dhowv1.Workload) { w.Spec = nil }, "spec: is missing"},
		"no template":      {func(w *dhowv1.Workload) { w.Spec.Template = nil }, "spec.template: is missing"},
		"no tasks":         {func(w *dhowv1.Workload) { w.Spec.Template.Tasks = nil }, "spec.template.tasks: at least one"},
		"nil task":         {func(w *dhowv1.Workload) { w.Spec.Template.Tasks[0] = nil }, "spec.template.tasks[0]: nothing to run"},
		"too many tasks":   {func(w *dhowv1.Workload) { w.Spec.Template.Tasks = make([]*dhowv1.Task, 17) }, "spec.template.tasks: at most 16"},
		"no source":        {func(w *dhowv1.Workload) { task(w).Source = nil }, "spec.template.tasks[0]: nothing to run"},
		"no artifact":      {func(w *dhowv1.Workload) { task(w).GetWasm().Artifact = "" }, "spec.template.tasks[0].wasm: names no module"},
		"bad artifact":     {func(w *dhowv1.Workload) { task(w).GetWasm().Artifact = "sha256:12" }, "spec.template.tasks[0].wasm.artifact: is no digest"},
		"unknown type":     {func(w *dhowv1.Workload) { w.Spec.Type = 99 }, "spec.type: is unknown"},
		"replicas":         {func(w *dhowv1.Workload) { w.Spec.Replicas = proto.Uint32(100_001) }, "spec.replicas: at most 100000"},
		"most replicas":    {func(w *dhowv1.Workload) { w.Spec.Replicas = proto.Uint32(100_000) }, ""},
		"no replicas":      {func(w *dhowv1.Workload) { w.Spec.Replicas = proto.Uint32(0) }, ""},
		"backoff limit":    {func(w *dhowv1.Workload) { w.Spec.BackoffLimit = proto.Uint32(1) }, "spec.backoffLimit: for jobs only"},
		"negative":         {func(w *dhowv1.Workload) { w.Spec.LostAfter = durationpb.New(-time.Second) }, "spec.lostAfter: is negative"},
		"long":             {func(w *dhowv1.Workload) { w.Spec.Template.GracePeriod = durationpb.New(9000 * time.Hour) }, "spec.template.gracePeriod: at most"},
		"invalid duration": {func(w *dhowv1.Workload) { w.Spec.LostAfter = &durationpb.Duration{Seconds: 1, Nanos: -1} }, "spec.lostAfter: no valid duration"},
		"two mains": {func(w *dhowv1.Workload) {
			w.Spec.Template.Tasks = append(w.Spec.Template.Tasks, &dhowv1.Task{Name: "b", Source: task(w).Source})
		}, "spec.template.tasks: 2 tasks with the role main"},
		"same task name": {func(w *dhowv1.Workload) {
			w.Spec.Template.Tasks = append(w.Spec.Template.Tasks, &dhowv1.Task{Role: dhowv1.TaskRole_TASK_ROLE_INIT, Source: task(w).Source})
		}, `spec.template.tasks[1].name: "main" is the name of spec.template.tasks[0] already`},
		"env name":    {func(w *dhowv1.Workload) { task(w).Env = []*dhowv1.EnvVar{{Name: "A=B"}} }, "spec.template.tasks[0].env[0].name: '='"},
		"env no name": {func(w *dhowv1.Workload) { task(w).Env = []*dhowv1.EnvVar{{}} }, "spec.template.tasks[0].env[0].name: is missing"},
		"env twice":   {func(w *dhowv1.Workload) { task(w).Env = []*dhowv1.EnvVar{{Name: "A"}, {Name: "A"}} }, "spec.template.tasks[0].env[1].name: env[0] already"},
		"env many":    {func(w *dhowv1.Workload) { task(w).Env = make([]*dhowv1.EnvVar, 1025) }, "spec.template.tasks[0].env: at most 1024"},
		"arg NUL":     {func(w *dhowv1.Workload) { task(w).Args = []string{"a\x00"} }, "spec.template.tasks[0].args[0]: NUL"},
		"stdin":       {func(w *dhowv1.Workload) { task(w).Stdin = make([]byte, 1<<20+1) }, "spec.template.tasks[0].stdin: at most 1048576"},
		"template":    {func(w *dhowv1.Workload) { task(w).Args = make([]string, 1024); fill(task(w).Args, 2000) }, "spec.template: bytes when encoded"},
		"limit<req":   {func(w *dhowv1.Workload) { task(w).Resources = res(0, 2048, 0, 1024) }, "spec.template.tasks[0].resources.limits.memory: is 1Ki, less than the request of 2Ki"},
		"cpu limit":   {func(w *dhowv1.Workload) { task(w).Resources = res(1500, 0, 1000, 0) }, "spec.template.tasks[0].resources.limits.cpu: is 1, less than the request of 1500m"},
		"huge memory": {func(w *dhowv1.Workload) { task(w).Resources = res(0, 1<<63, 0, 0) }, "spec.template.tasks[0].resources.requests.memory: at most 1Pi"},
		"huge cpu":    {func(w *dhowv1.Workload) { task(w).Resources = res(0, 0, 1<<62, 0) }, "spec.template.tasks[0].resources.limits.cpu: at most 1000000"},
		"port":        {func(w *dhowv1.Workload) { task(w).Ports = []*dhowv1.Port{{Port: 70000}} }, "spec.template.tasks[0].ports[0].port: is 70000"},
		"port 0":      {func(w *dhowv1.Workload) { task(w).Ports = []*dhowv1.Port{{}} }, "spec.template.tasks[0].ports[0].port: is 0"},
		"port name":   {func(w *dhowv1.Workload) { task(w).Ports = []*dhowv1.Port{{Port: 1}, {Port: 2}} }, "spec.template.tasks[0].ports[1].name: a name is needed"},
		"port twice":  {func(w *dhowv1.Workload) { task(w).Ports = []*dhowv1.Port{{Port: 1}, {Name: "http", Port: 2}} }, "spec.template.tasks[0].ports[1].name: ports[0] already"},
		"host port":   {func(w *dhowv1.Workload) { task(w).Ports = []*dhowv1.Port{{Port: 1, HostPort: 65536}} }, "spec.template.tasks[0].ports[0].hostPort: is 65536"},
		"same host": {func(w *dhowv1.Workload) {
			task(w).Ports = []*dhowv1.Port{{Port: 1, HostPort: 9}, {Name: "b", Port: 1, HostPort: 9}}
		}, "spec.template.tasks[0].ports[1].hostPort: 9 is taken"},
		"http": {func(w *dhowv1.Workload) { task(w).GetWasm().Trigger = dhowv1.Trigger_TRIGGER_HTTP }, ""},
		"http stdin": {func(w *dhowv1.Workload) {
			task(w).GetWasm().Trigger = dhowv1.Trigger_TRIGGER_HTTP
			task(w).Stdin = []byte("x")
		}, "spec.template.tasks[0].stdin: for commands"},
		"http job": {func(w *dhowv1.Workload) { task(w).GetWasm().Trigger = dhowv1.Trigger_TRIGGER_HTTP; w.Spec.Type = 2 }, "spec.template.tasks[0].wasm.trigger: a job must"},
		"job": {func(w *dhowv1.Workload) {
			w.Spec.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
			w.Spec.BackoffLimit = proto.Uint32(0)
		}, ""},
		"job always": {func(w *dhowv1.Workload) { w.Spec.Type = 2; w.Spec.Template.Restart = &dhowv1.RestartPolicy{Mode: 1} }, "spec.template.restart.mode: never let a job end"},
		"no backoff": {func(w *dhowv1.Workload) { w.Spec.Template.Restart = &dhowv1.RestartPolicy{Backoff: durationpb.New(0)} }, "spec.template.restart.backoff: at least 1ms"},
		"backoffs": {func(w *dhowv1.Workload) {
			w.Spec.Template.Restart = &dhowv1.RestartPolicy{Backoff: durationpb.New(2), MaxBackoff: durationpb.New(1)}
		}, "spec.template.restart.maxBackoff: less than the first wait"},
		"short max": {func(w *dhowv1.Workload) {
			w.Spec.Template.Restart = &dhowv1.RestartPolicy{MaxBackoff: durationpb.New(time.Millisecond)}
		}, ""},
		"long first": {func(w *dhowv1.Workload) {
			w.Spec.Template.Restart = &dhowv1.RestartPolicy{Backoff: durationpb.New(time.Hour)}
		}, ""},
		"operator":  {func(w *dhowv1.Workload) { constrain(w, &dhowv1.Constraint{Label: "a"}) }, "spec.template.placement.constraints[0].operator: missing"},
		"no values": {func(w *dhowv1.Workload) { constrain(w, &dhowv1.Constraint{Label: "a", Operator: 1}) }, "spec.template.placement.constraints[0].values: is empty"},
		"values": {func(w *dhowv1.Workload) {
			constrain(w, &dhowv1.Constraint{Label: "a", Operator: 3, Values: []string{"x"}})
		}, "spec.template.placement.constraints[0].values: no values"},
		"no label": {func(w *dhowv1.Workload) { constrain(w, &dhowv1.Constraint{Operator: 3}) }, "spec.template.placement.constraints[0].label: no label key"},
		"dhow's label": {func(w *dhowv1.Workload) {
			constrain(w, &dhowv1.Constraint{Label: "dhow/zone", Operator: 1, Values: []string{"a"}})
		}, ""},
		"image":        {func(w *dhowv1.Workload) { task(w).Source = image("localhost:5000/a/b:v1@" + digest) }, ""},
		"image short":  {func(w *dhowv1.Workload) { task(w).Source = image("nginx") }, ""},
		"image bad":    {func(w *dhowv1.Workload) { task(w).Source = image("Nginx Latest") }, "spec.template.tasks[0].image: is no image"},
		"image none":   {func(w *dhowv1.Workload) { task(w).Source = image("") }, "spec.template.tasks[0].image: names no image"},
		"image tag":    {func(w *dhowv1.Workload) { task(w).Source = image("nginx:") }, "spec.template.tasks[0].image: is no image"},
		"image digest": {func(w *dhowv1.Workload) { task(w).Source = image("nginx@sha256:1") }, "spec.template.tasks[0].image: is no digest"},
	} {
		t.Run(name, func(t *testing.T) {
			w := web()
			c.edit(w)
			o := spec.Wrap(w)
			spec.Default(o)
			err := spec.Validate(o)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			path, message, _ := strings.Cut(c.want, ": ")
			for _, e := range spec.Errors(err) {
				if e.Code != spec.CodeInvalid {
					t.Errorf("%v has the code %s", e, e.Code)
				}
				if e.Path == path && strings.Contains(e.Message, message) {
					return
				}
			}
			t.Errorf("want %s\n got %v", c.want, err)
		})
	}
}

func fill(s []string, n int) {
	for i := range s {
		s[i] = strings.Repeat("x", n)
	}
}

func res(reqCPU, reqMem, limCPU, limMem uint64) *dhowv1.Resources {
	return &dhowv1.Resources{
		Requests: &dhowv1.ResourceList{Cpu: reqCPU, Memory: reqMem},
		Limits:   &dhowv1.ResourceList{Cpu: limCPU, Memory: limMem},
	}
}

func image(ref string) *dhowv1.Task_Image {
	return &dhowv1.Task_Image{Image: &dhowv1.ImageSource{Ref: ref}}
}

func constrain(w *dhowv1.Workload, c ...*dhowv1.Constraint) {
	w.Spec.Template.Placement = &dhowv1.Placement{Constraints: c}
}

func TestValidateTellsAllFaultsAtOnce(t *testing.T) {
	w := web()
	w.Meta.Name, w.Spec.Replicas = "A", proto.Uint32(1_000_000)
	o := spec.Wrap(w)
	spec.Default(o)
	if got := len(spec.Errors(spec.Validate(o))); got != 2 {
		t.Fatalf("got %d errors: %v", got, spec.Validate(o))
	}
}

func TestValidateOtherKinds(t *testing.T) {
	for _, c := range []struct {
		o    *dhowv1.Object
		good bool
	}{
		{&dhowv1.Object{}, false},
		{spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "a"}}), true},
		{spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "a", Namespace: "b"}}), false},
		{spec.Wrap(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "n-1"}}), true},
		{spec.Wrap(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "n-1"}, Info: &dhowv1.NodeInfo{Labels: map[string]string{"dhow/os": "x"}}}), false},
		{spec.Wrap(&dhowv1.Artifact{Meta: &dhowv1.Meta{Name: digest}}), true},
		{spec.Wrap(&dhowv1.Artifact{Meta: &dhowv1.Meta{Name: "a"}}), false},
		{spec.Wrap(&dhowv1.Token{Meta: &dhowv1.Meta{Name: "ci"}, Role: dhowv1.Role_ROLE_VIEWER}), true},
		{spec.Wrap(&dhowv1.Token{Meta: &dhowv1.Meta{Name: "ci"}}), false},
		{spec.Wrap(&dhowv1.Revision{Meta: &dhowv1.Meta{Name: "web.1", Namespace: "default"}}), true},
	} {
		spec.Default(c.o)
		if err := spec.Validate(c.o); (err == nil) != c.good {
			t.Errorf("%v: %v", c.o, err)
		}
	}
}
