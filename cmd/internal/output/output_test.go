package output_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/cmd/internal/output"
	"dhow.dev/dhow/proto/spec"
)

func TestTable(t *testing.T) {
	var b strings.Builder
	table := output.NewTable(&b, output.Style{}, false, output.Column{Name: "NAME"}, output.Column{Name: "X", Wide: true}, output.Column{Name: "STATUS"})
	table.Add(output.Cell{Text: "größe"}, output.Cell{Text: "hidden"}, output.Cell{Text: "ok\x1b[2J"})
	table.Add(output.Cell{Text: "a"}, output.Cell{}, output.Cell{})
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	table.Add(output.Cell{Text: "bb"}, output.Cell{}, output.Cell{Text: "later"})
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "NAME    STATUS\ngröße   ok\ufffd[2J\na       -\nbb      later\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestColoursDoNotMoveColumns(t *testing.T) {
	draw := func(color bool) string {
		var b strings.Builder
		table := output.NewTable(&b, output.Style{Color: color}, false, output.Column{Name: "A"}, output.Column{Name: "B"})
		table.Add(output.Cell{Text: "good", Hue: output.Good}, output.Cell{Text: "x"})
		table.Add(output.Cell{Text: "b", Hue: output.Bad}, output.Cell{Text: "y"})
		if err := table.Flush(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	colored := draw(true)
	if !strings.Contains(colored, "\x1b[32mgood\x1b[0m") {
		t.Errorf("got %q", colored)
	}
	bare := strings.NewReplacer("\x1b[32m", "", "\x1b[31m", "", "\x1b[2m", "", "\x1b[0m", "").Replace(colored)
	if bare != draw(false) {
		t.Errorf("got\n%s\nwant\n%s", bare, draw(false))
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 5 * time.Second: "5s", 119 * time.Second: "119s", 150 * time.Second: "2m30s", 3 * time.Minute: "3m",
		59 * time.Minute: "59m", 200 * time.Minute: "3h20m", 9 * time.Hour: "9h", 100 * time.Hour: "4d4h", 1000 * time.Hour: "41d", 20000 * time.Hour: "2y",
	} {
		if got := output.Short(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	now := time.Now()
	if got := output.Age(now, timestamppb.New(now.Add(-time.Minute))); got != "60s" {
		t.Errorf("got %s", got)
	}
	if got := output.Age(now, nil); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{0: "0B", 1023: "1023B", 1024: "1Ki", 1536: "1.5Ki", 1<<20 - 1: "1Mi", 64 << 20: "64Mi", 3 << 29: "1.5Gi", 1 << 63: "8Ei"} {
		if got := spec.ShowBytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

// clock is moved by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func TestProgressOnATerminal(t *testing.T) {
	var b strings.Builder
	c := &clock{time.Now()}
	p := output.NewProgress(&b, true, func() int { return 10 }, c.now)
	p.Update("too soon")
	c.t = c.t.Add(time.Second)
	p.Update("a very long line")
	p.Update("again too soon")
	c.t = c.t.Add(time.Second)
	p.Update("b\x1b[2J")
	p.Clear()
	p.Clear()
	if want := "\r\x1b[Ka very l…\r\x1b[Kb\ufffd[2J\r\x1b[K"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

func TestProgressElsewhere(t *testing.T) {
	var b strings.Builder
	c := &clock{time.Now()}
	p := output.NewProgress(&b, false, nil, c.now)
	for _, text := range []string{"a", "b", "b", "c"} {
		c.t = c.t.Add(700 * time.Millisecond)
		p.Update(text)
	}
	p.Clear()
	if b.String() != "b\nc\n" {
		t.Errorf("got %q", b.String())
	}
}
