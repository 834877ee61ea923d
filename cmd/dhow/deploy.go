package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/cmd/internal/await"
	"dhow.dev/dhow/cmd/internal/manifest"
	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// deployFlags describe a workload of one task.
type deployFlags struct {
	replicas           int64
	env, args, labels  []string
	ports, constraints []string
	http, job, spread  bool
	kind               string
	wasm               wasmFlags
	cpu, memory, stdin string
	restart            string
	grace, lostAfter   durationFlag
	wait               waitFlags
}

func deployCmd(a *app) *cobra.Command {
	var f deployFlags
	cmd := withOutput(&cobra.Command{
		Use:   "deploy NAME FILE.wasm|IMAGE|DIGEST [-- ARGS...]",
		Short: "Run a module or an image as a workload; deploying again changes it",
		Example: `  dhow deploy web ./web.wasm --http --replicas 3
  dhow deploy greet ./greet.wasm --env GREETING=hello -- --loud
  dhow deploy count ./count.wasm --job --stdin ./input.txt
  dhow deploy calc ./calc.wasm --type function --concurrency 8 --max-time 2s
  dhow deploy fetch ./fetch.wasm --type function --net-allow api.example.com
  dhow deploy cache docker.io/library/redis:8 --port 6379`,
		Args: args(2, -1, "NAME or what to run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if at := cmd.ArgsLenAtDash(); at < 0 && len(args) > 2 || at >= 0 && at != 2 {
				return usagef(cmd, "arguments for the program go behind --")
			}
			return a.deploy(cmd, &f, args)
		},
	})
	flags := cmd.Flags()
	flags.Int64VarP(&f.replicas, "replicas", "r", 1, "how many instances; of a job, how many must succeed")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "environment, NAME=value; NAME alone takes it from here (repeatable)")
	flags.StringArrayVar(&f.args, "arg", nil, "argument for the program (repeatable; or behind --)")
	flags.StringArrayVarP(&f.ports, "port", "p", nil, "port it listens on: 8080, name=8080, or HOST:8080 for a fixed port of the node (repeatable)")
	flags.BoolVar(&f.http, "http", false, "run the module once for each HTTP request, as a CGI program")
	flags.StringVar(&f.kind, "type", "", "service (runs until it is deleted; the default), job, or function (runs when it is called: dhow call)")
	flags.BoolVar(&f.job, "job", false, "run until it has succeeded: --type job")
	f.wasm.add(flags)
	flags.StringArrayVar(&f.labels, "label", nil, "label of the workload, key=value (repeatable)")
	flags.StringVar(&f.cpu, "cpu", "", "CPU limit of an instance, such as 500m or 0.5")
	flags.StringVar(&f.memory, "memory", "", "memory limit of an instance, such as 64Mi")
	flags.StringVar(&f.stdin, "stdin", "", "file given to the program on its standard input; - is dhow's own")
	flags.StringArrayVar(&f.constraints, "constraint", nil, `which nodes: disk=ssd, disk!=hdd, "zone in (a, b)", gpu, !gpu (repeatable; all must hold)`)
	flags.BoolVar(&f.spread, "spread", false, "spread over the nodes instead of filling one after the other")
	flags.StringVar(&f.restart, "restart", "", "always, on-failure or never")
	flags.Var(&f.grace, "grace-period", "how long it may take to end after it was asked to (default 10s)")
	flags.Var(&f.lostAfter, "lost-after", "how long a node stays lost before its instances are replaced (default 0s)")
	f.wait.add(cmd, "it runs")
	completeWords(cmd, "type", dhowv1.WorkloadType(0).Descriptor())
	completeWords(cmd, "trigger", dhowv1.Trigger(0).Descriptor())
	completeWords(cmd, "restart", dhowv1.RestartMode(0).Descriptor())
	return cmd
}

func (a *app) deploy(cmd *cobra.Command, f *deployFlags, args []string) error {
	wait, err := f.wait.wanted(cmd, a)
	if err != nil {
		return err
	}
	w, err := f.workload(a, args)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	w.Meta.Namespace = a.namespace()
	limit := answerTimeout
	if wait || isFile(w) {
		limit = waitTimeout
	}
	ctx, cancel := a.within(cmd.Context(), limit)
	defer cancel()
	return a.deployed(ctx, c, w, wait)
}

func isFile(w *dhowv1.Workload) bool {
	wasm := w.GetSpec().GetTemplate().GetTasks()[0].GetWasm()
	return wasm != nil && wasm.GetArtifact() == ""
}

