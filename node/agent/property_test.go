package agent

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// TestAnyHistory lets anything happen in any order: assignments, ends of
// tasks, lost servers, crashes of agent and machine, slow ledgers. The server
// (world.take) checks that states and sequences only go forward, and the world
// that no two runs of a task overlap. In the end everything comes to rest where
// the server wants it.
//

func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.connect()
		r := service(mainTask(), wasmTask("side", dhowv1.TaskRole_TASK_ROLE_SIDECAR), wasmTask("init", dhowv1.TaskRole_TASK_ROLE_INIT, "exit=0"))
		generation := uint64(1)
		state := map[string]*dhowv1.Instance{} // the server's
		set := func() *dhowv1.Assignments {
			a := full(generation, r)
			for n := range 3 {
				if in := state[fmt.Sprint(n)]; in != nil {
					a.Instances = append(a.Instances, w.withStatus(in))
				}
			}
			return a
		}
		connected := true
		reconnect := func() {
			w.core.Disconnected(w.now)
			w.connect()
			w.must(set())
			connected = true
		}
		send := func(a *dhowv1.Assignments) {
			if connected {
				w.must(a)
			}
		}
		reconnect()
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			uid := fmt.Sprint(rapid.IntRange(0, 2).Draw(rt, "uid"))
			generation++
			switch rapid.SampledFrom([]string{"place", "stop", "remove", "exit", "side", "time", "down", "up", "crash", "reboot", "slow", "cut"}).Draw(rt, "step") {
			case "place":
				if state[uid] == nil && w.status[uid] == nil {
					state[uid] = placed(uid)
					send(delta(generation, state[uid]))
				}
			case "stop":
				if in := state[uid]; in != nil {
					state[uid] = stopped(in)
					send(delta(generation, w.withStatus(state[uid])))
				}
			case "remove":
				if in := state[uid]; in != nil && spec.Terminal(w.status[uid].GetState()) {
					delete(state, uid)
					a := delta(generation)
					a.Removed = []*dhowv1.Ref{{Uid: uid}}
					send(a)
				}
			case "exit":
				w.end(uid, "main")
			case "side":
				w.end(uid, "side")
			case "time":
				w.advance(time.Duration(rapid.IntRange(1, 100_000).Draw(rt, "ms")) * time.Millisecond)
			case "down":
				w.reportErr = errDown
			case "up":
				w.reportErr = nil
			case "cut":
				w.core.Disconnected(w.now)
				connected = false
			case "crash", "reboot":
				if w.hold { // what is not durable is lost
					w.hold, w.held = false, nil
				}
				if rapid.Bool().Draw(rt, "machine") {
					w.rt.Crash()
				}
				w.boot()
				reconnect()
			case "slow":
				w.slow(rapid.Bool().Draw(rt, "hold"))
			}
		}
		w.slow(false)
		w.reportErr = nil
		generation++
		reconnect()
		w.advance(time.Hour)
		if !w.core.Idle() {
			rt.Errorf("after an hour it is not at rest")
		}
		for uid, in := range state {
			got := w.status[uid]
			switch {
			case stops(in) && !spec.Terminal(got.GetState()):
				rt.Errorf("%s was to stop and is %v", uid, got.GetState())
			case !stops(in) && !spec.Terminal(got.GetState()) && !got.GetReady():
				rt.Errorf("%s was to run and is %v", uid, got)
			}
			if own := w.core.Status(uid); own != nil && !proto.Equal(own, got) {
				rt.Errorf("%s: the server has %v, the node %v", uid, got, own)
			}
		}
		list, _ := w.rt.List(context.Background())
		for _, s := range list {
			if st := w.status[s.ID.Instance]; state[s.ID.Instance] == nil || spec.Terminal(st.GetState()) {
				rt.Errorf("run %v is left of an instance that is gone", s.ID)
			}
		}
	})
}

// end ends the task's newest run.
func (w *world) end(uid, task string) {
	list, _ := w.rt.List(context.Background())
	for _, s := range list {
		if s.ID.Instance == uid && s.ID.Task == task && s.Running {
			w.rt.End(s.ID, runtime.Exit{Code: 1, Reason: "Exited", At: w.now})
		}
	}
	w.run()
}

// slow makes the ledger's writes wait, or lets the waiting ones happen.
func (w *world) slow(hold bool) {
	w.hold = hold
	if !hold && len(w.held) > 0 {
		mark := w.held[len(w.held)-1]
		w.held = nil
		w.ledger = append(w.ledger, w.waiting...)
		w.waiting = nil
		w.core.Stored(w.now, mark)
		w.run()
	}
}
