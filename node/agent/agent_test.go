package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/node/agent"
	"dhow.dev/dhow/node/agent/ledger"
	"dhow.dev/dhow/node/logs"
	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/fake"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

var quiet = slog.New(slog.DiscardHandler)

// server takes reports.
type server struct {
	mu     sync.Mutex
	status map[string]*dhowv1.InstanceStatus
	calls  int
	err    error
	delay  time.Duration
	all    chan struct{} // closed when want instances are running
	want   int
	ready  int
	events []*dhowv1.Event
}

func newServer(want int) *server {
	return &server{status: map[string]*dhowv1.InstanceStatus{}, want: want, all: make(chan struct{})}
}

func (s *server) ReportStatus(ctx context.Context, r *dhowv1.ReportStatusRequest) (*dhowv1.ReportStatusResponse, error) {
	if s.delay > 0 {
		time.Sleep(s.delay) // in a bubble: its clock's
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err != nil {
		return nil, s.err
	}
	s.events = append(s.events, r.GetEvents()...)
	for _, rep := range r.GetReports() {
		uid := rep.GetRef().GetUid()
		if !s.status[uid].GetReady() && rep.GetStatus().GetReady() {
			if s.ready++; s.ready == s.want {
				close(s.all)
			}
		}
		s.status[uid] = proto.CloneOf(rep.GetStatus())
	}
	return &dhowv1.ReportStatusResponse{}, ctx.Err()
}

func (s *server) state() dhowv1.InstanceState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status["u0"].GetState()
}

// node is what outlives an agent.
type node struct {
	t   testing.TB
	dir string
	rt  *fake.Runtime
	// What the agent gets instead of rt, when set.
	wrap func(*fake.Runtime) runtime.Runtime
}

// start runs an agent; stop ends it and waits.
func (n *node) start(ctx context.Context) (a *agent.Agent, stop func() error) {
	n.t.Helper()
	store, err := logs.Open(logs.Options{Dir: filepath.Join(n.dir, "logs"), Now: time.Now, Logger: quiet})
	if err != nil {
		n.t.Fatal(err)
	}
	led, records, err := ledger.Open(filepath.Join(n.dir, "ledger"), ledger.Options{Node: "n1", Cluster: "c", Logger: quiet})
	if err != nil {
		n.t.Fatal(err)
	}
	var rt runtime.Runtime = n.rt
	if n.wrap != nil {
		rt = n.wrap(n.rt)
	}
	a, err = agent.New(agent.Config{
		Node: "n1", Address: "127.0.0.1", Dir: filepath.Join(n.dir, "instances"), Runtimes: []runtime.Runtime{rt},
		Ledger: led, Records: records, Logs: store, Logger: quiet, Now: time.Now,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return a, func() error {
		cancel()
		return errors.Join(<-done, led.Close())
	}
}

func newNode(t testing.TB) *node {
	return &node{t: t, dir: t.TempDir(), rt: fake.New("wasm", nil)}
}

func assignments(generation uint64, n int, args ...string) *dhowv1.Assignments {
	a := &dhowv1.Assignments{Generation: generation, Full: true, Revisions: []*dhowv1.Revision{{
		Meta: &dhowv1.Meta{Name: "web.1", Namespace: "default"}, Workload: "web", WorkloadUid: "w", Number: 1,
		Type: dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE,
		Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{
			Name: "main", Role: dhowv1.TaskRole_TASK_ROLE_MAIN, Args: args, Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{}},
		}}},
	}}}
	for k := range n {
		a.Instances = append(a.Instances, &dhowv1.Instance{
			Meta: &dhowv1.Meta{Uid: fmt.Sprintf("u%d", k), Name: fmt.Sprintf("web-%d", k), Namespace: "default", Version: generation},
			Spec: &dhowv1.InstanceSpec{Workload: "web", WorkloadUid: "w", Revision: 1, Index: uint32(k), Node: "n1", Desired: dhowv1.Desired_DESIRED_RUN},
		})
	}
	return a
}

