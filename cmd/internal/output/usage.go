package output

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// UsageOrders are what UsageTable sorts by.
func UsageOrders() []string { return []string{"cpu", "memory", "fuel", "calls", "name"} }

// usage is the sum over an instance's tasks.
type usage struct {
	of            *dhowv1.InstanceUsage
	cpu           uint64 // thousandths of a core; meaningless unless known
	known         bool
	memory, peak  uint64
	fuel          uint64
	calls, failed uint64
	throttled     time.Duration
}

// sumUsage adds up the tasks. The CPU is the difference to before, of tasks that
// are the same run.
func sumUsage(before, now *dhowv1.InstanceUsage) usage {
	u := usage{of: now}
	span := now.GetTime().AsTime().Sub(before.GetTime().AsTime())
	for _, t := range now.GetTasks() {
		u.memory += t.GetMemory()
		u.peak += t.GetPeakMemory()
		u.fuel += t.GetFuel()
		u.calls += t.GetCalls()
		u.failed += t.GetFailed()
		u.throttled += t.GetThrottled().AsDuration()
		for _, b := range before.GetTasks() {
			used := t.GetCpu().AsDuration() - b.GetCpu().AsDuration()
			if b.GetName() == t.GetName() && b.GetRun() == t.GetRun() && span > 0 && used >= 0 {
				u.cpu += uint64((used*1000 + span/2) / span) //nolint:gosec // neither is negative
				u.known = true
			}
		}
	}
	return u
}

// UsageTable prints what instances used between two measurements, the greediest
// first.
func UsageTable(w io.Writer, style Style, wide, namespace bool, order string, before, now *dhowv1.UsageResponse) error {
	old := map[string]*dhowv1.InstanceUsage{}
	for _, i := range before.GetInstances() {
		old[i.GetRef().GetUid()] = i
	}
	var rows []usage
	for _, i := range now.GetInstances() {
		rows = append(rows, sumUsage(old[i.GetRef().GetUid()], i))
	}
	slices.SortStableFunc(rows, func(x, y usage) int { return cmp.Compare(y.rank(order), x.rank(order)) })
	columns := []Column{
		{Name: "NAME"},
		{Name: "CPU"},
		{Name: "MEMORY"},
		{Name: "PEAK", Wide: true},
		{Name: "FUEL"},
		{Name: "CALLS"},
		{Name: "FAILED", Wide: true},
		{Name: "THROTTLED"},
		{Name: "NODE"},
		{Name: "WORKLOAD", Wide: true},
	}
	if namespace {
		columns = append([]Column{{Name: "NAMESPACE"}}, columns...)
	}
	t := NewTable(w, style, wide, columns...)
	for _, u := range rows {
		cells := u.cells()
		if namespace {
			cells = append([]Cell{{Text: u.of.GetRef().GetNamespace()}}, cells...)
		}
		t.Add(cells...)
	}
	return t.Flush()
}

func (u usage) rank(order string) uint64 {
	switch order {
	case "cpu":
		return u.cpu
	case "memory":
		return u.memory
	case "fuel":
		return u.fuel
	case "calls":
		return u.calls
	}
	return 0 // they come sorted by name
}

func (u usage) cells() []Cell {
	cpu := Cell{}
	if u.known {
		cpu.Text = spec.FormatCPU(u.cpu)
	}
	failed := Cell{Text: count(u.failed)}
	if u.failed > 0 {
		failed.Hue = Warn
	}
	throttled := Cell{}
	if u.throttled > 0 {
		throttled = Cell{u.throttled.Round(time.Millisecond).String(), Warn}
	}
	return []Cell{
		{Text: u.of.GetRef().GetName()},
		cpu,
		{Text: bytesOrNone(u.memory)},
		{Text: bytesOrNone(u.peak)},
		{Text: count(u.fuel)},
		{Text: count(u.calls)},
		failed, throttled,
		{Text: u.of.GetNode()},
		{Text: u.of.GetWorkload()},
	}
}

func bytesOrNone(n uint64) string {
	if n == 0 {
		return ""
	}
	return spec.ShowBytes(n)
}

// count writes large numbers short: 1.2M.
func count(n uint64) string {
	if n < 10_000 {
		return fmt.Sprint(n)
	}
	v := float64(n)
	for _, unit := range []string{"k", "M", "G", "T", "P"} {
		if v /= 1000; v < 999.95 {
			return fmt.Sprintf("%.1f%s", v, unit)
		}
	}
	return fmt.Sprintf("%.1fE", v/1000)
}

// TaskUsages are the lines of one instance for people, task by task.
func TaskUsages(i *dhowv1.InstanceUsage) []string {
	var out []string
	for _, t := range i.GetTasks() {
		line := fmt.Sprintf("%s: CPU %s, memory %s (at most %s)", t.GetName(),
			t.GetCpu().AsDuration().Round(time.Millisecond), spec.ShowBytes(t.GetMemory()), spec.ShowBytes(max(t.GetPeakMemory(), t.GetMemory())))
		if t.GetFuel() > 0 {
			line += fmt.Sprintf(", fuel %s", count(t.GetFuel()))
		}
		if t.GetCalls() > 0 {
			line += fmt.Sprintf(", %d calls (%d failed)", t.GetCalls(), t.GetFailed())
		}
		if d := t.GetThrottled().AsDuration(); d > 0 {
			line += fmt.Sprintf(", held back by its CPU limit for %s", d.Round(time.Millisecond))
		}
		out = append(out, line)
	}
	return out
}
