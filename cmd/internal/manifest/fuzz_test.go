package manifest_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"dhow.dev/dhow/cmd/internal/manifest"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// FuzzDecode: whatever comes in, it ends with positioned errors or with
// documents that can be written and read again.
func FuzzDecode(f *testing.F) {
	f.Add(full)
	f.Add("kind: List\nitems: [{kind: Namespace, metadata: {name: a}}]")
	f.Add("kind: Workload\nspec: &a {template: {tasks: [{<<: *a, stdin: !!binary aa==}]}}")
	f.Add(`{"kind":"Node","metadata":{"name":"n","labels":{"a":"\u00e9"}},"spec":{"cordoned":true}}`)
	f.Add("kind: Workload\nspec: {replicas: 1e3, type: ~, lostAfter: 1h}")
	f.Fuzz(func(t *testing.T, in string) {
		docs, err := manifest.Decode("fuzz.yaml", []byte(in))
		if err != nil {
			var e *manifest.Error
			if !errors.As(err, &e) || spec.CodeOf(err) != spec.CodeInvalid {
				t.Fatalf("not an input error with a position: %v", err)
			}
			return
		}
		for _, d := range docs {
			if len(d.Modules) == 0 {
				comesBack(t, d.Object)
			}
			spec.Default(d.Object)
			_ = d.Locate(spec.Validate(d.Object))
		}
	})
}

// TestTextsComeBack: texts that look like something else in YAML stay texts.
func TestTextsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		str := rapid.OneOf(
			rapid.String(),
			rapid.SampledFrom([]string{"", "~", "null", "true", "on", "0x1", "1e3", "010", "- a", "a: b", "# c", "<<", "2026-01-01", "*a", "&a", "!x", "\n", " lead", "trail ", "a\nb\n\n", "\t", "'", `"`, "%", "@", "\u2028", "\ufeff", "=", "a\r\nb"}),
		)
		w := &dhowv1.Workload{
			Meta: &dhowv1.Meta{Name: "a", Annotations: rapid.MapOfN(str, str, 1, 4).Draw(t, "annotations")},
			Spec: &dhowv1.WorkloadSpec{Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{
				Args:  rapid.SliceOfN(str, 1, 4).Draw(t, "args"),
				Stdin: rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(t, "stdin"),
				Env:   []*dhowv1.EnvVar{{Name: "A", Value: str.Draw(t, "value")}},
			}}}},
		}
		if _, err := proto.Marshal(w); err != nil {
			t.Skip("not UTF-8")
		}
		comesBack(t, spec.Wrap(w))
	})
}
