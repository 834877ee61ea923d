package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// site is three servers and three nodes.
type site struct {
	*world
	api map[string]string
}

func newSite(t *testing.T, servers, nodes int) *site {
	t.Helper()
	s := &site{world: newWorld(t), api: map[string]string{}}
	for i := 1; i <= servers; i++ {
		s.addServer(fmt.Sprintf("s%d", i))
	}
	for i := 1; i <= nodes; i++ {
		s.addNode(fmt.Sprintf("n%d", i))
	}
	s.eventually("all nodes ready", 20*time.Second, func() (bool, string) {
		out := s.dhow("node", "list")
		return strings.Count(out, "Ready") == nodes, out
	})
	return s
}

func (s *site) addServer(name string) {
	s.t.Helper()
	base := ports(s.t, 3)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", base+i) }
	args := []string{
		"server", "--name", name, "--data-dir", filepath.Join(s.dir, name),
		"--api", at(0), "--raft", at(1), "--gossip", at(2),
	}
	if len(s.api) > 0 {
		token := strings.TrimSpace(s.dhow("token", "create", "--role", "join-server", "--quiet"))
		args = append(args, "--token", token)
		for _, api := range s.api {
			args = append(args, "--join", api)
		}
	}
	s.start(name, args...)
	s.api[name] = at(0)
	s.eventually(name+" is a voter", 20*time.Second, func() (bool, string) {
		out, errs, _ := s.try("server", "list")
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == name {
				return len(f) > 2 && (f[2] == "voter" || f[2] == "leader"), out
			}
		}
		return false, out + errs
	})
}

func (s *site) addNode(name string) {
	s.t.Helper()
	token := strings.TrimSpace(s.dhow("token", "create", "--role", "join-node", "--quiet"))
	args := []string{"agent", "--name", name, "--data-dir", filepath.Join(s.dir, name), "--address", "127.0.0.1", "--gossip", "127.0.0.1:0", "--token", token}
	for _, api := range s.api {
		args = append(args, "--join", api)
	}
	s.start(name, args...)
}

// running counts the workload's running instances, by node.
func (s *site) running(workload string) (map[string]int, string) {
	out, errs, _ := s.try("get", "instances", "-l", "dhow/workload="+workload, "-o", "wide")
	byNode := map[string]int{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) > 1 && f[1] == "Running" {
			for _, field := range f[2:] {
				if s.procs[field] != nil {
					byNode[field]++
				}
			}
		}
	}
	return byNode, out + errs
}

func (s *site) awaitRunning(workload string, n int, limit time.Duration, not string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d of %s running", n, workload), limit, func() (bool, string) {
		byNode, out := s.running(workload)
		sum := 0
		for node, k := range byNode {
			if node != not {
				sum += k
			}
		}
		return sum == n && byNode[not] == 0, out
	})
}

func (s *site) leader() string {
	for line := range strings.Lines(s.dhow("server", "list")) {
		if strings.Contains(line, "leader") {
			return strings.Fields(line)[0]
		}
	}
	s.t.Fatal("no leader")
	return ""
}

func TestNodeKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 3)
	s.dhow("deploy", "ticker", guest("ticker"), "--replicas", "6", "--spread", "--wait")
	s.procs["n2"].kill()
	s.awaitRunning("ticker", 6, 20*time.Second, "n2")

	s.start("n2")
	s.eventually("n2 is back", 20*time.Second, func() (bool, string) {
		out := s.dhow("node", "list")
		return strings.Count(out, "Ready") == 3, out
	})
	s.awaitRunning("ticker", 6, 20*time.Second, "")
}

// A node that was cut off, not dead, stops what was replaced when it returns.
func TestFrozenNodeReturns(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 3)
	s.dhow("deploy", "ticker", guest("ticker"), "--replicas", "3", "--spread", "--wait")
	frozen := s.procs["n1"].cmd.Process
	if err := frozen.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.awaitRunning("ticker", 3, 40*time.Second, "n1")
	if err := frozen.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.eventually("n1 is back with nothing that was replaced", 30*time.Second, func() (bool, string) {
		byNode, out := s.running("ticker")
		nodes := s.dhow("node", "list")
		return strings.Count(nodes, "Ready") == 3 && byNode["n1"] == 0 && byNode["n2"]+byNode["n3"] == 3, out + nodes
	})
}

// Whatever was acknowledged before a leader's death is there after it, and
// all servers hold the same state.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, 3, 1)
	var mu sync.Mutex
	var acked []string
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprintf("ns-%d", i)
			if _, _, code := s.try("ns", "create", name); code == 0 {
				mu.Lock()
				acked = append(acked, name)
				mu.Unlock()
			}
		}
	})
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	s.eventually("writes", 10*time.Second, func() (bool, string) { return count() > 5, "" })
	s.eventually("the context knows three servers", 10*time.Second, func() (bool, string) {
		s.dhow("server", "list")
		data, _ := os.ReadFile(s.config)
		return strings.Count(string(data), "- 127.0.0.1:") == 3, string(data)
	})
	leader := s.leader()
	s.procs[leader].kill()
	after := count()
	s.eventually("writes go on", 10*time.Second, func() (bool, string) { return count() > after+5, fmt.Sprint(count()) })
	close(stop)
	writer.Wait()
	s.eventually("the node has a session with a server that lives", 10*time.Second, func() (bool, string) {
		out := strings.ReplaceAll(s.dhow("get", "node", "n1", "-o", "json"), " ", "")
		return strings.Contains(out, `"connected":true`) && !strings.Contains(out, fmt.Sprintf(`"server":%q`, leader)), out
	})

	s.start(leader)
	s.eventually("three voters", 20*time.Second, func() (bool, string) {
		out, _, _ := s.try("server", "list")
		return strings.Count(out, "voter") == 2 && strings.Count(out, "leader") == 1 && strings.Count(out, "Alive") == 3, out
	})
	have := s.dhow("get", "namespaces", "-o", "name")
	for _, name := range acked {
		if !strings.Contains(have, name+"\n") {
			t.Errorf("%s was acknowledged and is lost", name)
		}
	}
	s.sameState()
}

// sameState compares the servers' state hashes once the revisions agree.
func (s *site) sameState() {
	s.t.Helper()
	s.eventually("all servers hold the same state", 20*time.Second, func() (bool, string) {
		seen := map[string]bool{}
		all := ""
		for _, api := range s.api {
			out, errs, _ := s.try("debug", "hash", "--server", api)
			seen[strings.TrimSpace(out)] = true
			all += out + errs
		}
		return len(seen) == 1, all
	})
}

func TestEverythingKilledAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, 3, 3)
	s.dhow("deploy", "ticker", guest("ticker"), "--replicas", "5", "--wait")
	before := s.dhow("get", "workloads", "-o", "name")
	for _, p := range s.procs {
		_ = p.cmd.Process.Kill()
	}
	for name, p := range s.procs {
		<-p.done
		s.start(name)
	}
	s.eventually("the workloads are back", 30*time.Second, func() (bool, string) {
		out, errs, _ := s.try("get", "workloads", "-o", "name")
		return out == before, out + errs
	})
	s.awaitRunning("ticker", 5, 30*time.Second, "")
	s.sameState()
}

// Servers and nodes end cleanly when systemd asks them to.
func TestCleanStop(t *testing.T) {
	t.Parallel()
	s := newSite(t, 3, 1)
	s.dhow("deploy", "ticker", guest("ticker"), "--wait")
	leader := s.leader()
	s.procs[leader].stop(t)
	s.dhow("ns", "create", "after-stop")
	for name, p := range s.procs {
		if name != leader {
			p.stop(t)
		}
	}
}
