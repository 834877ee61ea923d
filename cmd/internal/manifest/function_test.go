package manifest_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"dhow.dev/dhow/cmd/internal/manifest"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

const function = `
kind: Workload
metadata: {name: cart}
spec:
  type: function
  template:
    tasks:
      - wasm:
          artifact: "` + digest + `"
          trigger: http-wasm
          function: add
          limits: {fuel: 1000000, weight: 200, stack: 1Mi, timeout: 2s, tables: 100, files: 8}
          host:
            http: [https://api.example.com]
            config: {retries: 3}
            secrets: {key: s3cret}
            kv: cart
            invoke: [price]
          pool: {concurrency: 8, queue: 0, idleTimeout: 10s, maxCalls: 100}
        mounts: ["data:/data", "logs:/logs:rw"]
`

func TestDecodeFunction(t *testing.T) {
	doc := decode(t, function)[0]
	task := doc.Object.GetWorkload().GetSpec().GetTemplate().GetTasks()[0]
	want := &dhowv1.Task{
		Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{
			Artifact: digest, Trigger: dhowv1.Trigger_TRIGGER_HTTP_WASM, Function: "add",
			Limits: &dhowv1.WasmLimits{Fuel: 1_000_000, Weight: 200, Stack: 1 << 20, Timeout: durationpb.New(2 * time.Second), Tables: 100, Files: 8},
			Host: &dhowv1.HostPolicy{
				Http: []string{"https://api.example.com"}, Config: map[string]string{"retries": "3"}, Secrets: map[string]string{"key": "s3cret"},
				Kv: &dhowv1.KeyValue{Store: "cart"}, Invoke: []string{"price"},
			},
			Pool: &dhowv1.Pool{Concurrency: 8, Queue: proto.Uint32(0), IdleTimeout: durationpb.New(10 * time.Second), MaxCalls: 100},
		}},
		Mounts: []*dhowv1.Mount{{Directory: "data", Path: "/data"}, {Directory: "logs", Path: "/logs", Writable: true}},
	}
	if !proto.Equal(task, want) {
		t.Errorf("got  %v\nwant %v", task, want)
	}
	var out bytes.Buffer
	if err := manifest.WriteYAML(&out, doc.Object); err != nil {
		t.Fatal(err)
	}
	if again := decode(t, out.String())[0]; !proto.Equal(again.Object, doc.Object) {
		t.Errorf("what was written does not read back:\n%s", out.String())
	}
}

func TestDecodeMountErrors(t *testing.T) {
	for _, bad := range []string{"data", "data:", ":/data", "data:/data:x"} {
		text := strings.Replace(function, "data:/data\"", bad+"\"", 1)
		if _, err := manifest.Decode("web.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "mounts[0]: \""+bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
