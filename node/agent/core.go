package agent

import (
	"slices"
	"strings"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// CoreConfig is what a Core needs to know of its node.
type CoreConfig struct {
	Node    string // its name; instances of other nodes are refused
	Address string // where instances listen
	// The names of the runtimes it has. Image is the one for images that name
	// none.
	Runtimes []string
	Image    string
	// How long a state that is but passed through (Preparing, Starting) may
	// stay unreported. Default 50 ms.
	Lazy time.Duration
}

// Core decides what a node does next. It is not safe for concurrent use.
type Core struct {
	config     CoreConfig
	instances  map[string]*instance // by uid
	names      map[string]string    // namespace/name -> uid
	revisions  map[revisionKey]*revision
	unused     []revisionKey // revisions no instance uses, oldest first
	evicted    bool          // one of this session's is no longer kept
	orphans    map[runtime.ID]*orphan
	generation uint64
	recorded   uint64   // the generation in the ledger
	partial    *partial // a full set of which more follows

	queue   []*instance
	actions []Action
	records []*dhowv1.LedgerRecord
	emitted uint64 // records handed out or waiting
	stored  uint64

	reporter
}

type revisionKey struct {
	uid    string
	number uint64
}

type revision struct {
	obj  *dhowv1.Revision
	uses int
}

// NewCore makes a Core that has nothing to do.
func NewCore(c CoreConfig) *Core {
	if c.Lazy == 0 {
		c.Lazy = 50 * time.Millisecond
	}
	return &Core{
		config:    c,
		instances: map[string]*instance{},
		names:     map[string]string{},
		revisions: map[revisionKey]*revision{},
		orphans:   map[runtime.ID]*orphan{},
		reporter:  newReporter(),
	}
}

// Generation is that of the assignments taken; 0 for none.
func (c *Core) Generation() uint64 { return c.generation }

// Len is the number of instances that are not forgotten.
func (c *Core) Len() int { return len(c.instances) }

// Status tells what the core last decided about an instance; nil when it
// does not know it. Not to be changed.
func (c *Core) Status(uid string) *dhowv1.InstanceStatus {
	if i := c.instances[uid]; i != nil {
		return i.status
	}
	return nil
}

// Idle tells that every instance is where it is to be: nothing is in flight
// and nothing waits but for inputs.
func (c *Core) Idle() bool {
	for _, i := range c.instances {
		if i.queued || !i.wake.IsZero() || !i.settled() {
			return false
		}
	}
	return len(c.orphans) == 0 && len(c.actions) == 0 && len(c.records) == 0
}

func (i *instance) settled() bool {
	if i.ending() {
		return i.cleaned
	}
	for _, t := range i.tasks {
		if t.phase != running && t.phase != ended {
			return false
		}
	}
	return true
}

// Tick does what has become due.
func (c *Core) Tick(now time.Time) {
	var due []*instance
	for _, i := range c.instances {
		if !i.wake.IsZero() && !now.Before(i.wake) {
			due = append(due, i)
		}
	}
	slices.SortFunc(due, func(a, b *instance) int { return strings.Compare(a.uid, b.uid) })
	for _, i := range due {
		c.poke(i)
	}
	c.tickOrphans(now)
}

// Wake is when Tick and Ready are due at the latest; zero when only an
// input can change anything.
func (c *Core) Wake() time.Time {
	var w time.Time
	for _, i := range c.instances {
		w = earlier(w, i.wake)
	}
	for _, o := range c.orphans {
		w = earlier(w, o.at)
	}
	return earlier(w, c.reportWake())
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// poke queues the instance for its next step.
func (c *Core) poke(i *instance) {
	if i != nil && !i.queued {
		i.queued = true
		c.queue = append(c.queue, i)
	}
}

// Ready steps every instance that something happened to, and takes what has
// to be done. It is called again after each input.
func (c *Core) Ready(now time.Time) Ready {
	for len(c.queue) > 0 {
		queue := c.queue
		c.queue = nil
		for _, i := range queue {
			i.queued = false
			if c.instances[i.uid] == i {
				i.wake = time.Time{}
				c.step(i, now)
			}
		}
	}
	r := Ready{Actions: c.actions, Records: c.records, Mark: c.emitted, Reports: c.takeReports(now)}
	c.actions, c.records = nil, nil
	return r
}

// act asks for something to be done to the task's current run.
func (c *Core) act(v Verb, i *instance, t *task) {
	a := Action{Verb: v, Runtime: t.runtime, ID: t.id(i)}
	switch v {
	case Prepare, Start, Wait:
		m, s := i.obj.GetMeta(), i.obj.GetSpec()
		a.Task = &runtime.Task{
			ID: a.ID, Namespace: m.GetNamespace(), Name: m.GetName(),
			Workload: s.GetWorkload(), Index: s.GetIndex(), Spec: t.spec, Address: c.config.Address,
		}
	case Stop:
		a.Grace = i.grace
	case Remove, Cancel, Clean: // the ID says it all
	}
	c.actions = append(c.actions, a)
}

// record appends to what the ledger has to remember.
func (c *Core) record(r *dhowv1.LedgerRecord) uint64 {
	c.records = append(c.records, r)
	c.emitted++
	return c.emitted
}

// Stored says that the ledger's records up to the mark are durable.
func (c *Core) Stored(_ time.Time, mark uint64) {
	if mark <= c.stored {
		return
	}
	before := c.stored
	c.stored = mark
	var due []*instance
	for _, i := range c.instances {
		if i.mark > before && i.mark <= mark {
			due = append(due, i)
		}
	}
	slices.SortFunc(due, func(a, b *instance) int { return strings.Compare(a.uid, b.uid) })
	for _, i := range due {
		c.poke(i)
	}
}
