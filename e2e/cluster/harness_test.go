package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the dhow under test; make e2e builds it.
func binary(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("DHOW_E2E_BIN")
	if dir == "" {
		t.Skip("DHOW_E2E_BIN is not set: run make e2e")
	}
	return filepath.Join(dir, "dhow")
}

func guest(name string) string {
	return filepath.Join(os.Getenv("DHOW_E2E_BIN"), "guests", name+".wasm")
}

// world is one cluster of processes in a directory of its own.
type world struct {
	t      *testing.T
	dir    string
	config string
	procs  map[string]*process
}

type process struct {
	name string
	args []string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	binary(t)
	dir := t.TempDir()
	w := &world{t: t, dir: dir, config: filepath.Join(dir, "config.yaml"), procs: map[string]*process{}}
	t.Cleanup(func() {
		for _, p := range w.procs {
			p.kill()
		}
		if t.Failed() {
			for _, p := range w.procs {
				log, _ := os.ReadFile(p.log)
				t.Logf("--- the last of %s's log\n%s", p.name, tail(log, 4000))
			}
		}
	})
	return w
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// start runs dhow in the background; the same name again starts it again with
// the same arguments when none are given.
func (w *world) start(name string, args ...string) *process {
	w.t.Helper()
	if old := w.procs[name]; old != nil && len(args) == 0 {
		args = old.args
	}
	p := &process{name: name, args: args, log: filepath.Join(w.dir, name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	p.cmd = exec.Command(binary(w.t), args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(os.Environ(), "DHOW_CONTEXT_FILE="+w.config)
	// The processes must not outlive a test that is cut off.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		_ = out.Close()
		close(p.done)
	}()
	w.procs[name] = p
	return p
}

// kill is kill -9; it returns when the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks the process to end, as systemd would, and waits for it.
func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not end within 20 s of SIGTERM", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("%s ended with code %d", p.name, code)
	}
}

// try runs a dhow command and returns its output and exit code.
func (w *world) try(args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(w.t), args...)
	cmd.Env = append(os.Environ(), "DHOW_CONTEXT_FILE="+w.config, "NO_COLOR=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		w.t.Fatalf("dhow %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// dhow runs a command that must succeed.
func (w *world) dhow(args ...string) string {
	w.t.Helper()
	out, errs, code := w.try(args...)
	if code != 0 {
		w.t.Fatalf("dhow %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// eventually polls a condition that other processes make true.
func (w *world) eventually(what string, limit time.Duration, cond func() (bool, string)) {
	w.t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, state := cond()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within %s; now:\n%s", what, limit, state)
		}
		<-tick.C
	}
}

// ports reserves n neighbouring free ports of loopback for a server.
func ports(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base := first.Addr().(*net.TCPAddr).Port
		held := []net.Listener{first}
		for i := 1; i < n; i++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+i))
			if err != nil {
				break
			}
			held = append(held, l)
		}
		for _, l := range held {
			_ = l.Close()
		}
		if len(held) == n {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

// absolute is a path of the repository.
func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