// deployed does it with as few round trips as there can be: the watch is
// opened, and with it the connection, while the file is hashed.
func (a *app) deployed(ctx context.Context, c *client.Client, w *dhowv1.Workload, wait bool) error {
	start := a.now()
	rollout := await.NewRollout(w.Meta.Name)
	var waiting *waiter
	if wait {
		waiting = a.startWait(ctx, c, selectorsFor([]*dhowv1.Meta{w.Meta}), rollout)
	}
	if wasm := w.Spec.Template.Tasks[0].GetWasm(); isFile(w) {
		m, err := hashModule(wasm.File, useOf(w.Spec, w.Spec.Template.Tasks[0]))
		if err != nil {
			return err
		}
		wasm.Artifact, wasm.File = m.digest, filepath.Base(m.path)
		if err := checkLocally(w); err != nil {
			return err
		}
		if err := connected(ctx, waiting); err != nil {
			return err
		}
		if err := a.upload(ctx, c, m); err != nil {
			return err
		}
	} else if err := errors.Join(checkLocally(w), connected(ctx, waiting)); err != nil {
		return err
	}
	res, err := c.Objects.Apply(ctx, &dhowv1.ApplyRequest{Objects: []*dhowv1.Object{spec.Wrap(w)}})
	if err != nil {
		return timedOut(ctx, err)
	}
	stored := res.GetObjects()[0]
	if err := a.outcome(stored, res.GetOutcomes()[0], false); err != nil || !wait {
		return err
	}
	rollout.Target(stored.GetWorkload())
	if err := waiting.run(ctx); err != nil {
		return rolloutError(err)
	}
	if a.format.Table() {
		_, err = fmt.Fprintf(a.stdout, "%s in %s\n", rollout.Progress().Line, output.Elapsed(a.now().Sub(start)))
	}
	return err
}

// checkLocally finds what is wrong before anything is sent.
func checkLocally(w *dhowv1.Workload) error {
	o := spec.Wrap(proto.CloneOf(w))
	spec.Default(o)
	return spec.Validate(o)
}

func connected(ctx context.Context, w *waiter) error {
	if w == nil {
		return nil
	}
	return w.ready(ctx)
}

// rolloutError says where to look next.
func rolloutError(err error) error {
	if f, ok := errors.AsType[*await.Failed](err); ok && f.Instance != "" {
		return fmt.Errorf("%w\nits output: dhow logs %s", err, f.Instance)
	}
	return err
}

// workload makes the object that the flags describe.
func (f *deployFlags) workload(a *app, args []string) (*dhowv1.Workload, error) {
	task := &dhowv1.Task{Args: append(f.args, args[2:]...)}
	if err := f.source(task, args[1]); err != nil {
		return nil, err
	}
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	var err error
	if task.Env, err = parseEnv(f.env); err != nil {
		note(err)
	}
	if task.Ports, err = parsePorts(f.ports); err != nil {
		note(err)
	}
	if task.Resources, err = f.resources(); err != nil {
		note(err)
	}
	if err := f.wasm.apply(task); err != nil {
		note(err)
	}
	labels, err := parsePairs("--label", f.labels)
	if err != nil {
		note(err)
	}
	if f.stdin != "" {
		if task.Stdin, err = readStdin(f.stdin, a.stdin); err != nil {
			note(err)
		}
	}
	t := &dhowv1.Template{Tasks: []*dhowv1.Task{task}, GracePeriod: f.grace.proto()}
	if f.spread || len(f.constraints) > 0 {
		t.Placement = &dhowv1.Placement{}
	}
	if f.spread {
		t.Placement.Strategy = dhowv1.PlacementStrategy_PLACEMENT_STRATEGY_SPREAD
	}
	for _, s := range f.constraints {
		c, err := manifest.ParseConstraint(s)
		if err != nil {
			note(fmt.Errorf("--constraint: %w", err))
			continue
		}
		t.Placement.Constraints = append(t.Placement.Constraints, c)
	}
	if f.restart != "" {
		mode, ok := manifest.ParseWord(dhowv1.RestartMode(0).Descriptor(), f.restart)
		if !ok {
			note(spec.Errorf(spec.CodeInvalid, "--restart %q: say always, on-failure or never", f.restart))
		}
		t.Restart = &dhowv1.RestartPolicy{Mode: dhowv1.RestartMode(mode)}
	}
	if f.replicas < 0 || f.replicas > spec.MaxReplicas {
		note(spec.Errorf(spec.CodeInvalid, "--replicas %d: want 0 to %d", f.replicas, spec.MaxReplicas))
	}
	s := &dhowv1.WorkloadSpec{
		Type: dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE, Replicas: new(uint32(f.replicas)), Template: t, LostAfter: f.lostAfter.proto(),
	}
	if typ, err := f.workloadType(); err != nil {
		note(err)
	} else if typ != 0 {
		s.Type = typ
	}
	return &dhowv1.Workload{Meta: &dhowv1.Meta{Name: args[0], Labels: labels}, Spec: s}, errors.Join(errs...)
}

