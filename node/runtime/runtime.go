// Package runtime is the seam between the agent and what runs tasks. OCI,
// wasm and fake runtimes implement Runtime and pass the suite in runtimetest.
package runtime

import (
	"context"
	"io"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Runtime runs tasks. Every verb is idempotent: doing again what is done
// already is no error.
type Runtime interface {
	// Name is what a node offers and a task needs: "wasm", or a shim's name.
	Name() string
	// Prepare fetches and compiles what the task needs. Nothing runs yet.
	// A Permanent error means that trying again cannot help.
	Prepare(ctx context.Context, t *Task) error
	// Start runs a prepared task and returns when it is running and listens.
	Start(ctx context.Context, t *Task) (Started, error)
	// Wait returns when the run has ended; at once if it has already.
	Wait(ctx context.Context, id ID) (Exit, error)
	// Stop asks the task to end, kills it after the grace period, and returns
	// when it has ended. An unknown task is no error.
	Stop(ctx context.Context, id ID, grace time.Duration) error
	// Remove forgets an ended task and frees what it held.
	Remove(ctx context.Context, id ID) error
	// List tells all runs it knows that were started, also from before a
	// restart of the agent.
	List(ctx context.Context) ([]Status, error)
	Stats(ctx context.Context, id ID) (Stats, error)
	// Exec runs a command beside a running task. ErrNotSupported where the
	// runtime cannot.
	Exec(ctx context.Context, id ID, e Exec) (Exit, error)
}

// ID names one run of a task: a restart in place has the next Run.
type ID struct {
	Instance string // the instance's uid
	Task     string
	Run      uint32
}

// Task is what a runtime needs to know of a run.
type Task struct {
	ID        ID
	Namespace string
	Name      string // of the instance
	Workload  string
	Index     uint32
	Spec      *dhowv1.Task // with defaults filled in; not to be changed
	Address   string       // the address of the node to listen on
	// Dir is private to the instance: a runtime that wants it makes it, with mode
	// 0700, and the agent removes it with the instance.
	Dir string
	// Output of the task. The runtime never closes them.
	Stdout, Stderr io.Writer
	// Notify is told what people should know of a run that goes on: once for
	// each reason. It does not block. May be nil.
	Notify func(Notice)
}

// Notice is what happened to a run that goes on.
type Notice struct {
	Reason  string // a CamelCase word: MemoryLimit, CPUThrottled
	Message string
}

// Started is what a run is known by once it runs.
type Started struct {
	Ports []*dhowv1.PortStatus
}

// Exit is how a run ended.
type Exit struct {
	Code   int32
	Reason string // a CamelCase word: Exited, Killed, OutOfMemory, Trapped
	// For people: a trap's message and guest stack, a signal's name.
	Message string
	At      time.Time
}

// Status is one line of List.
type Status struct {
	ID      ID
	Running bool
	Exit    Exit // when not running
	// What Start answered, and when.
	Started Started
	Since   time.Time
	// Whose run it is, for people; the instance's name, not its uid.
	Namespace, Workload, Name string
}

// Stats is what a run uses. What a runtime does not count is 0.
type Stats struct {
	CPU        time.Duration // since its start
	Memory     uint64        // bytes now
	PeakMemory uint64        // the most it had
	Fuel       uint64        // wasm instructions since its start
	Throttled  time.Duration // how long its CPU limit has kept it waiting
	Calls      uint64        // calls and requests that ended
	Failed     uint64        // those of them that ended badly
}

// Exec is a command to run beside a task.
type Exec struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}
