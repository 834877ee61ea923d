package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Ledger makes records durable, in order, with one fsync for all of a call.
type Ledger interface {
	Append(records []*dhowv1.LedgerRecord) error
}

// Logs takes the output of tasks.
type Logs interface {
	// Task gives the writers of a task's output. They never fail.
	Task(uid, namespace, name, task string) (stdout, stderr io.Writer)
	// End says that no more will come from the instance.
	End(uid string)
	// Sweep ends all but the live ones, after a restart.
	Sweep(live func(uid string) bool)
}

// Reporter takes reports to a server; it answers when they are durable.
type Reporter interface {
	ReportStatus(ctx context.Context, r *dhowv1.ReportStatusRequest) (*dhowv1.ReportStatusResponse, error)
}

// Config is what an Agent needs.
type Config struct {
	Node    string // name
	Address string // where instances listen
	Dir     string // instances' private directories are made in it
	// Image is the name of the runtime for images that name none.
	Runtimes []runtime.Runtime
	Image    string
	Ledger   Ledger
	Records  []*dhowv1.LedgerRecord // what the ledger had when it was opened
	Logs     Logs
	Logger   *slog.Logger
	Now      func() time.Time
	// How many tasks may be prepared or started side by side. Default: 16 and
	// 8 more for each core.
	Parallel int
}

// Agent runs a node's instances.
type Agent struct {
	config   Config
	runtimes map[string]runtime.Runtime
	slots    chan struct{}
	started  chan struct{} // closed once the ledger is restored
	live     live

	mu    sync.Mutex
	inbox []func(now time.Time)
	news  chan struct{} // has one element when the inbox has any

	// The loop's own.
	core     *Core
	cancels  map[runtime.ID]context.CancelFunc
	reporter Reporter
	session  context.Context //nolint:containedctx // the session's life, which ends its reports
	pending  []*dhowv1.LedgerRecord
	mark     uint64
	writing  bool
	failed   int // ledger writes in a row
	wg       sync.WaitGroup
}

// New makes an agent; Run makes it work.
func New(c Config) (*Agent, error) {
	if c.Node == "" || c.Dir == "" || c.Ledger == nil || c.Logs == nil || c.Logger == nil || c.Now == nil {
		return nil, spec.Errorf(spec.CodeInvalid, "an agent needs a node's name, a directory, a ledger, logs, a logger and a clock")
	}
	if c.Parallel <= 0 {
		c.Parallel = 16 + 8*goruntime.GOMAXPROCS(0)
	}
	a := &Agent{
		config: c, runtimes: map[string]runtime.Runtime{}, slots: make(chan struct{}, c.Parallel),
		started: make(chan struct{}), news: make(chan struct{}, 1), cancels: map[runtime.ID]context.CancelFunc{},
	}
	names := make([]string, 0, len(c.Runtimes))
	for _, r := range c.Runtimes {
		if a.runtimes[r.Name()] != nil {
			return nil, spec.Errorf(spec.CodeInvalid, "two runtimes are named %q", r.Name())
		}
		a.runtimes[r.Name()] = r
		names = append(names, r.Name())
	}
	a.core = NewCore(CoreConfig{Node: c.Node, Address: c.Address, Runtimes: names, Image: c.Image})
	return a, nil
}

// post has the loop do something.
func (a *Agent) post(f func(now time.Time)) {
	a.mu.Lock()
	a.inbox = append(a.inbox, f)
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// ask has the loop do something and waits for its answer.
func ask[T any](ctx context.Context, a *Agent, f func(now time.Time) T) (T, error) {
	answer := make(chan T, 1)
	a.post(func(now time.Time) { answer <- f(now) })
	select {
	case v := <-answer:
		return v, nil
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// Generation is that of the assignments it has.
func (a *Agent) Generation(ctx context.Context) (uint64, error) {
	return ask(ctx, a, func(time.Time) uint64 { return a.core.Generation() })
}

// Status is what the agent last decided about an instance; nil for one it
// does not know.
func (a *Agent) Status(ctx context.Context, uid string) (*dhowv1.InstanceStatus, error) {
	return ask(ctx, a, func(time.Time) *dhowv1.InstanceStatus { return a.core.Status(uid) })
}

// Connected gives the agent a session to report through, until ctx ends or
// Disconnected is called.
func (a *Agent) Connected(ctx context.Context, r Reporter) {
	a.post(func(now time.Time) {
		a.reporter, a.session = r, ctx
		a.core.Connected(now)
	})
}

// Disconnected says that the session ended.
func (a *Agent) Disconnected() {
	a.post(func(now time.Time) {
		a.reporter, a.session = nil, nil
		a.core.Disconnected(now)
	})
}

// Assign hands assignments on. An error means that they were refused and the
// session should be opened anew.
func (a *Agent) Assign(ctx context.Context, as *dhowv1.Assignments) error {
	refused, err := ask(ctx, a, func(now time.Time) error { return a.core.Assign(now, as) })
	if err != nil {
		return err
	}
	return refused
}

// Run restores what an earlier life left and works until ctx ends. Runs that
// can outlive the agent go on.
func (a *Agent) Run(ctx context.Context) error {
	if err := os.MkdirAll(a.config.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of instances: %w", err)
	}
	found, err := a.list(ctx)
	if err != nil {
		return err
	}
	a.core.Restore(a.config.Now(), a.config.Records, found)
	a.config.Records = nil
	if err := a.sweep(); err != nil {
		a.config.Logger.Warn("directories of forgotten instances are left", "error", err)
	}
	a.config.Logs.Sweep(func(uid string) bool { return a.core.instances[uid] != nil })
	close(a.started)
	a.loop(ctx)
	a.wg.Wait()
	// What was decided and not yet written; a crash here would lose it, too,
	// so an error only costs what a crash does.
	if len(a.pending) > 0 {
		return a.config.Ledger.Append(a.pending)
	}
	return nil
}

func (a *Agent) loop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := a.config.Now()
		for ctx.Err() == nil {
			r := a.core.Ready(now)
			if r.Empty() {
				break
			}
			a.execute(ctx, r)
		}
		var due <-chan time.Time
		if w := a.core.Wake(); !w.IsZero() {
			timer.Reset(max(w.Sub(now), 0))
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-a.news:
		case <-due:
			a.core.Tick(a.config.Now())
		}
		a.mu.Lock()
		inbox := a.inbox
		a.inbox = nil
		a.mu.Unlock()
		now = a.config.Now()
		for _, f := range inbox {
			f(now)
		}
	}
}

// list asks every runtime what it still holds.
func (a *Agent) list(ctx context.Context) ([]Found, error) {
	var found []Found
	for _, r := range a.config.Runtimes {
		all, err := r.List(ctx)
		if err != nil {
			return nil, spec.Errorf(spec.CodeOf(err), "list what runtime %s runs: %w", r.Name(), err)
		}
		for _, s := range all {
			found = append(found, Found{Runtime: r.Name(), Status: s})
		}
	}
	return found, nil
}

// sweep removes directories of instances that the ledger does not know.
func (a *Agent) sweep() error {
	entries, err := os.ReadDir(a.config.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if a.core.instances[e.Name()] == nil {
			if err := os.RemoveAll(filepath.Join(a.config.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
