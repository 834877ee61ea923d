package wasm

import (
	"fmt"
	"math"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/wasmrt"
)

// Directory is one that the node lets guests see.
type Directory struct {
	Path     string
	Writable bool // for those that ask for it
}

// guestConfig is what every guest of the task gets.
func (t *run) guestConfig() (wasmrt.Config, error) {
	task := t.task
	mounts, err := t.r.mounts(task)
	if err != nil {
		return wasmrt.Config{}, err
	}
	c := wasmrt.Config{
		Args: arguments(task), Env: environment(task), Stdin: input(task),
		Stdout: t.stdout, Stderr: t.stderr,
		Limits: limits(task), Mounts: mounts,
	}
	if task.Notify != nil {
		c.Notify = func(n wasmrt.Notice) { task.Notify(runtime.Notice{Reason: n.Reason, Message: n.Message}) }
	}
	return c, nil
}

func limits(task *runtime.Task) wasmrt.Limits {
	all := task.Spec.GetResources().GetLimits()
	own := task.Spec.GetWasm().GetLimits()
	return wasmrt.Limits{
		Memory: all.GetMemory(), CPU: uint32(min(all.GetCpu(), math.MaxUint32)), //nolint:gosec // bounded
		Weight: own.GetWeight(), Fuel: own.GetFuel(), Timeout: own.GetTimeout().AsDuration(),
		Stack: own.GetStack(), Tables: own.GetTables(), Files: own.GetFiles(),
	}
}

// mounts are the task's, as far as the node allows them.
func (r *Runtime) mounts(task *runtime.Task) ([]wasmrt.Mount, error) {
	var all []wasmrt.Mount
	for _, m := range task.Spec.GetMounts() {
		d, ok := r.c.Directories[m.GetDirectory()]
		switch {
		case !ok:
			return nil, &runtime.Error{Reason: "NoDirectory", Permanent: true, Err: fmt.Errorf(
				"this node offers no directory %q to mount at %s (dhow agent --directory %s=PATH)", m.GetDirectory(), m.GetPath(), m.GetDirectory())}
		case m.GetWritable() && !d.Writable:
			return nil, &runtime.Error{Reason: "DirectoryReadOnly", Permanent: true, Err: fmt.Errorf(
				"this node offers the directory %q to read only, and the mount at %s is writable", m.GetDirectory(), m.GetPath())}
		}
		all = append(all, wasmrt.Mount{Host: d.Path, Guest: m.GetPath(), Writable: m.GetWritable()})
	}
	return all, nil
}
