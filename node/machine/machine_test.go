package machine

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCapacityRespectsCgroups(t *testing.T) {
	all := uint64(runtime.NumCPU()) * 1000
	const mem = "MemTotal:        8388608 kB\nMemFree: 1 kB\n"
	for name, c := range map[string]struct {
		files       map[string]string
		cpu, memory uint64
	}{
		"none": {map[string]string{"proc/meminfo": mem}, all, 8 << 30},
		"v2 with a tighter parent": {map[string]string{
			"proc/meminfo": mem, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/cpu.max": "50000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
			"sys/fs/cgroup/a/b/memory.max": "1073741824\n", "sys/fs/cgroup/a/memory.max": "max\n",
		}, min(all, 500), 1 << 30},
		"v1": {map[string]string{
			"proc/meminfo": mem, "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/x\n",
			"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "25000\n", "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "268435456\n",
		}, min(all, 250), 256 << 20},
		"v1 without limits": {map[string]string{
			"proc/meminfo": mem, "proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, all, 8 << 30},
		"garbage": {map[string]string{"proc/meminfo": "MemTotal\n", "proc/self/cgroup": "x\n::\n0::/\n", "sys/fs/cgroup/cpu.max": "a b"}, all, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := Capacity(tree(t, c.files))
			if got.GetCpu() != c.cpu || got.GetMemory() != c.memory {
				t.Errorf("capacity is %d and %d, want %d and %d", got.GetCpu(), got.GetMemory(), c.cpu, c.memory)
			}
		})
	}
}
