package node_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/node/runtime/fake"
)

// TestMetrics: a node answers what its runs use, by the names people know.
func TestMetrics(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // the node takes it
	c := newCluster(t)
	rt := fake.New("fake", func(*runtime.Task) fake.Behaviour { return fake.Behaviour{Memory: 4096, Fuel: 12345} })
	conf := config(c, t.TempDir(), rt)
	conf.Metrics = address
	stop := start(t, conf)
	<-c.running
	text, code := fetch(t, "http://"+address+"/metrics")
	of := `{instance="web-0",namespace="default",task="main",workload="web"} `
	for _, want := range []string{
		"dhow_task_memory_bytes" + of + "4096\n", "dhow_task_memory_peak_bytes" + of + "4096\n", "dhow_task_fuel_total" + of + "12345\n",
		"dhow_task_cpu_seconds_total" + of, "dhow_task_throttled_seconds_total" + of + "0\n",
		"dhow_task_calls_total" + of + "0\n", "dhow_task_calls_failed_total" + of + "0\n",
		`dhow_runs{runtime="fake"} 1` + "\n", `dhow_node_info{node="n1",version=`, "go_goroutines ", "process_resident_memory_bytes ",
	} {
		if code != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%d: no %q in\n%s", code, want, text)
		}
	}
	rt.End(runtime.ID{Instance: "u1", Task: "main"}, runtime.Exit{Reason: "Exited"})
	// The next run of the task takes the place of the one that ended.
	if text, code := fetch(t, "http://"+address+"/metrics"); code != http.StatusOK || strings.Count(text, "dhow_task_memory_bytes{") > 1 {
		t.Errorf("after the end of a run: %d\n%s", code, text)
	}
	if _, code := fetch(t, "http://"+address+"/"); code != http.StatusNotFound {
		t.Errorf("/ answers %d", code)
	}
	stop()
	if l, err := net.Listen("tcp", address); err != nil {
		t.Errorf("the port is not free again: %v", err)
	} else {
		_ = l.Close()
	}
}

func TestMetricsAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := newCluster(t)
	conf := config(c, t.TempDir(), newRecorder())
	conf.Metrics = l.Addr().String()
	if err := run(t, conf); err == nil || !strings.Contains(err.Error(), "metrics") {
		t.Errorf("got %v", err)
	}
}

func fetch(t *testing.T, url string) (string, int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), res.StatusCode
}
