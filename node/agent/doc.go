// Package agent makes a node run what it was assigned. In the room: Core, a
// pure state machine (no clock, I/O, goroutine or logger), and Agent, the
// loop that executes what Core asks for against runtimes, ledger, log store
// and session.
//
// Core is driven like etcd's raft: feed one input, then take Ready until it
// is empty, and do what it says.
//
//	core := agent.NewCore(agent.CoreConfig{Node: "n1", Runtimes: []string{"wasm"}})
//	core.Restore(now, records, found)        // once, first: the ledger and Runtime.List
//	core.Connected(now)                      // a session was opened
//	err := core.Assign(now, assignments)     // from the session; refused when older
//	core.Done(now, agent.Result{...})        // the outcome of an Action
//	core.Stored(now, ready.Mark)             // ledger records up to Mark are durable
//	core.Reported(now, id, response, err)    // the outcome of a Report
//	core.Notice(now, id, notice)             // what people should know of a run
//	core.Disconnected(now)
//	core.Tick(now)                           // at or after Wake()
//
//	for r := core.Ready(now); !r.Empty(); r = core.Ready(now) {
//		// r.Actions: execute each (any order, any time), answer with Done.
//		//   Cancel and Clean need no answer; a cancelled action is still answered.
//		// r.Records: append to the ledger, in order; then Stored(r.Mark).
//		// r.Reports: send each; then Reported.
//	}
//
// A crash is simulated by dropping the Core and making a new one from the
// records that were stored and from what the runtimes list.
//
// What Core promises: an instance moves through its states forward only;
// a terminal state is reported only after the ledger has it; nothing is
// reported in a session before the first complete set of assignments was
// taken; what must stop is never reported as running; for a task that must
// never run twice (RESTART_MODE_NEVER) the ledger knows of the start before
// the start happens.
package agent
