// Package diff compares two texts line by line. It is pure.
package diff

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// around is how many equal lines are shown around a change.
const around = 3

// op is one line of an edit: ' ', '-' or '+'.
type op struct {
	sign byte
	text string
}

// Unified writes the difference as `diff -u` does; empty when there is none.
func Unified(oldName, newName, old, new string) string {
	if old == new {
		return ""
	}
	ops := edit(lines(old), lines(new))
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", oldName, newName)
	for _, h := range hunks(ops) {
		h.write(&b, ops)
	}
	return b.String()
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// edit finds a shortest edit by Myers' algorithm.
func edit(a, b []string) []op {
	n, m := len(a), len(b)
	best := map[int]int{1: 0} // furthest x on diagonal k = x - y
	var trace []map[int]int
	for d := 0; d <= n+m; d++ {
		step := make(map[int]int, len(best))
		maps.Copy(step, best)
		trace = append(trace, step)
		for k := -d; k <= d; k += 2 {
			x := best[k-1] + 1
			if k == -d || (k != d && best[k-1] < best[k+1]) {
				x = best[k+1]
			}
			y := x - k
			for x < n && y < m && a[x] == b[y] {
				x, y = x+1, y+1
			}
			best[k] = x
			if x >= n && y >= m {
				return backtrack(a, b, trace)
			}
		}
	}
	return nil
}

func backtrack(a, b []string, trace []map[int]int) []op {
	var out []op
	x, y := len(a), len(b)
	for d, best := range slices.Backward(trace) {
		k := x - y
		prev := k - 1
		if k == -d || (k != d && best[k-1] < best[k+1]) {
			prev = k + 1
		}
		px := best[prev]
		py := px - prev
		for x > px && y > py && x > 0 && y > 0 {
			x, y = x-1, y-1
			out = append(out, op{' ', a[x]})
		}
		if d == 0 {
			break
		}
		if x == px {
			y--
			out = append(out, op{'+', b[y]})
		} else {
			x--
			out = append(out, op{'-', a[x]})
		}
	}
	slices.Reverse(out)
	return out
}

// hunk is a range of an edit and where it begins in both texts.
type hunk struct{ from, to, oldLine, newLine int }

func hunks(ops []op) []hunk {
	var out []hunk
	oldLine, newLine := 0, 0
	oldAt, newAt := make([]int, len(ops)+1), make([]int, len(ops)+1)
	for i, o := range ops {
		oldAt[i], newAt[i] = oldLine, newLine
		if o.sign != '+' {
			oldLine++
		}
		if o.sign != '-' {
			newLine++
		}
	}
	for i, o := range ops {
		if o.sign == ' ' {
			continue
		}
		from, to := max(0, i-around), min(len(ops), i+1+around)
		if n := len(out); n > 0 && from <= out[n-1].to {
			out[n-1].to = to
			continue
		}
		out = append(out, hunk{from: from, to: to, oldLine: oldAt[from], newLine: newAt[from]})
	}
	return out
}

func (h hunk) write(b *strings.Builder, ops []op) {
	oldN, newN := 0, 0
	for _, o := range ops[h.from:h.to] {
		if o.sign != '+' {
			oldN++
		}
		if o.sign != '-' {
			newN++
		}
	}
	fmt.Fprintf(b, "@@ -%s +%s @@\n", span(h.oldLine, oldN), span(h.newLine, newN))
	for _, o := range ops[h.from:h.to] {
		fmt.Fprintf(b, "%c%s\n", o.sign, o.text)
	}
}

func span(line, n int) string {
	if n == 0 {
		return fmt.Sprintf("%d,0", line)
	}
	return fmt.Sprintf("%d,%d", line+1, n)
}
