package agent

import (
	"fmt"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// instance is what the core knows of one instance.
type instance struct {
	uid     string
	obj     *dhowv1.Instance // as assigned; replaced, never changed
	tasks   []*task          // init tasks in order, sidecars, main
	policy  policy
	status  *dhowv1.InstanceStatus // as last published; replaced, never changed
	grace   time.Duration
	queued  bool      // waits for its step
	wake    time.Time // when to step again at the latest; zero: not before an input
	removed bool      // no longer in the cluster's state
	stop    bool      // desired, or the server knows that it has ended
	// Every task was prepared once, so that starts may begin.
	prepared bool
	// How it ended or will have ended once all is stopped; unset while it runs.
	verdict         dhowv1.InstanceState
	reason, message string
	finished        bool   // the terminal state is decided and recorded
	cleaned         bool   // directory and logs are closed, runs are removed
	mark            uint64 // the ledger's mark of its newest record
	note            string // what the last BackOff event said

	report reportState
}

func (i *instance) String() string {
	return i.obj.GetMeta().GetNamespace() + "/" + i.obj.GetMeta().GetName()
}

// ending tells that the instance is to stop or has stopped.
func (i *instance) ending() bool { return i.stop || i.removed || i.verdict != 0 }

func (i *instance) main() *task { return i.tasks[len(i.tasks)-1] }

func (i *instance) task(name string) *task {
	for _, t := range i.tasks {
		if t.spec.GetName() == name {
			return t
		}
	}
	return nil
}

// phase is where a task's current run is.
type phase int

const (
	idle      phase = iota // nothing of this run exists
	preparing              // Prepare is in flight
	prepared
	starting // Start is in flight
	running  // Wait is in flight
	removing // Remove of an ended run is in flight, a restart follows
	waiting  // for the back-off to pass, then the next run
	ended    // for good; what is left of the run is removed with the instance
)

// task is one task of an instance.
type task struct {
	spec    *dhowv1.Task
	runtime string
	phase   phase
	run     uint32
	// The runtime may hold something of this run.
	held      bool
	up        bool // has been running once in this agent's or an earlier life
	marked    bool // the ledger was told that this run may start
	stopping  bool // Stop is in flight
	asked     bool // Stop was done
	cancelled bool
	clearing  bool      // the last Remove is in flight
	attempts  uint32    // restarts that count
	tries     uint32    // failed verbs in a row, for their back-off
	at        time.Time // waiting and retries: not before
	exit      runtime.Exit
	exited    bool // exit is that of a run
	started   time.Time
	ports     []*dhowv1.PortStatus
}

func (t *task) role() dhowv1.TaskRole {
	switch r := t.spec.GetRole(); r {
	case dhowv1.TaskRole_TASK_ROLE_INIT, dhowv1.TaskRole_TASK_ROLE_SIDECAR:
		return r
	default:
		return dhowv1.TaskRole_TASK_ROLE_MAIN
	}
}

func (t *task) id(i *instance) runtime.ID {
	return runtime.ID{Instance: i.uid, Task: t.spec.GetName(), Run: t.run}
}

func (t *task) describe() string { return fmt.Sprintf("task %q", t.spec.GetName()) }

// runtimeOf names the runtime that a task needs.
func runtimeOf(t *dhowv1.Task, image string) string {
	switch s := t.GetSource().(type) {
	case *dhowv1.Task_Wasm:
		return "wasm"
	case *dhowv1.Task_Image:
		if s.Image.GetRuntime() != "" {
			return s.Image.GetRuntime()
		}
		return image
	}
	return ""
}

// ordered puts a template's tasks into the order in which they start.
func ordered(tasks []*dhowv1.Task) []*task {
	out := make([]*task, 0, len(tasks))
	for _, role := range []dhowv1.TaskRole{
		dhowv1.TaskRole_TASK_ROLE_INIT, dhowv1.TaskRole_TASK_ROLE_SIDECAR, dhowv1.TaskRole_TASK_ROLE_MAIN,
	} {
		for _, s := range tasks {
			if t := (&task{spec: s}); t.role() == role {
				out = append(out, t)
			}
		}
	}
	return out
}
