package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Filter is what refuses a node.
type Filter uint8

// The filters, in the order in which they are asked. None refuses nothing.
const (
	None Filter = iota
	Liveness
	Cordon
	Constraint
	Runtime
	Directory
	CPU
	Memory
	Port
	filters
)

// String is the filter's name; None's is empty.
func (f Filter) String() string {
	return [filters]string{"", "liveness", "cordon", "constraint", "runtime", "directory", "cpu", "memory", "port"}[f%filters]
}

// refuse finds the first filter that refuses the shape.
func (n *Node) refuse(s *Shape) Filter {
	d := s.Demand
	switch {
	case !n.open && n.obj.GetLiveness().GetState() != dhowv1.NodeState_NODE_STATE_READY:
		return Liveness
	case !n.open:
		return Cordon
	case !s.class.has(n.pos):
		switch {
		case n.mismatch(s) != nil:
			return Constraint
		case s.class.lacksRuntime(n) >= 0:
			return Runtime
		}
		return Directory
	case d.CPU > 0 && n.freeCPU() < d.CPU:
		return CPU
	case d.Memory > 0 && n.freeMemory() < d.Memory:
		return Memory
	case slices.ContainsFunc(d.Ports, func(p uint32) bool { return n.ports[p] > 0 }):
		return Port
	}
	return None
}

func (n *Node) mismatch(s *Shape) *dhowv1.Constraint {
	for _, k := range s.class.constraints {
		if !Match(k, n.labels) {
			return k
		}
	}
	return nil
}

// message says what lacked, and how much.
func (n *Node) message(s *Shape, f Filter) string {
	d := s.Demand
	switch f {
	case Liveness:
		l := n.obj.GetLiveness()
		text := "the node is " + StateName(l.GetState())
		if l.GetSince() != nil {
			text += " since " + n.since().UTC().Format("2006-01-02 15:04:05Z")
		}
		if l.GetMessage() != "" {
			text += ": " + l.GetMessage()
		}
		return text
	case Cordon:
		if n.obj.GetSpec().GetDraining() {
			return "the node is being drained; dhow node uncordon lets instances in again"
		}
		return "the node is cordoned; dhow node uncordon lets instances in again"
	case Constraint:
		return n.mismatchText(n.mismatch(s))
	case Runtime:
		want := s.class.runtimes[s.class.lacksRuntime(n)]
		if want == "" {
			return fmt.Sprintf("the node runs no images, only %s", orNothing(n.runtimes))
		}
		return fmt.Sprintf("the node has no runtime %q, only %s", want, orNothing(n.runtimes))
	case Directory:
		want := s.class.directories[s.class.lacksDirectory(n)]
		return fmt.Sprintf("the node offers no directory %q, only %s", want, orNothing(n.obj.GetInfo().GetDirectories()))
	case CPU:
		return lacks(d.CPU, n.freeCPU(), n.cpu, spec.FormatCPU)
	case Memory:
		return lacks(d.Memory, n.freeMemory(), n.memory, spec.ShowBytes)
	case Port:
		for _, p := range d.Ports {
			if n.ports[p] > 0 {
				return fmt.Sprintf("host port %d is taken by another instance", p)
			}
		}
	default:
	}
	return ""
}

func (n *Node) mismatchText(k *dhowv1.Constraint) string {
	v, ok := n.labels[k.GetLabel()]
	have := fmt.Sprintf("label %s is %q", k.GetLabel(), v)
	if !ok {
		have = fmt.Sprintf("there is no label %s", k.GetLabel())
	}
	switch k.GetOperator() {
	case dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_IN:
		return fmt.Sprintf("%s; it must be one of %s", have, strings.Join(k.GetValues(), ", "))
	case dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_IN:
		return fmt.Sprintf("%s; it must be none of %s", have, strings.Join(k.GetValues(), ", "))
	case dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_EXISTS:
		return have + "; it must be there"
	case dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_EXISTS:
		return have + "; it must not be there"
	default:
		return fmt.Sprintf("the constraint on label %s has an operator that this version does not know", k.GetLabel())
	}
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func lacks(asked, free, all int64, format func(uint64) string) string {
	show := func(v int64) string {
		if v < 0 {
			return "-" + format(uint64(-v))
		}
		return format(uint64(v))
	}
	return fmt.Sprintf("%s asked, %s free of %s: lacks %s", show(asked), show(free), show(all), show(asked-free))
}

// StateName is a node's state for people.
func StateName(s dhowv1.NodeState) string {
	if s == dhowv1.NodeState_NODE_STATE_UNSPECIFIED {
		return "unknown"
	}
	return strings.ToLower(strings.TrimPrefix(s.String(), "NODE_STATE_"))
}

// Explain says of each node but one, by name, whether and why it refuses the
// shape.
func (c *Cluster) Explain(s *Shape, but string) []*dhowv1.Refusal {
	var out []*dhowv1.Refusal
	for _, n := range c.nodes {
		if n == nil || n.obj == nil || n.name == but {
			continue
		}
		f := n.refuse(s)
		out = append(out, &dhowv1.Refusal{Node: n.name, Filter: f.String(), Message: n.message(s, f)})
	}
	slices.SortFunc(out, func(a, b *dhowv1.Refusal) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// Summary says in a line why no node took the shape.
func (c *Cluster) Summary(s *Shape) string {
	if s.counted == c.version && s.summary != "" {
		return s.summary
	}
	var counts [filters]int
	nodes := 0
	cpu, memory := int64(none), int64(none)
	for _, n := range c.nodes {
		if n == nil || n.obj == nil {
			continue
		}
		nodes++
		f := n.refuse(s)
		counts[f]++
		switch f {
		case CPU:
			cpu = max(cpu, n.freeCPU())
		case Memory:
			memory = max(memory, n.freeMemory())
		default:
		}
	}
	s.counted = c.version
	s.summary = summarise(s, nodes, counts, cpu, memory)
	return s.summary
}

func summarise(s *Shape, nodes int, counts [filters]int, cpu, memory int64) string {
	if nodes == 0 {
		return "the cluster has no nodes; start one with dhow agent"
	}
	var parts []string
	add := func(f Filter, format string, args ...any) {
		if counts[f] > 0 {
			parts = append(parts, fmt.Sprintf("%d ", counts[f])+fmt.Sprintf(format, args...))
		}
	}
	add(CPU, "lack cpu (%s asked, at most %s free)", spec.FormatCPU(uint64(s.Demand.CPU)), spec.FormatCPU(uint64(max(cpu, 0))))
	add(Memory, "lack memory (%s asked, at most %s free)",
		spec.ShowBytes(uint64(s.Demand.Memory)), spec.ShowBytes(uint64(max(memory, 0))))
	add(Port, "have the host port taken")
	add(Runtime, "lack the runtime")
	add(Directory, "do not offer the directory")
	add(Constraint, "do not meet the constraints")
	add(Cordon, "cordoned or draining")
	add(Liveness, "not ready")
	return fmt.Sprintf("%d of %d nodes can take it: %s", counts[None], nodes, strings.Join(parts, ", "))
}
