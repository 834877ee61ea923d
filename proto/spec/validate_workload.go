package spec

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

func (c *checker) workload(s *dhowv1.WorkloadSpec) {
	if s == nil {
		c.add("spec", "is missing")
		return
	}
	job := s.Type == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB
	switch s.Type {
	case dhowv1.WorkloadType_WORKLOAD_TYPE_SERVICE, dhowv1.WorkloadType_WORKLOAD_TYPE_JOB, dhowv1.WorkloadType_WORKLOAD_TYPE_FUNCTION:
	default:
		c.add("spec.type", "is unknown: say service, job or function")
	}
	if n := s.GetReplicas(); n > MaxReplicas {
		c.add("spec.replicas", "is %d; at most %d are allowed", n, MaxReplicas)
	}
	if n := s.GetBackoffLimit(); n > MaxBackoffLimit {
		c.add("spec.backoffLimit", "is %d; at most %d is allowed", n, MaxBackoffLimit)
	} else if s.BackoffLimit != nil && !job {
		c.add("spec.backoffLimit", "is for jobs only")
	}
	c.duration("spec.lostAfter", s.LostAfter, 0)
	if s.Template == nil {
		c.add("spec.template", "is missing")
		return
	}
	c.template("spec.template", s.Template, s.Type)
}

func (c *checker) template(path string, t *dhowv1.Template, typ dhowv1.WorkloadType) {
	if n := proto.Size(t); n > MaxTemplateBytes {
		c.add(path, "has %d bytes when encoded; at most %d are allowed", n, MaxTemplateBytes)
	}
	switch n := len(t.Tasks); {
	case n == 0:
		c.add(path+".tasks", "is empty: at least one task is needed")
	case n > MaxTasks:
		c.add(path+".tasks", "has %d tasks; at most %d are allowed", n, MaxTasks)
		return
	}
	seen := seenNames{names: map[string]string{}, ports: map[string]string{}, hostPorts: map[uint32]string{}}
	mains := 0
	for i, task := range t.Tasks {
		p := fmt.Sprintf("%s.tasks[%d]", path, i)
		if task.GetRole() == dhowv1.TaskRole_TASK_ROLE_MAIN {
			mains++
		}
		c.task(p, task, typ, &seen)
	}
	if len(t.Tasks) > 0 && mains != 1 {
		c.add(path+".tasks", "has %d tasks with the role main; exactly one is needed (the others are init or sidecar)", mains)
	}
	c.placement(path+".placement", t.Placement)
	c.restart(path+".restart", t.Restart, typ == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB)
	c.duration(path+".gracePeriod", t.GracePeriod, 0)
	c.labels(path+".labels", t.Labels)
}

// seenNames finds what must be distinct within a template: where it was first.
type seenNames struct {
	names, ports map[string]string
	hostPorts    map[uint32]string
}

func (c *checker) task(path string, t *dhowv1.Task, typ dhowv1.WorkloadType, seen *seenNames) {
	if why := CheckName(t.GetName()); why != "" {
		c.add(path+".name", "%s", why)
	} else if first, twice := seen.names[t.GetName()]; twice {
		c.add(path+".name", "%q is the name of %s already", t.GetName(), first)
	} else {
		seen.names[t.GetName()] = path
	}
	if r := t.GetRole(); r < dhowv1.TaskRole_TASK_ROLE_MAIN || r > dhowv1.TaskRole_TASK_ROLE_SIDECAR {
		c.add(path+".role", "is unknown: say main, init or sidecar")
	}
	c.source(path, t, typ)
	if n := len(t.GetArgs()); n > MaxArgs {
		c.add(path+".args", "has %d arguments; at most %d are allowed", n, MaxArgs)
	}
	for i, a := range t.GetArgs() {
		c.text(fmt.Sprintf("%s.args[%d]", path, i), a)
	}
	c.env(path+".env", t.GetEnv())
	if n := len(t.GetStdin()); n > MaxStdin {
		c.add(path+".stdin", "has %d bytes; at most %d are allowed", n, MaxStdin)
	}
	c.resources(path+".resources", t.GetResources())
	c.ports(path+".ports", t, seen)
	c.mounts(path+".mounts", t)
}

