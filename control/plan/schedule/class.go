package schedule

import (
	"slices"
	"strconv"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// class is what templates ask of nodes that does not change with use:
// constraints, runtimes and directories. Templates that ask the same share one.
type class struct {
	key         string
	uses        int
	constraints []*dhowv1.Constraint
	runtimes    []string // "" is any runtime of images
	directories []string
	bits        []uint64 // by position
	members     int
}

func classKey(cs []*dhowv1.Constraint, runtimes, directories []string) string {
	var b strings.Builder
	for _, r := range runtimes {
		b.WriteString(strconv.Quote(r))
	}
	for _, d := range directories {
		b.WriteByte('/')
		b.WriteString(strconv.Quote(d))
	}
	for _, c := range cs {
		b.WriteByte('|')
		b.WriteString(strconv.Itoa(int(c.GetOperator())))
		b.WriteString(strconv.Quote(c.GetLabel()))
		for _, v := range c.GetValues() {
			b.WriteString(strconv.Quote(v))
		}
	}
	return b.String()
}

func (c *class) has(pos int) bool {
	return pos/64 < len(c.bits) && c.bits[pos/64]&(1<<(pos%64)) != 0
}

func (c *class) set(pos int, in bool) {
	if in == c.has(pos) {
		return
	}
	for pos/64 >= len(c.bits) {
		c.bits = append(c.bits, 0)
	}
	c.bits[pos/64] ^= 1 << (pos % 64)
	if in {
		c.members++
	} else {
		c.members--
	}
}

// takes tells whether the node is one of the class.
func (c *class) takes(n *Node) bool {
	if n.obj == nil {
		return false
	}
	for _, k := range c.constraints {
		if !Match(k, n.labels) {
			return false
		}
	}
	return c.lacksRuntime(n) < 0 && c.lacksDirectory(n) < 0
}

// lacksDirectory is the index of the first directory that the node does not
// offer, or -1.
func (c *class) lacksDirectory(n *Node) int {
	return slices.IndexFunc(c.directories, func(d string) bool { return !slices.Contains(n.obj.GetInfo().GetDirectories(), d) })
}

// lacksRuntime is the index of the first runtime that the node has not, or -1.
func (c *class) lacksRuntime(n *Node) int {
	for i, r := range c.runtimes {
		if r == "" && !slices.ContainsFunc(n.runtimes, isImageRuntime) || r != "" && !slices.Contains(n.runtimes, r) {
			return i
		}
	}
	return -1
}

const wasm = "wasm"

func isImageRuntime(r string) bool { return r != wasm }

// Match tells whether labels fulfil a constraint.
func Match(k *dhowv1.Constraint, labels map[string]string) bool {
	v, ok := labels[k.GetLabel()]
	switch k.GetOperator() {
	case dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_IN:
		return ok && slices.Contains(k.GetValues(), v)
	case dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_IN:
		return !ok || !slices.Contains(k.GetValues(), v)
	case dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_EXISTS:
		return ok
	case dhowv1.ConstraintOperator_CONSTRAINT_OPERATOR_NOT_EXISTS:
		return !ok
	default:
		return false
	}
}

func directoriesOf(t *dhowv1.Template) []string {
	var out []string
	for _, task := range t.GetTasks() {
		for _, m := range task.GetMounts() {
			if !slices.Contains(out, m.GetDirectory()) {
				out = append(out, m.GetDirectory())
			}
		}
	}
	slices.Sort(out)
	return out
}

func runtimesOf(t *dhowv1.Template) []string {
	var out []string
	for _, task := range t.GetTasks() {
		r := wasm
		if task.GetImage() != nil {
			r = task.GetImage().GetRuntime()
		}
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	slices.Sort(out)
	return out
}
