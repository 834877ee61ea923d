package schedule

import (
	"maps"
	"time"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Demand is what one instance takes from its node.
type Demand struct {
	CPU, Memory int64
	Ports       []uint32
}

// DemandOf reads what an instance takes.
func DemandOf(s *dhowv1.InstanceSpec) Demand {
	return Demand{
		CPU:    int64(s.GetRequests().GetCpu()),
		Memory: int64(s.GetRequests().GetMemory()),
		Ports:  s.GetHostPorts(),
	}
}

// An instance that asks for nothing still counts for a little when nodes are
// compared, so that such instances do not all pile up on one node. It is never
// refused for that.
const (
	softCPU    = 10
	softMemory = 8 << 20
)

func (d Demand) soft() (cpu, memory int64) {
	return max(d.CPU, softCPU), max(d.Memory, softMemory)
}

// Node is one machine with what is taken of it.
type Node struct {
	// Holder is the caller's, who wants to find from here what is his.
	Holder any

	c        *Cluster
	name     string
	pos      int
	obj      *dhowv1.Node // nil: instances name it, but it is not there
	labels   map[string]string
	runtimes []string
	open     bool // takes new instances
	freed    bool // in Cluster.freed

	cpu, memory         int64 // allocatable
	usedCPU, usedMemory int64
	softCPU, softMemory int64
	ports               map[uint32]int
	count               int
}

func (n *Node) freeCPU() int64    { return n.cpu - n.usedCPU }
func (n *Node) freeMemory() int64 { return n.memory - n.usedMemory }

// cell is the node's leaf in the tree.
func (n *Node) cell() cell {
	if !n.open {
		return closed
	}
	return cell{
		softCPU: n.cpu - n.softCPU, softMemory: n.memory - n.softMemory,
		hardCPU: n.freeCPU(), hardMemory: n.freeMemory(),
		empty: share(n.cpu-n.softCPU, n.cpu) + share(n.memory-n.softMemory, n.memory),
	}
}

// share is part of whole in units of 1/4096.
func share(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return part * 4096 / whole
}

// Cluster is all nodes and what is free on them.
type Cluster struct {
	names   map[string]*Node
	nodes   []*Node // by position; nil where one was removed
	holes   []int
	tree    tree
	classes map[string]*class
	shapes  map[string]*Shape
	// version counts what may let an instance in that was refused.
	version uint64
	freed   []*Node
	// layout counts changes of the nodes themselves.
	layout uint64
}

// NewCluster makes a Cluster without nodes.
func NewCluster() *Cluster {
	return &Cluster{names: map[string]*Node{}, classes: map[string]*class{}, shapes: map[string]*Shape{}, version: 1}
}

// Len is the number of nodes.
func (c *Cluster) Len() int { return len(c.names) }

// Node finds or makes the node of a name. One that was never set, or that was
// removed, takes nothing, and is forgotten when nothing is taken of it.
func (c *Cluster) Node(name string) *Node {
	n := c.names[name]
	if n != nil {
		return n
	}
	n = &Node{c: c, name: name}
	if k := len(c.holes); k > 0 {
		n.pos = c.holes[k-1]
		c.holes = c.holes[:k-1]
	} else {
		n.pos = len(c.nodes)
		c.nodes = append(c.nodes, nil)
		c.tree.grow(len(c.nodes))
	}
	c.names[name], c.nodes[n.pos] = n, n
	return n
}

func (c *Cluster) drop(n *Node) {
	if n.obj != nil || n.count > 0 {
		return
	}
	delete(c.names, n.name)
	c.nodes[n.pos] = nil
	c.holes = append(c.holes, n.pos)
	c.tree.set(n.pos, closed)
	for _, cl := range c.classes {
		cl.set(n.pos, false)
	}
}

// SetNode takes in a node as it is now.
func (c *Cluster) SetNode(obj *dhowv1.Node) {
	n := c.Node(obj.GetMeta().GetName())
	if n.obj == nil || differ(n.obj, obj) {
		c.layout++
	}
	n.obj = obj
	n.labels = spec.NodeLabels(obj)
	n.runtimes = obj.GetInfo().GetRuntimes()
	n.cpu = int64(obj.GetInfo().GetAllocatable().GetCpu())
	n.memory = int64(obj.GetInfo().GetAllocatable().GetMemory())
	n.open = obj.GetLiveness().GetState() == dhowv1.NodeState_NODE_STATE_READY &&
		!obj.GetSpec().GetCordoned() && !obj.GetSpec().GetDraining()
	for _, cl := range c.classes {
		cl.set(n.pos, cl.takes(n))
	}
	c.release(n)
}

// differ tells whether the reasons why a node refuses may differ.
func differ(a, b *dhowv1.Node) bool {
	return a.GetLiveness().GetState() != b.GetLiveness().GetState() ||
		!proto.Equal(a.GetSpec(), b.GetSpec()) || !proto.Equal(a.GetInfo(), b.GetInfo()) ||
		!maps.Equal(a.GetMeta().GetLabels(), b.GetMeta().GetLabels())
}

// Layout changes whenever a node comes, goes or becomes another.
func (c *Cluster) Layout() uint64 { return c.layout }

// RemoveNode forgets a node; what is taken of it is kept until it is freed.
func (c *Cluster) RemoveNode(name string) {
	n := c.names[name]
	if n == nil {
		return
	}
	n.obj, n.open = nil, false
	c.layout++
	c.tree.set(n.pos, n.cell())
	c.drop(n)
}

// Name of the node.
func (n *Node) Name() string { return n.name }

// Take sets aside what an instance takes of the node.
func (n *Node) Take(d Demand) {
	n.add(d, 1)
	n.c.tree.set(n.pos, n.cell())
}

// Free gives back what an instance took.
func (n *Node) Free(d Demand) {
	n.add(d, -1)
	n.c.release(n)
	n.c.drop(n)
}

func (n *Node) add(d Demand, sign int64) {
	cpu, memory := d.soft()
	n.usedCPU += sign * d.CPU
	n.usedMemory += sign * d.Memory
	n.softCPU += sign * cpu
	n.softMemory += sign * memory
	n.count += int(sign)
	for _, p := range d.Ports {
		if n.ports == nil {
			n.ports = map[uint32]int{}
		}
		if n.ports[p] += int(sign); n.ports[p] == 0 {
			delete(n.ports, p)
		}
	}
}

// release notes that the node may take what it refused.
func (c *Cluster) release(n *Node) {
	c.tree.set(n.pos, n.cell())
	c.version++
	if !n.freed {
		n.freed = true
		c.freed = append(c.freed, n)
	}
}

// Freed tells whether any node changed or gave something back since Settle.
func (c *Cluster) Freed() bool { return len(c.freed) > 0 }

// Settle forgets which nodes changed.
func (c *Cluster) Settle() {
	for _, n := range c.freed {
		n.freed = false
	}
	c.freed = c.freed[:0]
}

// Unblocked tells whether a node that changed since Settle can take the shape.
func (c *Cluster) Unblocked(s *Shape) bool {
	if s.failed == c.version {
		return false
	}
	for _, n := range c.freed {
		if c.fits(n, s) {
			return true
		}
	}
	s.failed = c.version
	return false
}

// Usage is what a node has and what is taken of it.
func (c *Cluster) Usage(name string) (allocatable, used Demand) {
	if n := c.names[name]; n != nil {
		return Demand{CPU: n.cpu, Memory: n.memory}, Demand{CPU: n.usedCPU, Memory: n.usedMemory}
	}
	return Demand{}, Demand{}
}

// since is when the node's liveness last changed.
func (n *Node) since() time.Time { return n.obj.GetLiveness().GetSince().AsTime() }