func (c *checker) source(path string, t *dhowv1.Task, typ dhowv1.WorkloadType) {
	switch s := t.GetSource().(type) {
	case *dhowv1.Task_Wasm:
		c.wasm(path, t, s.Wasm, typ)
	case *dhowv1.Task_Image:
		if typ == dhowv1.WorkloadType_WORKLOAD_TYPE_FUNCTION && t.GetRole() == dhowv1.TaskRole_TASK_ROLE_MAIN {
			c.add(path+".image", "cannot be called: a function is a wasm module")
		}
		ref := s.Image.GetRef()
		if why := checkImage(ref); why != "" {
			c.add(path+".image", "%s", why)
		}
		if r := s.Image.GetRuntime(); r != "" && (checkDotted(strings.ReplaceAll(r, "_", "-")) != "") {
			c.add(path+".image.runtime", "%s is no shim's name, such as io.containerd.runc.v2", quote(r))
		}
	default:
		c.add(path, "has nothing to run: give wasm or image")
	}
}

func (c *checker) env(path string, env []*dhowv1.EnvVar) {
	if len(env) > MaxEnv {
		c.add(path, "has %d variables; at most %d are allowed", len(env), MaxEnv)
	}
	first := make(map[string]int, len(env))
	for i, e := range env {
		p := fmt.Sprintf("%s[%d]", path, i)
		name := e.GetName()
		switch j, twice := first[name]; {
		case name == "":
			c.add(p+".name", "is missing")
		case strings.ContainsAny(name, "=\x00"):
			c.add(p+".name", "%s has a '=' or NUL in it", quote(name))
		case twice:
			c.add(p+".name", "%s is set by %s[%d] already", quote(name), path, j)
		}
		first[name] = i
		c.text(p+".value", e.GetValue())
	}
}

func (c *checker) resources(path string, r *dhowv1.Resources) {
	req, lim := r.GetRequests(), r.GetLimits()
	for _, l := range []struct {
		name string
		list *dhowv1.ResourceList
	}{{".requests", req}, {".limits", lim}} {
		if v := l.list.GetCpu(); v > MaxCPU {
			c.add(path+l.name+".cpu", "is %s cores; at most %s can be asked for", FormatCPU(v), FormatCPU(MaxCPU))
		}
		if v := l.list.GetMemory(); v > MaxMemory {
			c.add(path+l.name+".memory", "is %s; at most %s can be asked for", FormatMemory(v), FormatMemory(MaxMemory))
		}
	}
	if l := lim.GetCpu(); l != 0 && req.GetCpu() > l {
		c.add(path+".limits.cpu", "is %s, less than the request of %s", FormatCPU(l), FormatCPU(req.GetCpu()))
	}
	if l := lim.GetMemory(); l != 0 && req.GetMemory() > l {
		c.add(path+".limits.memory", "is %s, less than the request of %s", FormatMemory(l), FormatMemory(req.GetMemory()))
	}
}

func (c *checker) ports(path string, t *dhowv1.Task, seen *seenNames) {
	if n := len(t.GetPorts()); n > MaxPorts {
		c.add(path, "has %d ports; at most %d are allowed", n, MaxPorts)
		return
	}
	for i, port := range t.GetPorts() {
		p := fmt.Sprintf("%s[%d]", path, i)
		if why := CheckName(port.GetName()); why != "" {
			c.add(p+".name", "%s", why)
		} else if first, twice := seen.ports[port.GetName()]; twice {
			c.add(p+".name", "%q is the name of %s already", port.GetName(), first)
		} else {
			seen.ports[port.GetName()] = p
		}
		if n := port.GetPort(); n < 1 || n > 65535 {
			c.add(p+".port", "is %d; a port is 1 to 65535", n)
		}
		n := port.GetHostPort()
		if n > 65535 {
			c.add(p+".hostPort", "is %d; a port is 1 to 65535", n)
		} else if first, twice := seen.hostPorts[n]; twice {
			c.add(p+".hostPort", "%d is taken by %s already", n, first)
		} else if n != 0 {
			seen.hostPorts[n] = p
		}
	}
}
