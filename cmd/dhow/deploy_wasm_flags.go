package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/cmd/internal/manifest"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// wasmFlags are deploy's for wasm modules: what starts them, how far they may
// go, and what they may reach.
type wasmFlags struct {
	trigger, function      string
	fuel                   uint64
	weight                 uint32
	maxTime                durationFlag
	concurrency, queue     int64
	dirs, netAllow, invoke []string
	config, secrets        []string
	kv                     string
}

func (f *wasmFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.trigger, "trigger", "", "what starts the module: command, http, service; of a function also call, extism, http-wasm (default: found out from the module)")
	flags.StringVar(&f.function, "function", "", "of a function: what to call when a call names nothing")
	flags.Uint64Var(&f.fuel, "fuel", 0, "wasm instructions that a run, or a call, may take (default: no limit)")
	flags.Uint32Var(&f.weight, "weight", 0, "share of the CPU among those that want it, 1 to 10000 (default 100)")
	flags.Var(&f.maxTime, "max-time", "how long a call, or a run of a command, may take (default for calls 30s)")
	flags.Int64Var(&f.concurrency, "concurrency", -1, "of a function: calls at a time on each instance (default 4)")
	flags.Int64Var(&f.queue, "queue", -1, "of a function: calls that may wait on each instance (default 64)")
	for _, name := range []string{"concurrency", "queue"} {
		flags.Lookup(name).DefValue = "0" // -1 is for us, not for the help
	}
	flags.StringArrayVar(&f.dirs, "dir", nil, "directory of the node that the module sees, DIRECTORY:PATH, or DIRECTORY:PATH:rw to write there (repeatable)")
	flags.StringArrayVar(&f.netAllow, "net-allow", nil, "host that the module may send HTTP requests to: api.example.com, *.example.com, https://host:8443 (repeatable)")
	flags.StringArrayVar(&f.config, "config", nil, "configuration for the module, key=value (repeatable)")
	flags.StringArrayVar(&f.secrets, "secret", nil, "secret for the module, key=value (repeatable)")
	flags.StringVar(&f.kv, "kv", "", "key-value store that the module may use, by name")
	flags.StringArrayVar(&f.invoke, "invoke", nil, "function that the module may call; * is all (repeatable)")
}

// apply sets what was given. It is refused for images.
func (f *wasmFlags) apply(t *dhowv1.Task) error {
	var errs []error
	note := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", flag, err))
		}
	}
	w := &dhowv1.WasmSource{Function: f.function}
	if f.trigger != "" {
		n, ok := manifest.ParseWord(dhowv1.Trigger(0).Descriptor(), f.trigger)
		if !ok {
			note("--trigger", spec.Errorf(spec.CodeInvalid, "%q is unknown: say command, http, service, call, extism or http-wasm", f.trigger))
		}
		w.Trigger = dhowv1.Trigger(n)
	}
	if f.fuel > 0 || f.weight > 0 || f.maxTime.given {
		w.Limits = &dhowv1.WasmLimits{Fuel: f.fuel, Weight: f.weight, Timeout: f.maxTime.proto()}
	}
	var err error
	w.Pool, err = f.pool()
	errs = append(errs, err)
	var mounts []*dhowv1.Mount
	for _, d := range f.dirs {
		m, err := manifest.ParseMount(d)
		note("--dir", err)
		mounts = append(mounts, m)
	}
	w.Host, err = f.host()
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if proto.Size(w) == 0 && len(mounts) == 0 {
		return nil
	}
	own := t.GetWasm()
	if own == nil {
		return spec.Errorf(spec.CodeInvalid, "%s is an image: the flags about triggers, fuel, pools, directories and hosts are for wasm modules", t.GetImage().GetRef())
	}
	proto.Merge(own, w)
	t.Mounts = mounts
	return nil
}

func (f *wasmFlags) pool() (*dhowv1.Pool, error) {
	if f.concurrency < 0 && f.queue < 0 {
		return nil, nil
	}
	if f.concurrency == 0 || f.concurrency > spec.MaxConcurrency || f.queue > spec.MaxQueue {
		return nil, spec.Errorf(spec.CodeInvalid, "--concurrency is 1 to %d, --queue 0 to %d", spec.MaxConcurrency, spec.MaxQueue)
	}
	p := &dhowv1.Pool{Concurrency: uint32(max(f.concurrency, 0))} //nolint:gosec // bounded above
	if f.queue >= 0 {
		p.Queue = new(uint32(f.queue)) //nolint:gosec // bounded above
	}
	return p, nil
}

func (f *wasmFlags) host() (*dhowv1.HostPolicy, error) {
	h := &dhowv1.HostPolicy{Http: f.netAllow, Invoke: f.invoke}
	var configErr, secretErr error
	if len(f.config) > 0 {
		h.Config, configErr = parseConfig("--config", f.config)
	}
	if len(f.secrets) > 0 {
		h.Secrets, secretErr = parseConfig("--secret", f.secrets)
	}
	if f.kv != "" {
		h.Kv = &dhowv1.KeyValue{Store: f.kv}
	}
	if proto.Size(h) == 0 {
		h = nil
	}
	return h, errors.Join(configErr, secretErr)
}

// parseConfig reads key=value; a value may have anything in it.
func parseConfig(flag string, texts []string) (map[string]string, error) {
	out := map[string]string{}
	for _, t := range texts {
		k, v, ok := strings.Cut(t, "=")
		if !ok || k == "" {
			return nil, spec.Errorf(spec.CodeInvalid, "%s %q: want key=value", flag, t)
		}
		out[k] = v
	}
	return out, nil
}
