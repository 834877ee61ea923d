package spec

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

func (c *checker) wasm(path string, t *dhowv1.Task, w *dhowv1.WasmSource, typ dhowv1.WorkloadType) {
	if w.GetArtifact() == "" {
		c.add(path+".wasm", "names no module: give its file or its artifact's digest")
	} else if why := CheckDigest(w.GetArtifact()); why != "" {
		c.add(path+".wasm.artifact", "%s", why)
	}
	c.text(path+".wasm.file", w.GetFile())
	c.text(path+".wasm.function", w.GetFunction())
	function := typ == dhowv1.WorkloadType_WORKLOAD_TYPE_FUNCTION && t.GetRole() == dhowv1.TaskRole_TASK_ROLE_MAIN
	if why := triggerFault(t, w.GetTrigger(), typ, function); why != "" {
		c.add(path+".wasm.trigger", "%s", why)
	}
	switch {
	case len(t.GetStdin()) == 0:
	case w.GetTrigger() == dhowv1.Trigger_TRIGGER_HTTP:
		c.add(path+".stdin", "is for commands; with the trigger http it is the request's body")
	case function:
		c.add(path+".stdin", "is for commands; a function has the data of each call")
	}
	if w.GetFunction() != "" && !function {
		c.add(path+".wasm.function", "is for functions only")
	}
	if w.GetPool() != nil && !function {
		c.add(path+".wasm.pool", "is for functions only")
	} else if function {
		c.pool(path+".wasm.pool", w.GetPool())
	}
	c.wasmLimits(path+".wasm.limits", w.GetLimits())
	c.host(path+".wasm.host", w.GetHost())
}

// triggerFault tells why a task cannot have the trigger; empty when it can.
func triggerFault(t *dhowv1.Task, trigger dhowv1.Trigger, typ dhowv1.WorkloadType, function bool) string {
	switch trigger {
	case dhowv1.Trigger_TRIGGER_COMMAND:
		return ""
	case dhowv1.Trigger_TRIGGER_UNSPECIFIED:
		if function {
			return ""
		}
	case dhowv1.Trigger_TRIGGER_HTTP, dhowv1.Trigger_TRIGGER_SERVICE:
		name := strings.ToLower(strings.TrimPrefix(trigger.String(), "TRIGGER_"))
		switch {
		case typ == dhowv1.WorkloadType_WORKLOAD_TYPE_JOB && t.GetRole() == dhowv1.TaskRole_TASK_ROLE_MAIN:
			return name + " never ends, and a job must: use a service"
		case t.GetRole() == dhowv1.TaskRole_TASK_ROLE_INIT:
			return name + " never ends, and an init task must"
		case trigger == dhowv1.Trigger_TRIGGER_SERVICE && function:
			return "service runs for long and is not called: use the type service"
		case trigger == dhowv1.Trigger_TRIGGER_SERVICE && len(t.GetPorts()) == 0:
			return "service needs ports to listen on: give at least one"
		}
		return ""
	case dhowv1.Trigger_TRIGGER_CALL, dhowv1.Trigger_TRIGGER_EXTISM, dhowv1.Trigger_TRIGGER_HTTP_WASM:
		if function {
			return ""
		}
		return "is for functions: use the type function"
	}
	if function {
		return "is unknown: say command, http, call, extism or httpWasm"
	}
	return "is unknown: say command, http or service"
}

func (c *checker) pool(path string, p *dhowv1.Pool) {
	if n := p.GetConcurrency(); n > MaxConcurrency {
		c.add(path+".concurrency", "is %d; at most %d are allowed", n, MaxConcurrency)
	}
	if n := p.GetQueue(); n > MaxQueue {
		c.add(path+".queue", "is %d; at most %d are allowed", n, MaxQueue)
	}
	c.duration(path+".idleTimeout", p.GetIdleTimeout(), 0)
}

func (c *checker) wasmLimits(path string, l *dhowv1.WasmLimits) {
	if n := l.GetWeight(); n > MaxWeight {
		c.add(path+".weight", "is %d; want 1 to %d", n, MaxWeight)
	}
	if n := l.GetStack(); n != 0 && (n < MinStack || n > MaxStack) {
		c.add(path+".stack", "is %s; want %s to %s", FormatMemory(n), FormatMemory(MinStack), FormatMemory(MaxStack))
	}
	if n := l.GetTables(); n > MaxTableElements {
		c.add(path+".tables", "is %d; at most %d elements are allowed", n, MaxTableElements)
	}
	if n := l.GetFiles(); n > MaxFiles {
		c.add(path+".files", "is %d; at most %d are allowed", n, MaxFiles)
	}
	c.duration(path+".timeout", l.GetTimeout(), MinTimeout)
}

