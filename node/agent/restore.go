package agent

import (
	"cmp"
	"slices"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// save has the ledger remember the instance as it is.
func (c *Core) save(i *instance) {
	l := &dhowv1.LedgerInstance{
		Instance: &dhowv1.Instance{Meta: i.obj.GetMeta(), Spec: i.obj.GetSpec(), Status: i.status},
		Removed:  i.removed,
	}
	if !i.finished {
		for _, t := range i.tasks {
			if t.run > 0 || t.attempts > 0 || t.marked {
				l.Tasks = append(l.Tasks, &dhowv1.LedgerTask{
					Name: t.spec.GetName(), Run: t.run, Attempts: t.attempts, Started: t.marked,
				})
			}
		}
	}
	i.mark = c.record(&dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Instance{Instance: l}})
}

// Restore takes up what an earlier life of the agent left: the records of its
// ledger and what the runtimes still hold. It comes before all other inputs.
func (c *Core) Restore(now time.Time, records []*dhowv1.LedgerRecord, found []Found) {
	instances, revisions := c.replay(records)
	for key, r := range revisions {
		c.revisions[key] = &revision{obj: r}
		c.unused = append(c.unused, key)
	}
	slices.SortFunc(c.unused, func(a, b revisionKey) int {
		return cmp.Or(cmp.Compare(a.uid, b.uid), cmp.Compare(a.number, b.number))
	})
	byUID := map[string][]Found{}
	for _, f := range found {
		byUID[f.Status.ID.Instance] = append(byUID[f.Status.ID.Instance], f)
	}
	for _, uid := range sortedKeys(instances) {
		c.revive(now, instances[uid], byUID[uid])
		delete(byUID, uid)
	}
	for _, uid := range sortedKeys(byUID) {
		for _, f := range byUID[uid] {
			c.orphan(f.Runtime, f.Status.ID, now, false)
		}
	}
	// Reviving used revisions that the ledger has already.
	c.records = slices.DeleteFunc(c.records, func(r *dhowv1.LedgerRecord) bool { return r.GetRevision() != nil })
	for _, key := range slices.Clone(c.unused) {
		c.record(&dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Dropped{
			Dropped: &dhowv1.LedgerRevision{WorkloadUid: key.uid, Number: key.number},
		}})
	}
}

func (c *Core) replay(records []*dhowv1.LedgerRecord) (map[string]*dhowv1.LedgerInstance, map[revisionKey]*dhowv1.Revision) {
	instances := map[string]*dhowv1.LedgerInstance{}
	revisions := map[revisionKey]*dhowv1.Revision{}
	for _, r := range records {
		switch r := r.GetRecord().(type) {
		case *dhowv1.LedgerRecord_Generation:
			c.generation = max(c.generation, r.Generation)
		case *dhowv1.LedgerRecord_Instance:
			if uid := r.Instance.GetInstance().GetMeta().GetUid(); uid != "" {
				instances[uid] = r.Instance
			}
		case *dhowv1.LedgerRecord_Forgotten:
			delete(instances, r.Forgotten)
		case *dhowv1.LedgerRecord_Revision:
			revisions[revisionKey{r.Revision.GetWorkloadUid(), r.Revision.GetNumber()}] = r.Revision
		case *dhowv1.LedgerRecord_Dropped:
			delete(revisions, revisionKey{r.Dropped.GetWorkloadUid(), r.Dropped.GetNumber()})
		}
	}
	c.recorded = c.generation
	return instances, revisions
}

// revive takes up one instance.
func (c *Core) revive(now time.Time, l *dhowv1.LedgerInstance, found []Found) {
	i := c.add(l.GetInstance())
	i.removed = l.GetRemoved()
	i.stop = stops(i.obj)
	c.poke(i)
	if s := i.status; spec.Terminal(s.GetState()) {
		i.finished, i.verdict, i.reason, i.message = true, s.GetState(), s.GetReason(), s.GetMessage()
		for _, t := range i.tasks {
			t.phase = ended
		}
	}
	for _, t := range i.tasks {
		for _, lt := range l.GetTasks() {
			if lt.GetName() == t.spec.GetName() {
				t.run, t.attempts, t.marked = lt.GetRun(), lt.GetAttempts(), lt.GetStarted()
			}
		}
	}
	newest := c.newest(now, i, found)
	begun := false // an init task is not run again when what follows it did
	for _, t := range slices.Backward(i.tasks) {
		if f, ok := newest[t]; ok {
			c.reattach(i, t, f, now)
			begun = true
			continue
		}
		switch {
		case i.finished:
		case begun && t.role() == dhowv1.TaskRole_TASK_ROLE_INIT:
			t.phase = ended
		case t.marked && i.policy.mode == dhowv1.RestartMode_RESTART_MODE_NEVER && !i.ending():
			i.fail("AgentStopped", t.describe()+" ended with the agent, and may not run again")
		default:
			t.run, t.marked = t.run+1, false
		}
	}
	i.prepared = i.prepared || begun
}

// newest finds each task's latest run; what else the runtimes hold of the
// instance is removed.
func (c *Core) newest(now time.Time, i *instance, found []Found) map[*task]Found {
	newest := map[*task]Found{}
	slices.SortFunc(found, func(a, b Found) int { return compareID(a.Status.ID, b.Status.ID) })
	for _, f := range found {
		t := i.task(f.Status.ID.Task)
		if i.finished || t == nil || t.runtime != f.Runtime || f.Status.ID.Run < t.run {
			c.orphan(f.Runtime, f.Status.ID, now, false)
			continue
		}
		if old, ok := newest[t]; ok {
			c.orphan(old.Runtime, old.Status.ID, now, false)
		}
		newest[t] = f
	}
	return newest
}

// reattach waits for a run of an earlier life; one that has ended answers at
// once.
func (c *Core) reattach(i *instance, t *task, f Found, now time.Time) {
	t.run, t.phase = f.Status.ID.Run, running
	t.held, t.up = true, true
	t.started = f.Status.Since
	if t.started.IsZero() {
		t.started = now
	}
	t.ports = f.Status.Started.Ports
	c.act(Wait, i, t)
}
