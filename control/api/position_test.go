package api

import (
	"testing"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func FuzzParsePosition(f *testing.F) {
	sel := &dhowv1.Selector{Kind: dhowv1.Kind_KIND_WORKLOAD, Labels: map[string]string{"a": "b"}}
	f.Add(position{revision: 7, after: "x"}.token(sel))
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePosition(s, sel)
		if err != nil {
			if spec.CodeOf(err) != spec.CodeInvalid {
				t.Error(err)
			}
			return
		}
		if back, err := parsePosition(p.token(sel), sel); err != nil || back != p {
			t.Errorf("%q: %v, then %v (%v)", s, p, back, err)
		}
	})
}