func (c *checker) host(path string, h *dhowv1.HostPolicy) {
	if n := len(h.GetHttp()); n > MaxHosts {
		c.add(path+".http", "has %d hosts; at most %d are allowed", n, MaxHosts)
	}
	for i, s := range h.GetHttp() {
		if why := CheckHost(s); why != "" {
			c.add(fmt.Sprintf("%s.http[%d]", path, i), "%s", why)
		}
	}
	c.config(path+".config", h.GetConfig())
	c.config(path+".secrets", h.GetSecrets())
	if kv := h.GetKv(); kv != nil {
		if why := CheckName(kv.GetStore()); why != "" {
			c.add(path+".kv.store", "%s", why)
		}
		if n := kv.GetMaxBytes(); n > MaxStoreBytes {
			c.add(path+".kv.maxBytes", "is %s; at most %s are allowed", FormatMemory(n), FormatMemory(MaxStoreBytes))
		}
	}
	if n := len(h.GetInvoke()); n > MaxInvoke {
		c.add(path+".invoke", "has %d functions; at most %d are allowed", n, MaxInvoke)
	}
	for i, s := range h.GetInvoke() {
		if why := CheckName(s); why != "" && s != "*" {
			c.add(fmt.Sprintf("%s.invoke[%d]", path, i), "%s", why)
		}
	}
}

func (c *checker) config(path string, m map[string]string) {
	if n := len(m); n > MaxConfig {
		c.add(path, "has %d entries; at most %d are allowed", n, MaxConfig)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if k == "" || len(k) > MaxName*4 || strings.ContainsRune(k, 0) {
			c.add(path, "%s is no name of an entry: use 1 to %d characters", quote(k), MaxName*4)
		}
		c.text(path+"["+k+"]", m[k])
	}
}

func (c *checker) mounts(at string, t *dhowv1.Task) {
	if n := len(t.GetMounts()); n > MaxMounts {
		c.add(at, "has %d mounts; at most %d are allowed", n, MaxMounts)
		return
	}
	if len(t.GetMounts()) > 0 && t.GetWasm() == nil {
		c.add(at, "are for wasm modules only")
	}
	first := map[string]int{}
	for i, m := range t.GetMounts() {
		p := fmt.Sprintf("%s[%d]", at, i)
		if why := CheckName(m.GetDirectory()); why != "" {
			c.add(p+".directory", "%s; name one of the directories that nodes offer", why)
		}
		switch j, twice := first[m.GetPath()]; {
		case !path.IsAbs(m.GetPath()) || path.Clean(m.GetPath()) != m.GetPath():
			c.add(p+".path", "%s is no absolute path, such as /data", quote(m.GetPath()))
		case twice:
			c.add(p+".path", "%s is the path of %s[%d] already", quote(m.GetPath()), at, j)
		}
		first[m.GetPath()] = i
		c.text(p+".path", m.GetPath())
	}
}

// CheckHost tells why s cannot stand in an allow-list of hosts; empty when it
// can: a host, *.domain, an IP address or * for all, with http:// or https:// in
// front and :port behind where only these are meant.
func CheckHost(s string) string {
	const want = " is no host, such as api.example.com, *.example.com or https://api.example.com:8443"
	host := s
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		if host = rest; scheme != "http" && scheme != "https" {
			return quote(s) + want
		}
	}
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		port, err := strconv.ParseUint(host[at+1:], 10, 16)
		if host = host[:at]; err != nil || port == 0 {
			return quote(s) + want
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); !ok || !isIPv6Text(inner) {
			return quote(s) + want
		}
		return ""
	}
	if host == "*" {
		return ""
	}
	for label := range strings.SplitSeq(strings.TrimPrefix(host, "*."), ".") {
		if !isLabel(strings.ToLower(label)) {
			return quote(s) + want
		}
	}
	return ""
}

// isIPv6Text is a first look: the one who connects has the last word.
func isIPv6Text(s string) bool {
	return strings.Count(s, ":") >= 2 && strings.Trim(s, "0123456789abcdefABCDEF:.") == ""
}
