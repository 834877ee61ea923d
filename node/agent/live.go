package agent

import (
	"slices"
	"sync"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// live are the runs that are up, for those who ask about them: calls are too
// many to go through the loop.
type live struct {
	mu   sync.RWMutex
	runs map[string][]liveRun // by the instance's uid
}

// liveRun is a run that the agent waits for.
type liveRun struct {
	task *runtime.Task
	rt   runtime.Runtime
}

func (r liveRun) main() bool {
	role := r.task.Spec.GetRole()
	return role == dhowv1.TaskRole_TASK_ROLE_MAIN || role == dhowv1.TaskRole_TASK_ROLE_UNSPECIFIED
}

func (l *live) add(r liveRun) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs == nil {
		l.runs = map[string][]liveRun{}
	}
	uid := r.task.ID.Instance
	l.runs[uid] = append(slices.Clip(l.runs[uid]), r) // others may hold the list
}

func (l *live) remove(r liveRun) {
	l.mu.Lock()
	defer l.mu.Unlock()
	uid := r.task.ID.Instance
	var rest []liveRun
	for _, other := range l.runs[uid] {
		if other.task.ID != r.task.ID {
			rest = append(rest, other)
		}
	}
	if l.runs[uid] = rest; len(rest) == 0 {
		delete(l.runs, uid)
	}
}

// of lists an instance's runs. Not to be changed.
func (l *live) of(uid string) []liveRun {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.runs[uid]
}

// all lists every instance's runs.
func (l *live) all() [][]liveRun {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make([][]liveRun, 0, len(l.runs))
	for _, runs := range l.runs {
		out = append(out, runs)
	}
	return out
}
