package main

import (
	"errors"
	"slices"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/wasmrt"
	"dhow.dev/dhow/wasmrt/extism"
	"dhow.dev/dhow/wasmrt/host"
	"dhow.dev/dhow/wasmrt/httpwasm"
)

// checkModule refuses a module that can never run as it is meant to, before
// anything is sent. What it is compiled to, only the node finds out.
func checkModule(path string, data []byte, use moduleUse) error {
	o, err := wasmrt.Look(data, append(host.Modules(), extism.Module(), httpwasm.Module())...)
	if e, ok := errors.AsType[*wasmrt.Error](err); ok && e.Reason == wasmrt.ReasonComponent {
		return spec.Errorf(spec.CodeInvalid, "%s: %w; or push it as an image and run that on nodes with a runwasi shim, image: {ref: REF, runtime: SHIM}", path, err)
	}
	if err != nil {
		return moduleError(path, err)
	}
	if why := use.fault(o); why != "" {
		return spec.Errorf(spec.CodeInvalid, "%s %s", path, why)
	}
	return nil
}

// moduleUse is what a module is deployed as. The zero value is none in
// particular: it is only kept.
type moduleUse struct {
	known    bool
	function bool
	trigger  dhowv1.Trigger
}

// useOf finds out how a workload's task runs its module.
func useOf(s *dhowv1.WorkloadSpec, t *dhowv1.Task) moduleUse {
	main := t.GetRole() == dhowv1.TaskRole_TASK_ROLE_UNSPECIFIED || t.GetRole() == dhowv1.TaskRole_TASK_ROLE_MAIN
	return moduleUse{
		known: true, function: main && s.GetType() == dhowv1.WorkloadType_WORKLOAD_TYPE_FUNCTION, trigger: t.GetWasm().GetTrigger(),
	}
}

// fault tells what the module lacks; empty when it lacks nothing.
func (u moduleUse) fault(o wasmrt.Outline) string {
	has := func(name string) bool { return slices.Contains(o.Exports, name) }
	needs := func(module string) bool { return slices.Contains(o.Imports, module) }
	callable := slices.ContainsFunc(o.Exports, func(name string) bool { return !strings.HasPrefix(name, "_") })
	const command = "exports no function _start: build it as a command, with a main function"
	switch {
	case !u.known:
		return ""
	case !u.function:
		switch {
		case has("_start"):
			return ""
		case needs(extism.Name):
			return "is an Extism plugin: deploy it with --type function"
		case needs(httpwasm.Name), has("handle_request"):
			return "is an http-wasm handler: deploy it with --type function"
		case callable || has("_initialize"):
			return "is a library: it " + command + ", or deploy it with --type function"
		}
		return command
	}
	switch u.trigger {
	case dhowv1.Trigger_TRIGGER_COMMAND, dhowv1.Trigger_TRIGGER_HTTP:
		if !has("_start") {
			return command + ", or leave the trigger out"
		}
	case dhowv1.Trigger_TRIGGER_HTTP_WASM:
		if !has("handle_request") || !has("handle_response") {
			return "is no http-wasm handler: it exports no handle_request and handle_response"
		}
	case dhowv1.Trigger_TRIGGER_CALL, dhowv1.Trigger_TRIGGER_EXTISM:
		if !callable {
			return "exports no function that can be called"
		}
	default:
		if !callable && !has("_start") {
			return "exports neither _start nor a function that can be called"
		}
	}
	return ""
}

// useOfSource is useOf the task that has the source.
func useOfSource(o *dhowv1.Object, source *dhowv1.WasmSource) moduleUse {
	s := o.GetWorkload().GetSpec()
	for _, t := range s.GetTemplate().GetTasks() {
		if t.GetWasm() == source {
			return useOf(s, t)
		}
	}
	return moduleUse{}
}
