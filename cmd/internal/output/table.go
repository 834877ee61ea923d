package output

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Column is one of a table's.
type Column struct {
	Name string
	Wide bool // shown in wide output only
}

// Cell is a text and what it means.
type Cell struct {
	Text string
	Hue  Hue
}

// Table prints rows under aligned columns. Rows added after a Flush line up
// with those before as far as they fit, so that a watch can go on below.
type Table struct {
	w       io.Writer
	style   Style
	columns []Column
	wide    bool
	widths  []int
	rows    [][]Cell
	begun   bool
}

// NewTable makes an empty table.
func NewTable(w io.Writer, style Style, wide bool, columns ...Column) *Table {
	t := &Table{w: w, style: style, columns: columns, wide: wide, widths: make([]int, len(columns))}
	for i, c := range columns {
		t.widths[i] = len(c.Name)
	}
	return t
}

// Add appends a row, with as many cells as there are columns.
func (t *Table) Add(cells ...Cell) {
	for i := range cells {
		if cells[i].Text = Clean(cells[i].Text); cells[i].Text == "" {
			cells[i].Text = "-"
		}
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cells[i].Text))
	}
	t.rows = append(t.rows, cells)
}

// Flush prints what was added, and the header the first time.
func (t *Table) Flush() error {
	var b strings.Builder
	if !t.begun {
		t.begun = true
		head := make([]Cell, len(t.columns))
		for i, c := range t.columns {
			head[i] = Cell{c.Name, Dim}
		}
		t.line(&b, head)
	}
	for _, row := range t.rows {
		t.line(&b, row)
	}
	t.rows = t.rows[:0]
	_, err := io.WriteString(t.w, b.String())
	return err
}

func (t *Table) line(b *strings.Builder, cells []Cell) {
	gap := 0
	for i, c := range cells {
		if t.columns[i].Wide && !t.wide {
			continue
		}
		fmt.Fprintf(b, "%*s%s", gap, "", t.style.Paint(c.Hue, c.Text))
		gap = 3 + t.widths[i] - utf8.RuneCountInString(c.Text)
	}
	b.WriteByte('\n')
}
