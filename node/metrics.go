package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"dhow.dev/dhow/internal/version"
	"dhow.dev/dhow/node/runtime"
)

// metrics tells what the runs of a node use, asked of its runtimes at each
// scrape.
type metrics struct {
	runtimes []runtime.Runtime
	logger   *slog.Logger
	timeout  time.Duration // of a scrape
	running  *prometheus.Desc
	of       []ofRun
}

// ofRun is one figure of a run.
type ofRun struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(runtime.Stats) float64
}

func newMetrics(runtimes []runtime.Runtime, logger *slog.Logger) *metrics {
	m := &metrics{
		runtimes: runtimes, logger: logger, timeout: 10 * time.Second,
		running: prometheus.NewDesc("dhow_runs", "Runs of tasks now.", []string{"runtime"}, nil),
	}
	labels := []string{"namespace", "workload", "instance", "task"}
	add := func(name, help string, kind prometheus.ValueType, value func(runtime.Stats) float64) {
		m.of = append(m.of, ofRun{prometheus.NewDesc("dhow_task_"+name, help, labels, nil), kind, value})
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	add("cpu_seconds_total", "CPU time since the run's start.", counter, func(s runtime.Stats) float64 { return s.CPU.Seconds() })
	add("throttled_seconds_total", "How long the CPU limit has kept it waiting.", counter, func(s runtime.Stats) float64 { return s.Throttled.Seconds() })
	add("fuel_total", "Wasm instructions since the run's start.", counter, func(s runtime.Stats) float64 { return float64(s.Fuel) })
	add("memory_bytes", "Memory now.", gauge, func(s runtime.Stats) float64 { return float64(s.Memory) })
	add("memory_peak_bytes", "The most memory it had.", gauge, func(s runtime.Stats) float64 { return float64(s.PeakMemory) })
	add("calls_total", "Calls and requests that ended.", counter, func(s runtime.Stats) float64 { return float64(s.Calls) })
	add("calls_failed_total", "Calls and requests that ended badly.", counter, func(s runtime.Stats) float64 { return float64(s.Failed) })
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.running
	for _, f := range m.of {
		to <- f.desc
	}
}

// Collect implements prometheus.Collector. It tells each task's newest run
// that goes on.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	//nolint:forbidigo // the collector's interface has no context
	ctx, cancel := context.WithTimeout(context.Background(), m.timeout)
	defer cancel()
	for _, r := range m.runtimes {
		all, err := r.List(ctx)
		if err != nil {
			m.logger.Warn("metrics: the runs of a runtime", "runtime", r.Name(), "error", err)
			continue
		}
		newest := map[runtime.ID]runtime.Status{}
		for _, s := range all {
			key := s.ID
			key.Run = 0
			if have, ok := newest[key]; s.Running && (!ok || have.ID.Run < s.ID.Run) {
				newest[key] = s
			}
		}
		to <- prometheus.MustNewConstMetric(m.running, prometheus.GaugeValue, float64(len(newest)), r.Name())
		for _, s := range newest {
			m.collect(ctx, to, r, s)
		}
	}
}

func (m *metrics) collect(ctx context.Context, to chan<- prometheus.Metric, r runtime.Runtime, s runtime.Status) {
	st, err := r.Stats(ctx, s.ID)
	if err != nil { // it ended since, or its runtime does not count
		return
	}
	name := s.Name
	if name == "" {
		name = s.ID.Instance
	}
	for _, f := range m.of {
		to <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(st), s.Namespace, s.Workload, name, s.ID.Task)
	}
}

// handler answers GET /metrics in Prometheus' text form: runs, and this
// process itself.
func (m *metrics) handler(node string) (http.Handler, error) {
	reg := prometheus.NewRegistry()
	about := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "dhow_node_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"node": node, "version": version.String()},
	}, func() float64 { return 1 })
	for _, c := range []prometheus.Collector{
		m, about, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 2, ErrorLog: slog.NewLogLogger(m.logger.Handler(), slog.LevelWarn)}))
	return mux, nil
}

// startMetrics listens, and serves in the group until ctx ends.
func (n *Node) startMetrics(ctx context.Context, g *errgroup.Group) error {
	h, err := newMetrics(n.runtimes, n.config.Logger).handler(n.config.Name)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", n.config.Metrics)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	n.config.Logger.Info("metrics are served", "address", l.Addr().String())
	g.Go(func() error { return serveMetrics(ctx, l, h) })
	return nil
}

func serveMetrics(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics at %s: %w", l.Addr(), err)
	}
	return nil
}
