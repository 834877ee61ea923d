package agent

import (
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Verb is what an Action asks for.
type Verb int

// The verbs. All but Cancel and Clean are the runtime's and are answered
// with Core.Done.
const (
	Prepare Verb = iota + 1
	Start
	Wait
	Stop
	Remove
	// Cancel ends the Prepare or Start in flight for the ID early, if it can.
	Cancel
	// Clean ends the instance's logs and removes its directory.
	Clean
)

// String names the verb in lower case.
func (v Verb) String() string {
	return [...]string{"", "prepare", "start", "wait", "stop", "remove", "cancel", "clean"}[v]
}

// Action is one thing to do to one run of a task. At most one action of
// each ID is in flight, except that Wait stays in flight beside a Stop.
type Action struct {
	Verb    Verb
	Runtime string // whose it is
	ID      runtime.ID
	// For Prepare, Start and Wait: everything but Dir, the output writers and
	// Notify.
	Task  *runtime.Task
	Grace time.Duration // for Stop
}

// Result is the outcome of an Action.
type Result struct {
	Verb    Verb
	ID      runtime.ID
	Err     error
	Started runtime.Started // of Start
	Exit    runtime.Exit    // of Wait
}

// Found is a line of a runtime's List at the agent's start.
type Found struct {
	Runtime string
	Status  runtime.Status
}

// Report is one call of ReportStatus.
type Report struct {
	ID      uint64
	Request *dhowv1.ReportStatusRequest
}

// Ready is what has to be done now.
type Ready struct {
	Actions []Action
	// To be made durable, in order; then Core.Stored(Mark) is due.
	Records []*dhowv1.LedgerRecord
	Mark    uint64
	Reports []Report
}

// Empty tells that there is nothing to do.
func (r Ready) Empty() bool {
	return len(r.Actions) == 0 && len(r.Records) == 0 && len(r.Reports) == 0
}