func TestAgentRunsReportsAndEndsCleanly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := newNode(t), newServer(2)
		s.delay = 3 * time.Millisecond
		a, stop := n.start(t.Context())
		a.Connected(t.Context(), s)
		began := time.Now()
		if err := a.Assign(t.Context(), assignments(1, 2, "stdout=hello\n")); err != nil {
			t.Fatal(err)
		}
		<-s.all
		// The runtime is instant, so all the time is the reports'.
		if took := time.Since(began); took > 2*s.delay {
			t.Errorf("two instances were reported running after %v", took)
		}
		// As a runtime does that wants a directory.
		if err := os.Mkdir(filepath.Join(n.dir, "instances", "u0"), 0o700); err != nil {
			t.Error(err)
		}
		// Nothing false is reported when the agent ends and the runs with it.
		calls := s.calls
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if s.calls != calls || s.state() != dhowv1.InstanceState_INSTANCE_STATE_RUNNING {
			t.Errorf("at its end it reported %v", s.status["u0"])
		}
		// The next life starts again what the process took with it, without a
		// server.
		n.rt.Crash()
		a, stop = n.start(t.Context())
		synctest.Wait()
		if got := n.rt.Starts("u0", "main"); got != 2 {
			t.Errorf("u0 was started %d times", got)
		}
		a.Connected(t.Context(), s)
		as := assignments(2, 1)
		as.Instances[0].Spec.Desired = dhowv1.Desired_DESIRED_STOP
		as.Instances[0].Status = s.status["u0"]
		if err := a.Assign(t.Context(), as); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s.state() != dhowv1.InstanceState_INSTANCE_STATE_STOPPED {
			t.Errorf("u0 is %v", s.state())
		}
		for _, uid := range []string{"u0", "u1"} {
			if _, err := os.Stat(filepath.Join(n.dir, "instances", uid)); !os.IsNotExist(err) {
				t.Errorf("the directory of %s is left: %v", uid, err)
			}
		}
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestAgentTakesUpRunsThatSurvivedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := newNode(t), newServer(1)
		a, stop := n.start(t.Context())
		a.Connected(t.Context(), s)
		if err := a.Assign(t.Context(), assignments(1, 1)); err != nil {
			t.Fatal(err)
		}
		<-s.all
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		a, stop = n.start(t.Context())
		a.Connected(t.Context(), s)
		as := assignments(1, 1)
		as.Instances[0].Status = s.status["u0"]
		if err := a.Assign(t.Context(), as); err != nil {
			t.Fatal(err)
		}
		n.rt.End(runtime.ID{Instance: "u0", Task: "main"}, runtime.Exit{Code: 1, Reason: "Exited"})
		time.Sleep(time.Minute)
		synctest.Wait()
		st, err := a.Status(t.Context(), "u0")
		if err != nil || !st.GetReady() || st.GetTasks()[0].GetRestarts() != 1 || n.rt.Starts("u0", "main") != 2 {
			t.Errorf("status is %v, %v after %d starts", st, err, n.rt.Starts("u0", "main"))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAgentRefusesOlderAssignments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		a, stop := n.start(t.Context())
		if err := a.Assign(t.Context(), assignments(7, 1)); err != nil {
			t.Fatal(err)
		}
		if err := a.Assign(t.Context(), assignments(6, 0)); err == nil {
			t.Error("older assignments were taken")
		}
		if g, err := a.Generation(t.Context()); err != nil || g != 7 {
			t.Errorf("generation is %d, %v", g, err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// failing is a ledger that cannot be written for a while.
type failing struct {
	mu     sync.Mutex
	broken bool
	taken  int
}

func (f *failing) Append(r []*dhowv1.LedgerRecord) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken {
		return errors.New("no space left on device")
	}
	f.taken += len(r)
	return nil
}

func (f *failing) set(broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = broken
}

type nowhere struct{}

func (nowhere) Task(string, string, string, string) (out, err io.Writer) {
	return io.Discard, io.Discard
}
func (nowhere) End(string)              {}
func (nowhere) Sweep(func(string) bool) {}

func TestAFullDiskStopsNoTaskAndLosesNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt, led, s := fake.New("wasm", nil), &failing{broken: true}, newServer(1)
		a, err := agent.New(agent.Config{
			Node: "n1", Dir: t.TempDir(), Runtimes: []runtime.Runtime{rt}, Ledger: led, Logs: nowhere{}, Logger: quiet, Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		a.Connected(ctx, s)
		if err := a.Assign(ctx, assignments(1, 1)); err != nil {
			t.Fatal(err)
		}
		<-s.all
		as := assignments(2, 1)
		as.Instances[0].Spec.Desired = dhowv1.Desired_DESIRED_STOP
		if err := a.Assign(ctx, as); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		// Whether Stopping was reported before the task had ended is chance; its
		// end must not be, before the ledger has it.
		if got := s.state(); spec.Terminal(got) {
			t.Errorf("with a full disk u0 is %v", got)
		}
		led.set(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := s.state(); got != dhowv1.InstanceState_INSTANCE_STATE_STOPPED {
			t.Errorf("with space again u0 is %v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAThousandInstancesAreReportedInFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := newNode(t), newServer(1000)
		s.delay = 2 * time.Millisecond
		a, stop := n.start(t.Context())
		a.Connected(t.Context(), s)
		if err := a.Assign(t.Context(), assignments(1, 1000)); err != nil {
			t.Fatal(err)
		}
		<-s.all
		if s.calls > 50 {
			t.Errorf("1000 instances took %d calls", s.calls)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkThousandInstances is the agent's own part of a deploy of 1,000.
func BenchmarkThousandInstances(b *testing.B) {
	for b.Loop() {
		n, s := newNode(b), newServer(1000)
		a, stop := n.start(b.Context())
		a.Connected(b.Context(), s)
		if err := a.Assign(b.Context(), assignments(1, 1000)); err != nil {
			b.Fatal(err)
		}
		<-s.all
		if err := stop(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOneInstance is the agent's own part of one deploy, from the
// assignment to the report.
func BenchmarkOneInstance(b *testing.B) {
	n := newNode(b)
	a, stop := n.start(b.Context())
	as := assignments(1, 0)
	for k := 0; b.Loop(); k++ {
		s := newServer(1)
		a.Connected(b.Context(), s)
		next := assignments(uint64(k+2), 1)
		next.Instances[0].Meta.Uid = fmt.Sprintf("u%d", k)
		next.Revisions = as.Revisions
		if err := a.Assign(b.Context(), next); err != nil {
			b.Fatal(err)
		}
		<-s.all
	}
	if err := stop(); err != nil {
		b.Fatal(err)
	}
}
