package api_test

import (
	"strings"
	"testing"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// TestViewersSeeNoSecrets: those who may change a workload see all of it.
func TestViewersSeeNoSecrets(t *testing.T) {
	w := newWorld(t)
	o := workload("fn", "sha256:"+strings.Repeat("0", 64))
	o.GetWorkload().Meta.Namespace = "default"
	o.GetWorkload().Spec.Template.Tasks[0].GetWasm().Host = &dhowv1.HostPolicy{Secrets: map[string]string{"key": "s3cret"}}
	w.put(o.GetWorkload())
	w.put(&dhowv1.Revision{Meta: &dhowv1.Meta{Name: "fn.1", Namespace: "default"}, Workload: "fn", Number: 1, Template: o.GetWorkload().Spec.Template})
	kinds := []dhowv1.Kind{dhowv1.Kind_KIND_WORKLOAD, dhowv1.Kind_KIND_REVISION}
	for role, want := range map[dhowv1.Role]string{dhowv1.Role_ROLE_VIEWER: "(hidden)", dhowv1.Role_ROLE_DEPLOYER: "s3cret"} {
		c := w.as(w.token("t"+want[1:5], role, time.Hour))
		var got []*dhowv1.Object
		for _, k := range kinds {
			list, err := c.Objects.List(t.Context(), &dhowv1.ListRequest{Selector: &dhowv1.Selector{Kind: k}})
			if err != nil {
				t.Fatal(err)
			}
			one, err := c.Objects.Get(t.Context(), &dhowv1.GetRequest{Ref: spec.RefOf(list.GetObjects()[0])})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, list.GetObjects()[0], one.GetObject())
			in, err := c.Objects.Watch(t.Context(), &dhowv1.WatchRequest{Selectors: []*dhowv1.Selector{{Kind: k}}})
			if err != nil {
				t.Fatal(err)
			}
			for in.Receive() && !in.Msg().GetSynced() {
				for _, e := range in.Msg().GetEvents() {
					got = append(got, e.GetObject())
				}
			}
			if k == dhowv1.Kind_KIND_WORKLOAD {
				w.put(&dhowv1.Workload{Meta: &dhowv1.Meta{Name: "fn", Namespace: "default", Labels: map[string]string{"for": want[1:5]}}, Spec: o.GetWorkload().GetSpec()})
				if in.Receive() {
					got = append(got, in.Msg().GetEvents()[0].GetObject())
				}
			}
		}
		if len(got) != 7 {
			t.Errorf("%s sees it %d times", role, len(got))
		}
		for _, o := range got {
			tpl := o.GetWorkload().GetSpec().GetTemplate()
			if o.GetRevision() != nil {
				tpl = o.GetRevision().GetTemplate()
			}
			if v := tpl.GetTasks()[0].GetWasm().GetHost().GetSecrets()["key"]; v != want {
				t.Errorf("%s sees %q in %s", role, v, spec.KindName(spec.KindOf(o)))
			}
		}
	}
}
