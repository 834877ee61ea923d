package spec_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func TestDefaultService(t *testing.T) {
	w := web()
	w.Spec.Template.Tasks[0].Resources = &dhowv1.Resources{Limits: &dhowv1.ResourceList{Memory: 64 << 20}}
	o := spec.Wrap(w)
	spec.Default(o)
	want := &dhowv1.Workload{
		Meta: &dhowv1.Meta{Name: "web", Namespace: "default"},
		Spec: &dhowv1.WorkloadSpec{
			Type:     dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE,
			Replicas: proto.Uint32(1),
			Template: &dhowv1.Template{
				Tasks: []*dhowv1.Task{{
					Name: "main", Role: dhowv1.TaskRole_TASK_ROLE_MAIN,
					Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: digest, Trigger: dhowv1.Trigger_TRIGGER_COMMAND}},
					Resources: &dhowv1.Resources{
						Requests: &dhowv1.ResourceList{Memory: 64 << 20},
						Limits:   &dhowv1.ResourceList{Memory: 64 << 20},
					},
				}},
				Placement: &dhowv1.Placement{Strategy: dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_PACK},
				Restart: &dhowv1.RestartPolicy{
					Mode: dhowv1.RestartMode_RESTART_MODE_ALWAYS, Attempts: proto.Uint32(5),
					Backoff: durationpb.New(250 * time.Millisecond), MaxBackoff: durationpb.New(time.Minute),
					ResetAfter: durationpb.New(10 * time.Minute),
				},
				GracePeriod: durationpb.New(10 * time.Second),
			},
		},
	}
	if !proto.Equal(w, want) {
		t.Errorf("got  %v\nwant %v", w, want)
	}
	again := proto.CloneOf(o)
	spec.Default(again)
	if !proto.Equal(again, o) {
		t.Errorf("a second Default changed it: %v", again)
	}
}

func TestDefaultJob(t *testing.T) {
	w := web()
	w.Spec.Type = dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
	spec.Default(spec.Wrap(w))
	r := w.Spec.Template.Restart
	if r.Mode != dhowv1.RestartMode_RESTART_MODE_ON_FAILURE || r.Attempts == nil || *r.Attempts != 0 || w.Spec.GetBackoffLimit() != 6 {
		t.Errorf("got %v", w)
	}
}

func TestDefaultHTTPPort(t *testing.T) {
	w := web()
	w.Spec.Template.Tasks[0].GetWasm().Trigger = dhowv1.Trigger_TRIGGER_HTTP
	spec.Default(spec.Wrap(w))
	if p := w.Spec.Template.Tasks[0].Ports; len(p) != 1 || p[0].Name != "http" || p[0].Port != 80 {
		t.Errorf("got %v", p)
	}
}

func TestDefaultOfNothing(t *testing.T) {
	for _, o := range []*dhowv1.Object{
		nil,
		{},
		spec.Wrap((*dhowv1.Workload)(nil)), spec.Wrap(&dhowv1.Workload{}),
		spec.Wrap(&dhowv1.Workload{Spec: &dhowv1.WorkloadSpec{Template: &dhowv1.Template{Tasks: []*dhowv1.Task{nil, {Ports: []*dhowv1.Port{nil}}}}}}),
	} {
		spec.Default(o)
		if spec.Validate(o) == nil {
			t.Errorf("%v is valid", o)
		}
	}
}

func TestRequests(t *testing.T) {
	got := spec.Requests(&dhowv1.Template{Tasks: []*dhowv1.Task{
		{Resources: res(100, 0, 200, 64)},
		{Resources: &dhowv1.Resources{Limits: &dhowv1.ResourceList{Cpu: 50}}},
		{},
	}})
	if want := (&dhowv1.ResourceList{Cpu: 150, Memory: 64}); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNodeLabels(t *testing.T) {
	n := &dhowv1.Node{
		Meta: &dhowv1.Meta{Name: "n1", Labels: map[string]string{"disk": "ssd", "rack": "b"}},
		Info: &dhowv1.NodeInfo{Os: "linux", Arch: "arm64", Zone: "z1", Labels: map[string]string{"rack": "a", "gpu": "no", "dhow/os": "plan9"}},
	}
	got := spec.NodeLabels(n)
	for k, v := range map[string]string{
		"disk": "ssd", "rack": "b", "gpu": "no",
		"dhow/name": "n1", "dhow/os": "linux", "dhow/arch": "arm64", "dhow/zone": "z1",
	} {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
	got["disk"] = "changed"
	if n.Meta.Labels["disk"] != "ssd" {
		t.Error("the map is not the caller's own")
	}
}
