package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mapped adds up lines of /proc/self/smaps_rollup, in bytes.
func mapped(lines ...string) (float64, error) {
	data, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		if !slices.Contains(lines, name) {
			continue
		}
		kb, err := strconv.Atoi(strings.Fields(value)[0])
		if err != nil {
			return 0, err
		}
		sum += float64(kb) * 1024
	}
	return sum, nil
}

// runContainers times `runc run` of a static program, from its start until it
// has ended.
func runContainers(ctx context.Context, n int) ([]time.Duration, error) {
	dir, err := os.MkdirTemp("", "dhow-runc-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := bundle(ctx, dir); err != nil {
		return nil, err
	}
	var all []time.Duration
	for i := range n {
		begin := time.Now()
		cmd := exec.CommandContext(ctx, "runc", "--root", filepath.Join(dir, "state"), "run", fmt.Sprintf("dhow-bench-%d-%d", os.Getpid(), i))
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("runc: %w: %s", err, out)
		}
		all = append(all, time.Since(begin))
	}
	return all, nil
}

// bundle makes a container of one static program.
func bundle(ctx context.Context, dir string) error {
	root := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := native(ctx, "hello.c", filepath.Join(root, "hello")); err != nil {
		return err
	}
	spec := exec.CommandContext(ctx, "runc", "spec")
	spec.Dir = dir
	if out, err := spec.CombinedOutput(); err != nil {
		return fmt.Errorf("runc spec: %w: %s", err, out)
	}
	file := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		return err
	}
	process := config["process"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/hello"}
	if data, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// native compiles a guest's source for this machine.
func native(ctx context.Context, source, to string) error {
	out, err := exec.CommandContext(ctx, "clang", "-O2", "-static", "-o", to, recipe("guests", source).Source).CombinedOutput()
	if err != nil {
		return fmt.Errorf("compiling %s: %w: %s", source, err, out)
	}
	return nil
}