// workloadType is what --type and --job say; 0 when they do not.
func (f *deployFlags) workloadType() (dhowv1.WorkloadType, error) {
	if f.kind == "" {
		if f.job {
			return dhowv1.WorkloadType_WORKLOAD_TYPE_JOB, nil
		}
		return 0, nil
	}
	n, ok := manifest.ParseWord(dhowv1.WorkloadType(0).Descriptor(), f.kind)
	typ := dhowv1.WorkloadType(n)
	if !ok || f.job && typ != dhowv1.WorkloadType_WORKLOAD_TYPE_JOB {
		return 0, spec.Errorf(spec.CodeInvalid, "--type %q: say service, job or function, and leave --job out", f.kind)
	}
	return typ, nil
}

// source decides what the second argument is: a digest, a file, or an image.
func (f *deployFlags) source(t *dhowv1.Task, what string) error {
	w := &dhowv1.WasmSource{}
	if f.http {
		w.Trigger = dhowv1.Trigger_TRIGGER_HTTP
	}
	_, err := os.Stat(what)
	switch {
	case strings.HasPrefix(what, spec.DigestPrefix):
		w.Artifact = what
	case err == nil || strings.HasSuffix(what, ".wasm") || strings.HasPrefix(what, "./") || strings.HasPrefix(what, "/"):
		if err != nil {
			return spec.Errorf(spec.CodeInvalid, "%w", err)
		}
		w.File = what
	default:
		if f.http {
			return spec.Errorf(spec.CodeInvalid, "--http is for wasm modules, and there is no file %s here", what)
		}
		t.Source = &dhowv1.Task_Image{Image: &dhowv1.ImageSource{Ref: what}}
		return nil
	}
	t.Source = &dhowv1.Task_Wasm{Wasm: w}
	return nil
}

func (f *deployFlags) resources() (*dhowv1.Resources, error) {
	if f.cpu == "" && f.memory == "" {
		return nil, nil
	}
	l := &dhowv1.ResourceList{}
	var errs []error
	var err error
	if f.cpu != "" {
		if l.Cpu, err = spec.ParseCPU(f.cpu); err != nil {
			errs = append(errs, fmt.Errorf("--cpu: %w", err))
		}
	}
	if f.memory != "" {
		if l.Memory, err = spec.ParseMemory(f.memory); err != nil {
			errs = append(errs, fmt.Errorf("--memory: %w", err))
		}
	}
	return &dhowv1.Resources{Limits: l}, errors.Join(errs...)
}

func parseEnv(texts []string) ([]*dhowv1.EnvVar, error) {
	var out []*dhowv1.EnvVar
	at := map[string]int{}
	for _, t := range texts {
		name, value, ok := strings.Cut(t, "=")
		if !ok {
			if value, ok = os.LookupEnv(name); !ok {
				return nil, spec.Errorf(spec.CodeInvalid, "--env %s: it is not set here; write %s=value", name, name)
			}
		}
		if i, twice := at[name]; twice {
			out[i].Value = value // the last one wins, as docker has it
			continue
		}
		at[name] = len(out)
		out = append(out, &dhowv1.EnvVar{Name: name, Value: value})
	}
	return out, nil
}

// parsePorts reads 8080, name=8080, 80:8080 and name=80:8080.
func parsePorts(texts []string) ([]*dhowv1.Port, error) {
	var out []*dhowv1.Port
	for i, t := range texts {
		bad := spec.Errorf(spec.CodeInvalid, "--port %q: want 8080, name=8080, or 80:8080 for port 80 of the node", t)
		name, rest, named := strings.Cut(t, "=")
		if !named {
			name, rest = "", t
		}
		p := &dhowv1.Port{Name: name}
		if host, port, fixed := strings.Cut(rest, ":"); fixed {
			rest = port
			if n, err := parsePort(host); err != nil {
				return nil, bad
			} else if p.HostPort = n; n == 0 {
				return nil, bad
			}
		}
		n, err := parsePort(rest)
		if err != nil || n == 0 {
			return nil, bad
		}
		p.Port = n
		if p.Name == "" && i > 0 {
			p.Name = fmt.Sprintf("port-%d", n)
		}
		out = append(out, p)
	}
	return out, nil
}

func readStdin(path string, own io.Reader) ([]byte, error) {
	r := own
	if path != manifest.Stdin {
		f, err := os.Open(path)
		if err != nil {
			return nil, spec.Errorf(spec.CodeInvalid, "--stdin: %w", err)
		}
		defer func() { _ = f.Close() }()
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, spec.MaxStdin+1))
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "--stdin: %w", err)
	}
	if len(data) > spec.MaxStdin {
		return nil, spec.Errorf(spec.CodeInvalid, "--stdin: %s has more than %s, the most a task can be given", path, spec.ShowBytes(spec.MaxStdin))
	}
	return data, nil
}
