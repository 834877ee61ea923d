package main

import (
	"context"
	"fmt"
	"io"
)

// benchMetering compares the forms of metering with plain wazero and with
// wazero's own way to end a guest, on real programs.
func benchMetering(ctx context.Context, o options, t *table, details io.Writer) error {
	fmt.Fprintf(details, "CPU time of a run, median of %d in turns, and its ratio to that of %s\n", o.rounds, o.forms[0])
	line := func(name string, first any, of func(form string) any) {
		fmt.Fprintf(details, "%-15s %8v", name, first)
		for _, form := range o.forms[1:] {
			fmt.Fprintf(details, " %8v", of(form))
		}
		fmt.Fprintln(details)
	}
	line("", o.forms[0], func(form string) any { return form })
	ratios := map[string][]float64{}
	for _, p := range programs() {
		if !o.picks(p.name) {
			continue
		}
		ms, err := compare(ctx, p, o.forms, o.rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		for _, form := range o.forms {
			ratios[form] = append(ratios[form], ms[form]/ms[o.forms[0]])
		}
		line(p.name, fmt.Sprintf("%.0f ms", ms[o.forms[0]]), func(form string) any { return fmt.Sprintf("%.3f", last(ratios[form])) })
	}
	line("geometric mean", "", func(form string) any { return fmt.Sprintf("%.3f", geomean(ratios[form])) })
	addMetering(t, ratios)
	return nil
}

func last(v []float64) float64 { return v[len(v)-1] }

// addMetering adds the rows whose forms were all measured.
func addMetering(t *table, ratios map[string][]float64) {
	for _, f := range []struct {
		form, what string
		limit, aim float64
	}{
		{"exact", "exact counts", 1.15, 1.06},
		{"preempt", "preemption only", 1.10, 1.03},
	} {
		if len(ratios[f.form]) == 0 {
			continue
		}
		what := fmt.Sprintf("metered, %s, geomean of %d programs", f.what, len(ratios[f.form]))
		metered := geomean(ratios[f.form])
		t.add(times(what, metered, "x", "wazero, nothing stops a guest", 1, f.limit, f.aim))
		if done := ratios["done"]; len(done) > 0 {
			t.add(faster(what, metered, "x", "wazero, CloseOnContextDone", geomean(done), 7, 8))
		}
	}
}

// compare is the median of each form's runs, in ms.
func compare(ctx context.Context, p program, contenders []string, rounds int) (medians map[string]float64, err error) {
	module, err := p.module(ctx)
	if err != nil {
		return nil, err
	}
	var children []*child
	defer func() {
		for _, c := range children {
			_ = c.close()
		}
	}()
	for _, form := range contenders {
		c, err := startChild(ctx, "program", form, module)
		if err != nil {
			return nil, err
		}
		children = append(children, c)
	}
	all := map[string][]float64{}
	for range rounds {
		for i, c := range children {
			var r oneRun
			if err := c.ask(&r); err != nil {
				return nil, err
			}
			if r.Stdout != p.want {
				return nil, fmt.Errorf("%s: it printed %q, and should have printed %q", contenders[i], r.Stdout, p.want)
			}
			all[contenders[i]] = append(all[contenders[i]], ms(r.CPU))
		}
	}
	medians = map[string]float64{}
	for form, ms := range all {
		medians[form] = median(ms)
	}
	return medians, nil
}
