package output

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"dhow.dev/dhow/cmd/internal/manifest"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// ObjectTable prints objects of one kind.
type ObjectTable struct {
	table     *Table
	kind      dhowv1.Kind
	namespace bool
	now       func() time.Time
}

// NewObjectTable makes the table of a kind. With namespace set, that is the
// first column.
func NewObjectTable(w io.Writer, style Style, kind dhowv1.Kind, wide, namespace bool, now func() time.Time) *ObjectTable {
	columns := columnsOf(kind)
	if namespace = namespace && spec.Namespaced(kind); namespace {
		columns = append([]Column{{Name: "NAMESPACE"}}, columns...)
	}
	return &ObjectTable{table: NewTable(w, style, wide, columns...), kind: kind, namespace: namespace, now: now}
}

// Add appends an object, marked when it has just been deleted.
func (t *ObjectTable) Add(o *dhowv1.Object, deleted bool) {
	cells := row(o, t.now())
	if deleted {
		for i, c := range columnsOf(t.kind) {
			if c.Name == "STATUS" {
				cells[i] = Cell{"Deleted", Dim}
			}
		}
	}
	if t.namespace {
		cells = append([]Cell{{Text: spec.MetaOf(o).GetNamespace()}}, cells...)
	}
	t.table.Add(cells...)
}

// Flush prints what was added.
func (t *ObjectTable) Flush() error { return t.table.Flush() }

func columnsOf(k dhowv1.Kind) []Column {
	list := func(names ...string) []Column {
		out := make([]Column, len(names))
		for i, n := range names {
			wide, found := strings.CutPrefix(n, "+")
			out[i] = Column{Name: wide, Wide: found}
		}
		return out
	}
	switch k {
	case dhowv1.Kind_KIND_WORKLOAD:
		return list("NAME", "TYPE", "READY", "STATUS", "AGE", "+REVISION", "+SOURCE", "+MESSAGE")
	case dhowv1.Kind_KIND_INSTANCE:
		return list("NAME", "STATUS", "READY", "RESTARTS", "AGE", "NODE", "+REVISION", "+ADDRESS", "+MESSAGE")
	case dhowv1.Kind_KIND_NODE:
		return list("NAME", "STATUS", "CPU", "MEMORY", "AGE", "VERSION", "+ZONE", "+PLATFORM", "+ADDRESS", "+RUNTIMES", "+LABELS")
	case dhowv1.Kind_KIND_EVENT:
		return list("AGE", "TYPE", "REASON", "OBJECT", "MESSAGE", "+SOURCE")
	case dhowv1.Kind_KIND_ARTIFACT:
		return list("DIGEST", "SIZE", "AGE", "FILE", "+MEDIA-TYPE")
	case dhowv1.Kind_KIND_REVISION:
		return list("NAME", "WORKLOAD", "NUMBER", "AGE", "SOURCE")
	case dhowv1.Kind_KIND_TOKEN:
		return list("NAME", "ROLE", "STATUS", "EXPIRES", "AGE", "DESCRIPTION")
	default:
	}
	return list("NAME", "AGE")
}

// row makes the cells of columnsOf.
func row(o *dhowv1.Object, now time.Time) []Cell {
	m := spec.MetaOf(o)
	name, age := Cell{Text: m.GetName()}, Cell{Text: Age(now, m.GetCreatedAt())}
	plain := func(s string) Cell { return Cell{Text: s} }
	switch k := o.GetKind().(type) {
	case *dhowv1.Object_Workload:
		w := k.Workload
		return []Cell{
			name, plain(manifest.Word(w.GetSpec().GetType())), WorkloadReady(w), WorkloadStatus(w), age,
			plain(nonZero(w.GetStatus().GetRevision())), plain(Sources(w.GetSpec().GetTemplate())), plain(w.GetStatus().GetMessage()),
		}
	case *dhowv1.Object_Instance:
		i := k.Instance
		return []Cell{
			name, InstanceStatus(i), TasksReady(i), Restarts(i, now), age,
			plain(i.GetSpec().GetNode()), plain(nonZero(i.GetSpec().GetRevision())), plain(Addresses(i)), plain(InstanceMessage(i)),
		}
	case *dhowv1.Object_Node:
		n := k.Node
		i := n.GetInfo()
		platform := i.GetOs()
		if platform != "" {
			platform += "/" + i.GetArch()
		}
		return []Cell{
			name, NodeStatus(n), plain(cpu(i.GetAllocatable())), plain(memory(i.GetAllocatable())), age, plain(i.GetVersion()),
			plain(i.GetZone()), plain(platform), plain(i.GetAddress()), plain(strings.Join(i.GetRuntimes(), ",")), plain(Labels(n.GetMeta().GetLabels())),
		}
	case *dhowv1.Object_Event:
		e := k.Event
		return []Cell{plain(Age(now, e.GetTime())), EventType(e), plain(e.GetReason()), plain(RefName(e.GetRegarding())), plain(e.GetMessage()), plain(e.GetSource())}
	case *dhowv1.Object_Artifact:
		a := k.Artifact
		return []Cell{name, plain(spec.ShowBytes(a.GetSize())), age, plain(a.GetFile()), plain(a.GetMediaType())}
	case *dhowv1.Object_Revision:
		r := k.Revision
		return []Cell{name, plain(r.GetWorkload()), plain(nonZero(r.GetNumber())), age, plain(Sources(r.GetTemplate()))}
	case *dhowv1.Object_Token:
		t := k.Token
		return []Cell{name, plain(manifest.Word(t.GetRole())), tokenStatus(t, now), plain(expires(t, now)), age, plain(t.GetDescription())}
	}
	return []Cell{name, age}
}

func nonZero(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func cpu(r *dhowv1.ResourceList) string {
	if r.GetCpu() == 0 {
		return ""
	}
	return spec.FormatCPU(r.GetCpu())
}

func memory(r *dhowv1.ResourceList) string {
	if r.GetMemory() == 0 {
		return ""
	}
	return spec.ShowBytes(r.GetMemory())
}

// Labels writes labels as a=b,c=d, sorted.
func Labels(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ",")
}

// RefName is kind/name.
func RefName(r *dhowv1.Ref) string {
	if r == nil {
		return ""
	}
	return spec.KindName(r.GetKind()) + "/" + r.GetName()
}
