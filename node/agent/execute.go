package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/proto/spec"
)

const (
	reportTimeout = 15 * time.Second
	ledgerRetry   = time.Second
)

// execute does what the core asks for. All of it happens beside the loop.
func (a *Agent) execute(ctx context.Context, r Ready) {
	for _, act := range r.Actions {
		a.do(ctx, act)
	}
	if len(r.Records) > 0 {
		a.pending = append(a.pending, r.Records...)
		a.mark = r.Mark
		a.write()
	}
	for _, rep := range r.Reports {
		a.report(ctx, rep)
	}
}

func (a *Agent) do(ctx context.Context, act Action) {
	switch act.Verb {
	case Cancel:
		if cancel := a.cancels[act.ID]; cancel != nil {
			cancel()
		}
		return
	case Clean:
		a.wg.Go(func() { a.clean(act.ID.Instance) })
		return
	case Prepare, Start, Wait, Stop, Remove:
	}
	done := func() {}
	if act.Verb == Prepare || act.Verb == Start {
		ctx, done = context.WithCancel(ctx)
		a.cancels[act.ID] = done
	}
	a.wg.Go(func() {
		res := a.perform(ctx, act)
		a.post(func(now time.Time) {
			if act.Verb == Prepare || act.Verb == Start {
				done()
				delete(a.cancels, act.ID)
			}
			a.core.Done(now, res)
		})
	})
}

// perform runs one verb of a runtime.
func (a *Agent) perform(ctx context.Context, act Action) Result {
	res := Result{Verb: act.Verb, ID: act.ID}
	rt := a.runtimes[act.Runtime]
	if rt == nil {
		res.Err = &runtime.Error{Reason: "NoRuntime", Permanent: true, Err: fmt.Errorf("no runtime is named %q", act.Runtime)}
		return res
	}
	switch act.Verb {
	case Prepare, Start:
		select {
		case a.slots <- struct{}{}:
			defer func() { <-a.slots }()
		case <-ctx.Done():
			res.Err = ctx.Err()
			return res
		}
		a.complete(act.Task)
		if act.Verb == Prepare {
			res.Err = rt.Prepare(ctx, act.Task)
		} else {
			res.Started, res.Err = rt.Start(ctx, act.Task)
		}
	case Wait:
		run := liveRun{act.Task, rt}
		a.live.add(run)
		res.Exit, res.Err = rt.Wait(ctx, act.ID)
		a.live.remove(run)
	case Stop:
		res.Err = rt.Stop(ctx, act.ID, act.Grace)
	case Remove:
		res.Err = rt.Remove(ctx, act.ID)
	case Cancel, Clean: // not the runtime's
	}
	return res
}

// complete gives the task its directory and its writers.
func (a *Agent) complete(t *runtime.Task) {
	t.Dir = filepath.Join(a.config.Dir, t.ID.Instance)
	t.Stdout, t.Stderr = a.config.Logs.Task(t.ID.Instance, t.Namespace, t.Name, t.ID.Task)
	id := t.ID
	t.Notify = func(n runtime.Notice) {
		a.post(func(now time.Time) { a.core.Notice(now, id, n) })
	}
}

func (a *Agent) clean(uid string) {
	a.config.Logs.End(uid)
	if uid != filepath.Base(uid) { // never outside of the directory
		return
	}
	if err := os.RemoveAll(filepath.Join(a.config.Dir, uid)); err != nil {
		a.config.Logger.Warn("the directory of an ended instance is left", "instance", uid, "error", err)
	}
}

// write appends to the ledger all that waits, in one go, and again when more
// came meanwhile.
func (a *Agent) write() {
	if a.writing || len(a.pending) == 0 {
		return
	}
	a.writing = true
	records, mark := a.pending, a.mark
	a.pending = nil
	a.wg.Go(func() {
		err := a.config.Ledger.Append(records)
		a.post(func(now time.Time) {
			a.writing = false
			if err == nil {
				a.failed = 0
				a.core.Stored(now, mark)
				a.write()
				return
			}
			if a.failed++; a.failed == 1 {
				a.config.Logger.Error("the ledger cannot be written; instances go on, their ends are not reported until it can", "error", err)
			}
			a.pending = append(records, a.pending...)
			time.AfterFunc(ledgerRetry, func() { a.post(func(time.Time) { a.write() }) })
		})
	})
}

func (a *Agent) report(run context.Context, rep Report) {
	r, session := a.reporter, a.session
	if r == nil {
		now := a.config.Now()
		a.core.Reported(now, rep.ID, nil, spec.Errorf(spec.CodeUnavailable, "no session"))
		return
	}
	a.wg.Go(func() {
		ctx, cancel := context.WithTimeout(session, reportTimeout)
		defer cancel()
		defer context.AfterFunc(run, cancel)()
		res, err := r.ReportStatus(ctx, rep.Request)
		if err != nil && session.Err() == nil {
			a.config.Logger.Warn("a status report was not taken; it is sent again", "error", err)
		}
		a.post(func(now time.Time) { a.core.Reported(now, rep.ID, res, err) })
	})
}
