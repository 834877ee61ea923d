package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// benchUp times `dhow up` from its start to the first linearizable answer.
func benchUp(ctx context.Context, l *lab) error {
	addrs, err := ports(3)
	if err != nil {
		return err
	}
	begin := time.Now()
	c, p, err := l.up(ctx, 1, addrs)
	if err != nil {
		return err
	}
	figure("dhow up to a ready node, empty state", time.Since(begin).Seconds(), 0.5, "s")
	digest, err := l.push(ctx, l.guest("ticker"))
	if err != nil {
		return err
	}
	for i := 0; i < 10_000; i += 100 {
		var batch []*dhowv1.Workload
		for j := range 100 {
			batch = append(batch, workload(fmt.Sprintf("w-%d", i+j), digest, 0))
		}
		if err := apply(ctx, c, batch...); err != nil {
			return err
		}
	}
	for _, how := range []string{"after a clean stop", "after kill -9"} {
		if how == "after kill -9" {
			p.kill()
		} else {
			p.stop()
		}
		begin = time.Now()
		if _, p, err = l.up(ctx, 1, addrs); err != nil {
			return err
		}
		figure("dhow up to a ready node, 10,000 workloads, "+how, time.Since(begin).Seconds(), 2, "s")
	}
	return nil
}

// benchIdle measures the CPU of an idle `dhow up --nodes 3` and the memory of
// an idle agent.
func benchIdle(ctx context.Context, l *lab) error {
	addrs, err := ports(3)
	if err != nil {
		return err
	}
	_, up, err := l.up(ctx, 3, addrs)
	if err != nil {
		return err
	}
	const settle, window = 5 * time.Second, 30 * time.Second
	if err := pause(ctx, settle); err != nil {
		return err
	}
	before, err := cpuTime(up)
	if err != nil {
		return err
	}
	if err := pause(ctx, window); err != nil {
		return err
	}
	after, err := cpuTime(up)
	if err != nil {
		return err
	}
	figure("idle CPU of dhow up --nodes 3, share of a core", 100*(after-before).Seconds()/window.Seconds(), 1, "%")
	agent, err := l.agent(ctx, "dhow-agent", "lone", addrs[0])
	if err != nil {
		return err
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	resident, err := memory(agent, "VmRSS")
	if err != nil {
		return err
	}
	figure("agent alone, idle, resident", float64(resident)/1e6, 24, "MB")
	whole, err := memory(up, "VmRSS")
	if err != nil {
		return err
	}
	figure("dhow up --nodes 3, idle, resident (k3s server: 464 MB)", float64(whole)/1e6, 464, "MB")
	return nil
}

func benchSize(_ context.Context, l *lab) error {
	for name, limit := range map[string]float64{"dhow-agent": 18, "dhow": 114.9} {
		info, err := os.Stat(filepath.Join(l.bin, name))
		if err != nil {
			return err
		}
		figure("stripped binary of "+name, float64(info.Size())/1e6, limit, "MB")
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cpuTime is user and system time of the process (proc(5), in ticks of 10 ms).
func cpuTime(p *process) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// memory reads a line of /proc/PID/status, in bytes.
func memory(p *process, key string) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.Atoi(strings.Fields(value)[0])
			return kb * 1024, err
		}
	}
	return 0, fmt.Errorf("no %s in /proc/%d/status", key, p.cmd.Process.Pid)
}
