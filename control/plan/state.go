package plan

import (
	"time"

	"dhow.dev/dhow/control/plan/heal"
	"dhow.dev/dhow/control/plan/heap"
	"dhow.dev/dhow/control/plan/liveness"
	"dhow.dev/dhow/control/plan/schedule"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// key names an object within its kind.
type key struct{ namespace, name string }

// State is the planner's model of the cluster. It is not safe for concurrent
// use.
type State struct {
	cluster *schedule.Cluster
	tracker *liveness.Tracker

	nodes     map[string]*node
	workloads map[key]*heal.Group    // the group of the workload that is there
	groups    map[string]*heal.Group // by the workload's uid
	instances map[key]*heal.Instance
	revisions map[key]revision
	events    events
	timers    heap.Heap[timer] // some are out of date, which costs a look

	queued  map[*heal.Group]bool // to be planned
	judged  map[string]bool      // nodes to be judged
	shapes  map[*heal.Group]shape
	blocked []*wait // shapes that found no node
	waits   map[*schedule.Shape]*wait
	numbers map[key]uint64 // the highest revision of a workload's name
}

// node is a machine and what is on it.
type node struct {
	obj   *dhowv1.Node // nil: instances name it, but it is not there
	insts []*heal.Instance
	at    *schedule.Node
}

// revision tells whose a revision is.
type revision struct {
	group  *heal.Group
	number uint64
}

// shape is the shape of a group's current revision.
type shape struct {
	number uint64
	shape  *schedule.Shape
}

// wait lists the groups with instances of a shape that found no node.
type wait struct {
	shape  *schedule.Shape
	groups []*heal.Group
	in     map[*heal.Group]bool
	layout uint64 // the cluster's when the reasons were given
}

// NewState makes a model of an empty cluster.
func NewState() *State {
	return &State{
		cluster:   schedule.NewCluster(),
		tracker:   liveness.NewTracker(),
		nodes:     map[string]*node{},
		workloads: map[key]*heal.Group{},
		groups:    map[string]*heal.Group{},
		instances: map[key]*heal.Instance{},
		revisions: map[key]revision{},
		events:    newEvents(),
		queued:    map[*heal.Group]bool{},
		judged:    map[string]bool{},
		shapes:    map[*heal.Group]shape{},
		waits:     map[*schedule.Shape]*wait{},
		numbers:   map[key]uint64{},
	}
}

// Kinds are the kinds of objects that Apply wants, in the order in which a
// full set is given to it fastest.
func Kinds() []dhowv1.Kind {
	return []dhowv1.Kind{
		dhowv1.Kind_KIND_NODE, dhowv1.Kind_KIND_WORKLOAD, dhowv1.Kind_KIND_REVISION,
		dhowv1.Kind_KIND_INSTANCE, dhowv1.Kind_KIND_EVENT,
	}
}

// SetFacts takes in what gossip knows.
func (s *State) SetFacts(f liveness.Facts) {
	s.tracker.SetFacts(f, func(name string) {
		if s.nodes[name] != nil {
			s.judged[name] = true
		}
	}, func() {
		for name := range s.nodes {
			s.judged[name] = true
		}
	})
}

// Dirty tells that Plan has something to decide already.
func (s *State) Dirty() bool {
	return len(s.queued) > 0 || len(s.judged) > 0 || s.cluster.Freed() && len(s.blocked) > 0
}

// queue has a group planned.
func (s *State) queue(g *heal.Group) { s.queued[g] = true }

// group finds or makes the group of a workload's uid.
func (s *State) group(namespace, name, uid string) *heal.Group {
	g := s.groups[uid]
	if g == nil {
		g = heal.NewGroup(namespace, name, uid)
		s.groups[uid] = g
	}
	return g
}

func (s *State) node(name string) *node {
	n := s.nodes[name]
	if n == nil {
		n = &node{at: s.cluster.Node(name)}
		n.at.Holder = n
		s.nodes[name] = n
	}
	return n
}

// shapeOf is the shape of the group's current revision.
func (s *State) shapeOf(g *heal.Group) *schedule.Shape {
	r := g.Current()
	have, ok := s.shapes[g]
	if ok && have.number == r.GetNumber() {
		return have.shape
	}
	if ok {
		s.cluster.Drop(have.shape)
	}
	sh := s.cluster.Shape(r.GetTemplate())
	s.shapes[g] = shape{number: r.GetNumber(), shape: sh}
	return sh
}

// Nodes is the number of nodes.
func (s *State) Nodes() int { return s.cluster.Len() }

// Instances is the number of instances.
func (s *State) Instances() int { return len(s.instances) }

// Plan is what has to change now.
type Plan struct {
	// All belong into one proposal.
	Changes []*dhowv1.Change
	// When to plan again even if nothing changes; zero: not before a change.
	Wake time.Time
	// There is more to do once these changes are applied.
	More bool
}

// Empty tells that there is nothing to propose.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }
