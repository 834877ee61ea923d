package manifest

import (
	"fmt"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// message fills in a message from a mapping, or from one of its short forms.
func (d *decoder) message(n *yaml.Node, path string, m protoreflect.Message) {
	n, ok := d.visit(n, path)
	if !ok || d.shorthand(n, path, m) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "want a mapping, not %s", describe(n))
		return
	}
	fields := m.Descriptor().Fields()
	for _, f := range d.pairs(n, path) {
		name := f.key.Value
		p := join(path, name)
		fd := fields.ByJSONName(name)
		if fd == nil {
			d.fail(f.key, p, "unknown field%s", hint(m.Descriptor(), name))
			continue
		}
		if clusterWrites(fd) {
			continue
		}
		if other := taken(m, fd); other != "" {
			d.fail(f.key, p, "%s is given already: there can be one of the two", other)
			continue
		}
		d.field(f.value, p, m, fd)
	}
}

// clusterWrites tells the fields of users' parts that only the cluster writes.
func clusterWrites(fd protoreflect.FieldDescriptor) bool {
	switch fd.FullName() {
	case "dhow.v1.Meta.uid", "dhow.v1.Meta.version", "dhow.v1.Meta.generation", "dhow.v1.Meta.created_at":
		return true
	}
	return false
}

// taken names the other member of fd's oneof that is set.
func taken(m protoreflect.Message, fd protoreflect.FieldDescriptor) string {
	one := fd.ContainingOneof()
	if one == nil || one.IsSynthetic() {
		return ""
	}
	if other := m.WhichOneof(one); other != nil && other != fd {
		return other.JSONName()
	}
	return ""
}

// hint helps with an unknown field; some of the words are other systems'.
func hint(m protoreflect.MessageDescriptor, name string) string {
	elsewhere := map[string]map[string]string{
		"WorkloadSpec": {"count": "replicas", "task": "template.tasks", "tasks": "template.tasks", "containers": "template.tasks", "restart": "template.restart", "selector": "nothing: a workload finds its own instances"},
		"Template":     {"containers": "tasks", "spec": "nothing: put its fields here", "metadata": "labels", "restartPolicy": "restart", "terminationGracePeriodSeconds": "gracePeriod", "nodeSelector": "placement.constraints", "affinity": "placement.constraints"},
		"Task":         {"command": "args", "environment": "env", "limits": "resources.limits", "requests": "resources.requests", "memory": "resources.limits.memory", "cpu": "resources.limits.cpu", "module": "wasm", "trigger": "wasm.trigger", "volumes": "mounts", "volumeMounts": "mounts", "pool": "wasm.pool", "host": "wasm.host"},
		"Port":         {"containerPort": "port"},
		"WasmSource":   {"path": "file", "digest": "artifact", "module": "file", "concurrency": "pool.concurrency", "queue": "pool.queue", "timeout": "limits.timeout", "fuel": "limits.fuel", "weight": "limits.weight", "http": "host.http", "config": "host.config", "secrets": "host.secrets", "kv": "host.kv", "memory": "nothing: the task has resources.limits.memory", "cpu": "nothing: the task has resources.limits.cpu"},
		"Constraint":   {"key": "label", "op": "operator", "value": "values"},
	}
	if known := elsewhere[string(m.Name())][name]; known != "" {
		return "; did you mean " + known + "?"
	}
	var names []string
	for i := range m.Fields().Len() {
		if fd := m.Fields().Get(i); !clusterWrites(fd) {
			names = append(names, fd.JSONName())
		}
	}
	return didYouMean(name, names)
}

// field sets one field of m.
func (d *decoder) field(n *yaml.Node, path string, m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	n, ok := d.visit(n, path)
	if !ok {
		return
	}
	if isNull(n) {
		d.fail(n, path, "has no value: give one, or leave the key out")
		return
	}
	switch {
	case fd.IsMap():
		d.mapping(n, path, m.Mutable(fd).Map())
	case fd.IsList():
		d.sequence(n, path, m.Mutable(fd).List(), fd)
	case isPlainMessage(fd):
		d.message(n, path, m.Mutable(fd).Message())
	default:
		if v, ok := d.scalar(n, path, fd); ok {
			m.Set(fd, v)
		}
	}
}

// isPlainMessage: durations and the like are scalars in manifests.
func isPlainMessage(fd protoreflect.FieldDescriptor) bool {
	return fd.Message() != nil && fd.Message().ParentFile().Package() != "google.protobuf"
}

func (d *decoder) mapping(n *yaml.Node, path string, m protoreflect.Map) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "want a mapping of names to texts, not %s", describe(n))
		return
	}
	for _, f := range d.pairs(n, path) {
		p := path + "[" + f.key.Value + "]"
		if v, ok := d.visit(f.value, p); ok {
			if s, ok := d.looseText(v, p); ok {
				m.Set(protoreflect.ValueOfString(f.key.Value).MapKey(), protoreflect.ValueOfString(s))
			}
		}
	}
}

func (d *decoder) sequence(n *yaml.Node, path string, list protoreflect.List, fd protoreflect.FieldDescriptor) {
	if n.Kind == yaml.MappingNode && fd.FullName() == "dhow.v1.Task.env" {
		d.envMapping(n, path, list)
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "want a list, not %s%s", describe(n), dashHelp(n))
		return
	}
	for i, item := range n.Content {
		p := fmt.Sprintf("%s[%d]", path, i)
		if isPlainMessage(fd) {
			d.message(item, p, list.AppendMutable().Message())
			continue
		}
		item, ok := d.visit(item, p)
		if !ok {
			return
		}
		if v, ok := d.scalar(item, p, fd); ok {
			list.Append(v)
		}
	}
}

func dashHelp(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		return ": begin each entry with '- '"
	}
	return ""
}
