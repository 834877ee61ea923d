// Package machine tells what this machine has: cores and memory, as far as
// its cgroup lets this process use them. It only reads /proc and /sys.
package machine

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// Capacity is what the process may use. Root is "/" but in tests.
func Capacity(root string) *dhowv1.ResourceList {
	c := &dhowv1.ResourceList{Cpu: uint64(runtime.NumCPU()) * 1000, Memory: memTotal(root)}
	for _, dir := range cgroups(root) {
		if q := cpuQuota(dir); q > 0 {
			c.Cpu = min(c.Cpu, q)
		}
		if m := memLimit(dir); m > 0 && (c.Memory == 0 || m < c.Memory) {
			c.Memory = m
		}
	}
	return c
}

func memTotal(root string) uint64 {
	for line := range strings.Lines(read(filepath.Join(root, "proc/meminfo"))) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "MemTotal:" {
			kb, _ := strconv.ParseUint(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// cgroups are the directories of this process's cgroups and their parents:
// version 2, and the cpu and memory controllers of version 1.
func cgroups(root string) []string {
	var dirs []string
	sc := bufio.NewScanner(strings.NewReader(read(filepath.Join(root, "proc/self/cgroup"))))
	for sc.Scan() {
		f := strings.SplitN(sc.Text(), ":", 3)
		if len(f) != 3 {
			continue
		}
		var bases []string
		if f[1] == "" {
			bases = []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"}
		}
		for name := range strings.SplitSeq(f[1], ",") {
			if name == "cpu" || name == "memory" {
				bases = append(bases, "sys/fs/cgroup/"+name)
			}
		}
		for _, base := range bases {
			// In a container the path is the host's, and the mount is its own.
			for p := filepath.Clean("/" + f[2]); ; p = filepath.Dir(p) {
				dirs = append(dirs, filepath.Join(root, base, p))
				if p == "/" {
					break
				}
			}
		}
	}
	return dirs
}

// cpuQuota is in thousandths of a core; 0 for none.
func cpuQuota(dir string) uint64 {
	quota, period := "", ""
	if f := strings.Fields(read(filepath.Join(dir, "cpu.max"))); len(f) == 2 {
		quota, period = f[0], f[1]
	} else {
		quota = strings.TrimSpace(read(filepath.Join(dir, "cpu.cfs_quota_us")))
		period = strings.TrimSpace(read(filepath.Join(dir, "cpu.cfs_period_us")))
	}
	q, err := strconv.ParseUint(quota, 10, 64) // "max" and -1 are no numbers
	p, perr := strconv.ParseUint(period, 10, 64)
	if err != nil || perr != nil || p == 0 {
		return 0
	}
	return max(q*1000/p, 1)
}

// memLimit is in bytes; 0 for none.
func memLimit(dir string) uint64 {
	for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
		if n, err := strconv.ParseUint(strings.TrimSpace(read(filepath.Join(dir, name))), 10, 64); err == nil {
			return n
		}
	}
	return 0
}

func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "" // this machine has no such file
	}
	return string(b)
}
