package spec

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// The defaults that are figures.
const (
	DefaultBackoffLimit    = 6
	DefaultServiceAttempts = 5
	DefaultGracePeriod     = 10 * time.Second
	DefaultBackoff         = 250 * time.Millisecond
	DefaultMaxBackoff      = time.Minute
	DefaultResetAfter      = 10 * time.Minute
	DefaultHTTPPort        = 80
	DefaultConcurrency     = 4
	DefaultQueue           = 64
	DefaultIdleTimeout     = time.Minute
	DefaultCallTimeout     = 30 * time.Second
	DefaultStoreBytes      = 16 << 20
)

// Default fills in, in place, what the user left out. Doing it twice changes
// nothing more. It never fails: what is wrong is for Validate to say.
func Default(o *dhowv1.Object) {
	if m := MetaOf(o); m != nil && m.Namespace == "" && Namespaced(KindOf(o)) {
		m.Namespace = DefaultNamespace
	}
	w := o.GetWorkload()
	if w.GetSpec() == nil {
		return
	}
	s := w.Spec
	if s.Type == dhowv1.WorkloadType_WORKLOAD_TYPE_UNSPECIFIED {
		s.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE
	}
	if s.Replicas == nil {
		s.Replicas = proto.Uint32(1)
	}
	if s.BackoffLimit == nil && s.Type == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB {
		s.BackoffLimit = proto.Uint32(DefaultBackoffLimit)
	}
	if s.Template != nil {
		defaultTemplate(s.Template, s.Type)
	}
}

func defaultTemplate(t *dhowv1.Template, typ dhowv1.WorkloadType) {
	for _, task := range t.Tasks {
		if task != nil {
			defaultTask(task, typ)
		}
	}
	if t.Placement == nil {
		t.Placement = &dhowv1.Placement{}
	}
	if t.Placement.Strategy == dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_UNSPECIFIED {
		t.Placement.Strategy = dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_PACK
	}
	if t.Restart == nil {
		t.Restart = &dhowv1.RestartPolicy{}
	}
	defaultRestart(t.Restart, typ)
	setDuration(&t.GracePeriod, DefaultGracePeriod)
}

func defaultRestart(r *dhowv1.RestartPolicy, typ dhowv1.WorkloadType) {
	mode, attempts := dhowv1.RestartMode_RESTART_MODE_ALWAYS, uint32(DefaultServiceAttempts)
	if typ == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB {
		mode, attempts = dhowv1.RestartMode_RESTART_MODE_ON_FAILURE, 0
	}
	if r.Mode == dhowv1.RestartMode_RESTART_MODE_UNSPECIFIED {
		r.Mode = mode
	}
	if r.Attempts == nil {
		r.Attempts = &attempts
	}
	// One of the two waits that was given moves the other's default.
	backoff := DefaultBackoff
	if given := r.MaxBackoff.AsDuration(); given >= MinBackoff {
		backoff = min(backoff, given)
	}
	setDuration(&r.Backoff, backoff)
	setDuration(&r.MaxBackoff, max(DefaultMaxBackoff, r.Backoff.AsDuration()))
	setDuration(&r.ResetAfter, DefaultResetAfter)
}

func defaultTask(t *dhowv1.Task, typ dhowv1.WorkloadType) {
	if t.Name == "" {
		t.Name = "main"
	}
	if t.Role == dhowv1.TaskRole_TASK_ROLE_UNSPECIFIED {
		t.Role = dhowv1.TaskRole_TASK_ROLE_MAIN
	}
	if w := t.GetWasm(); w != nil {
		function := typ == dhowv1.WorkloadType_WORKLOAD_TYPE_FUNCTION && t.Role == dhowv1.TaskRole_TASK_ROLE_MAIN
		defaultWasm(w, function)
		if function || w.Trigger == dhowv1.Trigger_TRIGGER_HTTP {
			defaultHTTPPort(t)
		}
	}
	if len(t.Ports) > 0 && t.Ports[0] != nil && t.Ports[0].Name == "" {
		t.Ports[0].Name = "http"
	}
	if lim := t.GetResources().GetLimits(); lim != nil {
		if t.Resources.Requests == nil {
			t.Resources.Requests = &dhowv1.ResourceList{}
		}
		req := t.Resources.Requests
		req.Cpu, req.Memory = orElse(req.Cpu, lim.Cpu), orElse(req.Memory, lim.Memory)
	}
}

// defaultWasm leaves the trigger of a function open: its node finds out from
// the module. A pool is what tells a node that a task is a function's.
func defaultWasm(w *dhowv1.WasmSource, function bool) {
	if w.Trigger == dhowv1.Trigger_TRIGGER_UNSPECIFIED && !function {
		w.Trigger = dhowv1.Trigger_TRIGGER_COMMAND
	}
	if kv := w.GetHost().GetKv(); kv != nil && kv.MaxBytes == 0 {
		kv.MaxBytes = DefaultStoreBytes
	}
	if !function {
		return
	}
	if w.Pool == nil {
		w.Pool = &dhowv1.Pool{}
	}
	if w.Pool.Concurrency == 0 {
		w.Pool.Concurrency = DefaultConcurrency
	}
	if w.Pool.Queue == nil {
		w.Pool.Queue = proto.Uint32(DefaultQueue)
	}
	setDuration(&w.Pool.IdleTimeout, DefaultIdleTimeout)
	if w.Limits == nil {
		w.Limits = &dhowv1.WasmLimits{}
	}
	setDuration(&w.Limits.Timeout, DefaultCallTimeout)
}

func defaultHTTPPort(t *dhowv1.Task) {
	if len(t.Ports) == 0 {
		t.Ports = []*dhowv1.Port{{}}
	}
	if p := t.Ports[0]; p != nil && p.Port == 0 {
		p.Port = DefaultHTTPPort
	}
}

func setDuration(d **durationpb.Duration, v time.Duration) {
	if *d == nil {
		*d = durationpb.New(v)
	}
}
