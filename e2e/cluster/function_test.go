package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt/wasmtest"
)

// built builds a guest in C from a path of the repository.
func built(t *testing.T, source string, flags ...string) string {
	t.Helper()
	module, err := wasmtest.Recipe{Source: absolute(t, source), Reactor: true, Flags: flags}.Module(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// TestFunctions: functions are deployed and called through the whole cluster,
// by `dhow call` and over HTTP, and a call that goes wrong says why.
func TestFunctions(t *testing.T) {
	s := newSite(t, 1, 2)
	s.dhow("deploy", "calc", built(t, "node/runtime/wasm/testdata/numbers.c"), "--type", "function", "--replicas", "2", "--spread", "--max-time", "500ms", "--wait")
	s.dhow("deploy", "plugin", built(t, "node/runtime/wasm/testdata/plugin.c", "-DMORE"), "--type", "function", "--wait")
	s.dhow("deploy", "words", guest("wordcount"), "--type", "function", "--wait")

	if got := s.dhow("call", "calc", "add", "20", "22"); got != "42\n" {
		t.Errorf("calc add answers %q", got)
	}
	if got := s.dhow("call", "plugin", "echo", "--data", "there and back"); strings.TrimSpace(got) != "there and back" {
		t.Errorf("plugin echo answers %q", got)
	}
	if got := s.dhow("call", "words", "--data", "one two two"); !strings.Contains(got, "2") {
		t.Errorf("words answers %q", got)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"call", "calc", "nothing"}, 3, "add"},
		{[]string{"call", "calc", "add", "1"}, 2, "takes 2 parameters"},
		{[]string{"call", "calc", "divide", "1", "0"}, 1, "Trapped"},
		{[]string{"call", "calc", "spin"}, 1, "TimedOut"},
		{[]string{"call", "plugin", "fail"}, 1, "it was told to"},
		{[]string{"call", "nobody"}, 3, "nobody"},
	} {
		if out, errs, code := s.try(c.args...); code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("%v: exit %d, %s%s; want %d and %q", c.args, code, out, errs, c.code, c.says)
		}
	}
	// Over HTTP, at an instance's port.
	res, err := http.Post("http://"+s.address("calc")+"/add?arg=1&arg=2", "text/plain", nil) //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("POST /add answers %s", res.Status)
	}
	if top := s.dhow("top"); !strings.Contains(top, "calc") {
		t.Errorf("top shows\n%s", top)
	}
}

// TestHostileGuests: guests that do their worst end with their reasons, and a
// function beside them on the same node goes on to answer.
func TestHostileGuests(t *testing.T) {
	s := newSite(t, 1, 1)
	s.dhow("deploy", "calc", built(t, "node/runtime/wasm/testdata/numbers.c"), "--type", "function", "--wait")
	before := s.dhow("get", "instances", "-l", "dhow/workload=calc", "-o", "name")
	quiet := s.slowest(20)

	plugin := "node/runtime/wasm/testdata/plugin.c"
	probe := wasmtest.Guest(t, "c/probe.c")
	for n := range 4 {
		s.dhow("deploy", fmt.Sprintf("spinner-%d", n), probe, "--no-wait", "--", "spin")
	}
	s.dhow("deploy", "traps", built(t, plugin, "-DBEGIN=__builtin_trap()"), "--type", "function", "--no-wait")
	s.dhow("deploy", "loops", built(t, plugin, "-DBEGIN=for(;;)beginning++"), "--type", "function", "--max-time", "100ms", "--no-wait")
	s.dhow("deploy", "burns", probe, "--fuel", "1000000", "--restart", "never", "--no-wait", "--", "spin")
	for workload, reason := range map[string]string{"traps": "Trapped", "loops": "TimedOut", "burns": "OutOfFuel"} {
		s.eventually(workload+" tells why", 30*time.Second, func() (bool, string) {
			out, errs, _ := s.try("events")
			for line := range strings.Lines(out) {
				if strings.Contains(line, workload) && strings.Contains(line, reason) {
					return true, ""
				}
			}
			return false, out + errs
		})
	}
	if loud := s.slowest(20); loud > 2*quiet+100*time.Millisecond {
		t.Errorf("the slowest of 20 calls took %v, and %v beside spinning guests", quiet, loud)
	}
	if after := s.dhow("get", "instances", "-l", "dhow/workload=calc", "-o", "name"); after != before {
		t.Errorf("the instances were\n%s and are\n%s", before, after)
	}
}

// slowest calls a function at its port and returns the longest time.
func (s *site) slowest(n int) time.Duration {
	s.t.Helper()
	url := "http://" + s.address("calc") + "/add?arg=1&arg=2"
	var all []time.Duration
	for range n {
		begin := time.Now()
		res, err := http.Post(url, "text/plain", nil) //nolint:noctx // a test
		if err != nil {
			s.t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			s.t.Errorf("%s answers %s", url, res.Status)
		}
		all = append(all, time.Since(begin))
	}
	return slices.Max(all)
}

// address is where an instance of the workload listens.
func (s *site) address(workload string) string {
	s.t.Helper()
	var list struct {
		Items []struct {
			Status struct {
				Ports []struct{ Address string }
			}
		}
	}
	out := s.dhow("get", "instances", "-l", "dhow/workload="+workload, "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		s.t.Fatalf("%v in %s", err, out)
	}
	for _, i := range list.Items {
		if len(i.Status.Ports) > 0 {
			return i.Status.Ports[0].Address
		}
	}
	s.t.Fatalf("no port in %s", out)
	return ""
}
