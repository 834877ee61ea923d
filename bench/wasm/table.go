package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// row is a figure, what a peer reaches, and what we hold ourselves to.
type row struct {
	figure string
	value  float64
	unit   string
	peer   string // "" for none
	than   float64
	// judged is what limit and aim are for: the value, or a ratio to the
	// peer's.
	judged     float64
	limit, aim float64
	judgedIn   string // the unit of these three
	more       bool   // the more the better
}

// bounded is a row whose value has a limit of its own; the peer is told for
// comparison.
func bounded(figure string, value float64, unit string, limit, aim float64) row {
	return row{figure: figure, value: value, unit: unit, judged: value, limit: limit, aim: aim, judgedIn: unit}
}

// times is a row whose value has to be so many times the peer's, or less.
func times(figure string, value float64, unit, peer string, than, limit, aim float64) row {
	return row{figure: figure, value: value, unit: unit, peer: peer, than: than, judged: value / than, limit: limit, aim: aim, judgedIn: "x"}
}

// faster is a row whose value has to be so many times less than the peer's.
func faster(figure string, value float64, unit, peer string, than, limit, aim float64) row {
	r := row{figure: figure, value: value, unit: unit, peer: peer, than: than, judged: than / value, limit: limit, aim: aim, judgedIn: "x"}
	return r.atLeast()
}

// against adds a peer to a bounded row.
func (r row) against(peer string, than float64) row {
	r.peer, r.than = peer, than
	return r
}

// atLeast makes the limit one that is to be reached or passed.
func (r row) atLeast() row {
	r.more = true
	return r
}

// ratio is to the peer: as the limit has it where that is for a ratio.
func (r row) ratio() float64 {
	if r.more {
		return r.judged
	}
	return r.value / r.than
}

func (r row) met() string {
	reached := func(bound float64) bool {
		if r.more {
			return r.judged >= bound
		}
		return r.judged <= bound
	}
	switch {
	case reached(r.aim):
		return "aim"
	case reached(r.limit):
		return "yes"
	}
	return "NO"
}

// table is what a run found.
type table struct{ rows []row }

func (t *table) add(rows ...row) { t.rows = append(t.rows, rows...) }

func (t *table) write(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tvalue\tpeer\tits value\tratio\tlimit\taim\tmet")
	for _, r := range t.rows {
		peer, than, ratio := "-", "-", "-"
		if r.peer != "" {
			peer, than, ratio = r.peer, number(r.than)+" "+r.unit, fmt.Sprintf("%.3g x", r.ratio())
		}
		fmt.Fprintf(w, "%s\t%s %s\t%s\t%s\t%s\t%s %s\t%s %s\t%s\n",
			r.figure, number(r.value), r.unit, peer, than, ratio, number(r.limit), r.judgedIn, number(r.aim), r.judgedIn, r.met())
	}
	_ = w.Flush()
}

func number(v float64) string {
	if math.Abs(v) >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func us(d time.Duration) float64 { return float64(d) / 1e3 }

func median(v []float64) float64 { return quantile(v, 0.5) }

// quantile of values, 0.5 for the median; NaN of none.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(v))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func geomean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += math.Log(x)
	}
	return math.Exp(sum / float64(len(v)))
}
