package schedule

import (
	"fmt"
	"slices"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Shape is all that placing an instance of a template depends on. Templates
// that ask the same share one.
type Shape struct {
	Demand Demand
	Spread bool
	// The same as Demand, as instances carry it.
	Requests *dhowv1.ResourceList

	key                 string
	uses                int
	class               *class
	softCPU, softMemory int64
	// The cluster's version when no node took it.
	failed  uint64
	summary string
	counted uint64 // the version the summary is of
}

// Shape finds or makes the template's shape. Drop it when done.
func (c *Cluster) Shape(t *dhowv1.Template) *Shape {
	req := spec.Requests(t)
	var ports []uint32
	for _, task := range t.GetTasks() {
		for _, p := range task.GetPorts() {
			if h := p.GetHostPort(); h != 0 && !slices.Contains(ports, h) {
				ports = append(ports, h)
			}
		}
	}
	slices.Sort(ports)
	runtimes, directories := runtimesOf(t), directoriesOf(t)
	constraints := t.GetPlacement().GetConstraints()
	ck := classKey(constraints, runtimes, directories)
	spread := t.GetPlacement().GetStrategy() == dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_SPREAD
	key := fmt.Sprintf("%d %d %v %t %s", req.GetCpu(), req.GetMemory(), ports, spread, ck)
	if s := c.shapes[key]; s != nil {
		s.uses++
		return s
	}
	cl := c.classes[ck]
	if cl == nil {
		cl = &class{key: ck, constraints: constraints, runtimes: runtimes, directories: directories}
		for _, n := range c.nodes {
			if n != nil {
				cl.set(n.pos, cl.takes(n))
			}
		}
		c.classes[ck] = cl
	}
	cl.uses++
	s := &Shape{
		Demand: Demand{CPU: int64(req.GetCpu()), Memory: int64(req.GetMemory()), Ports: ports},
		Spread: spread, Requests: req, key: key, uses: 1, class: cl,
	}
	s.softCPU, s.softMemory = s.Demand.soft()
	c.shapes[key] = s
	return s
}

// Drop ends one use of a shape.
func (c *Cluster) Drop(s *Shape) {
	if s.uses--; s.uses > 0 {
		return
	}
	delete(c.shapes, s.key)
	if s.class.uses--; s.class.uses == 0 {
		delete(c.classes, s.class.key)
	}
}

// mayHard tells whether a node or some node of a subtree may have room.
func (s *Shape) mayHard(c *cell) bool {
	return c.hardCPU != none &&
		(s.Demand.CPU == 0 || c.hardCPU >= s.Demand.CPU) && (s.Demand.Memory == 0 || c.hardMemory >= s.Demand.Memory)
}

// maySoft is the same for the comparison's sake. It does not imply mayHard
// where a node is overcommitted in truth.
func (s *Shape) maySoft(c *cell) bool {
	return c.softCPU >= s.softCPU && c.softMemory >= s.softMemory && s.mayHard(c)
}

// fits tells whether the node can take the shape.
func (c *Cluster) fits(n *Node, s *Shape) bool {
	if !n.open || !s.mayHard(&c.tree.cells[c.tree.size+n.pos]) || !s.class.has(n.pos) {
		return false
	}
	for _, p := range s.Demand.Ports {
		if n.ports[p] > 0 {
			return false
		}
	}
	return true
}
