package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// clock gives a later time with each call.
type clock struct{ at time.Time }

func (c *clock) now() time.Time {
	c.at = c.at.Add(time.Millisecond)
	return c.at
}

func newStore(t *testing.T, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Now == nil {
		o.Now = (&clock{time.Unix(1_800_000_000, 0)}).now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ref(name string) *dhowv1.Ref { return &dhowv1.Ref{Namespace: "default", Name: name} }

func read(t *testing.T, s *Store, q *dhowv1.LogQuery) []string {
	t.Helper()
	var out []string
	err := s.Read(t.Context(), q, func(lines []*dhowv1.LogLine) error {
		for _, l := range lines {
			out = append(out, l.GetTask()+"|"+l.GetSource().String()[len("LOG_SOURCE_"):]+"|"+string(l.GetText()))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return out
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// put writes as tasks do, without looking back.
func put(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

func putln(w io.Writer, text string) { put(w, "%s\n", text) }

func TestLinesOfAllTasksInOrder(t *testing.T) {
	s := newStore(t, Options{})
	out, errs := s.Task("u", "default", "web", "main")
	side, _ := s.Task("u", "default", "web", "side")
	put(out, "one\ntw")
	put(errs, "bad\n")
	put(side, "aside\n")
	put(out, "o\nno end")
	equal(t, read(t, s, &dhowv1.LogQuery{Ref: ref("web")}), "main|STDOUT|one", "main|STDERR|bad", "side|STDOUT|aside", "main|STDOUT|two")
	s.End("u")
	equal(t, read(t, s, &dhowv1.LogQuery{Ref: &dhowv1.Ref{Uid: "u"}, Task: "main"}), "main|STDOUT|one", "main|STDERR|bad", "main|STDOUT|two", "main|STDOUT|no end")
	equal(t, read(t, s, &dhowv1.LogQuery{Ref: ref("web"), Tail: 2}), "main|STDOUT|two", "main|STDOUT|no end")
	for _, q := range []*dhowv1.LogQuery{{Ref: ref("nobody")}, {Ref: ref("web"), Task: "no"}} {
		if err := s.Read(t.Context(), q, nil); spec.CodeOf(err) != spec.CodeNotFound {
			t.Errorf("%v: %v", q, err)
		}
	}
}

func TestLongLinesComeInPieces(t *testing.T) {
	s := newStore(t, Options{})
	out, _ := s.Task("u", "default", "web", "main")
	long := strings.Repeat("x", 2*MaxText) + "yz"
	for _, c := range []byte(long + "\n") { // in the smallest writes
		if _, err := out.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
	}
	put(out, "%s\nend\n", long)
	got := read(t, s, &dhowv1.LogQuery{Ref: ref("web")})
	want := "main|STDOUT|" + strings.Repeat("x", MaxText)
	equal(t, got, want, want, "main|STDOUT|yz", want, want, "main|STDOUT|yz", "main|STDOUT|end")
}

func TestRotationBoundsATask(t *testing.T) {
	s := newStore(t, Options{MaxFile: 4096, Files: 3})
	out, _ := s.Task("u", "default", "web", "main")
	for n := range 2000 {
		put(out, "line %d\n", n)
	}
	var size int64
	files, err := filepath.Glob(filepath.Join(s.options.Dir, "*,u", "*.log"))
	if err != nil || len(files) != 3 {
		t.Fatalf("files are %v, %v", files, err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		size += st.Size()
	}
	if size > 3*4096 || size != s.Total() {
		t.Errorf("%d bytes are on the disk, %d are counted", size, s.Total())
	}
	got := read(t, s, &dhowv1.LogQuery{Ref: ref("web")})
	for k, line := range got {
		if want := fmt.Sprintf("main|STDOUT|line %d", 2000-len(got)+k); line != want {
			t.Fatalf("line %d is %q, want %q", k, line, want)
		}
	}
	for _, n := range []int{1, 7, 100, len(got), len(got) + 1} {
		if tail := read(t, s, &dhowv1.LogQuery{Ref: ref("web"), Tail: uint32(n)}); len(tail) != min(n, len(got)) || tail[len(tail)-1] != got[len(got)-1] {
			t.Errorf("tail %d has %d lines", n, len(tail))
		}
	}
}

func TestSince(t *testing.T) {
	c := &clock{time.Unix(1_800_000_000, 0)}
	s := newStore(t, Options{Now: c.now})
	out, _ := s.Task("u", "default", "web", "main")
	putln(out, "before")
	since := timestamppb.New(c.at.Add(time.Microsecond))
	putln(out, "after")
	equal(t, read(t, s, &dhowv1.LogQuery{Ref: ref("web"), Since: since}), "main|STDOUT|after")
}

func TestFollowSeesEachLineUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, Options{MaxFile: 600, Files: 100, Now: time.Now})
		out, _ := s.Task("u", "default", "web", "main")
		putln(out, "line 0")
		var got []string
		done := make(chan error, 1)
		go func() {
			done <- s.Read(t.Context(), &dhowv1.LogQuery{Ref: ref("web"), Follow: true}, func(lines []*dhowv1.LogLine) error {
				for _, l := range lines {
					got = append(got, string(l.GetText()))
				}
				return nil
			})
		}()
		for n := 1; n < 200; n++ { // over many files
			if n%3 == 0 {
				synctest.Wait() // sometimes it keeps up, sometimes it does not
				if len(got) != n {
					t.Fatalf("%d of %d lines have come", len(got), n)
				}
			}
			put(out, "line %d\n", n)
		}
		late, _ := s.Task("u", "default", "web", "late")
		putln(late, "line 200")
		s.End("u")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for n, text := range got {
			if text != fmt.Sprintf("line %d", n) {
				t.Fatalf("line %d is %q", n, text)
			}
		}
		if len(got) != 201 {
			t.Errorf("%d lines have come", len(got))
		}
	})
}

func TestFollowEndsWithItsContextAndItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, Options{Now: time.Now})
		out, _ := s.Task("u", "default", "web", "main")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- s.Read(ctx, &dhowv1.LogQuery{Ref: ref("web"), Follow: true}, func([]*dhowv1.LogLine) error { return nil })
		}()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
		gone := errors.New("gone")
		putln(out, "x")
		if err := s.Read(t.Context(), &dhowv1.LogQuery{Ref: ref("web"), Follow: true}, func([]*dhowv1.LogLine) error { return gone }); !errors.Is(err, gone) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestARestartKeepsLogsAndATornLineHarmsNothing(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, Options{Dir: dir})
	out, _ := s.Task("u", "default", "web", "main")
	putln(out, "before")
	file := filepath.Join(dir, "default,web,u", "main.000000.log")
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	put(f, "2027-01-15T08:00:00.0000")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s = newStore(t, Options{Dir: dir})
	if s.Total() == 0 {
		t.Error("what is on the disk is not counted")
	}
	equal(t, read(t, s, &dhowv1.LogQuery{Ref: ref("web")}), "main|STDOUT|before")
	out, _ = s.Task("u", "default", "web", "main")
	putln(out, "after")
	equal(t, read(t, s, &dhowv1.LogQuery{Ref: ref("web")}), "main|STDOUT|before", "main|STDOUT|after")
	s.Sweep(func(string) bool { return false })
	if _, err := s.find(ref("web")); err != nil || s.instances["u"].ended.IsZero() {
		t.Errorf("a dead instance's logs are not ended: %v", err)
	}
}

func TestEndedInstancesGoAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, Options{Retain: time.Hour, Now: time.Now})
		out, _ := s.Task("u", "default", "web", "main")
		putln(out, "x")
		live, _ := s.Task("v", "default", "live", "main")
		putln(live, "y")
		s.End("u")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(30 * time.Minute)
		equal(t, read(t, s, &dhowv1.LogQuery{Ref: ref("web")}), "main|STDOUT|x")
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, err := s.find(ref("web")); err == nil {
			t.Error("it is still there")
		}
		if _, err := os.Stat(filepath.Join(s.options.Dir, "default,web,u")); !os.IsNotExist(err) {
			t.Errorf("its directory is still there: %v", err)
		}
		equal(t, read(t, s, &dhowv1.LogQuery{Ref: ref("live")}), "main|STDOUT|y")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTheTotalIsBounded(t *testing.T) {
	const most = 64 << 10
	s := newStore(t, Options{MaxFile: 4 << 10, Files: 100, MaxTotal: most})
	old, _ := s.Task("old", "default", "old", "main")
	for range 100 {
		putln(old, strings.Repeat("o", 100))
	}
	s.End("old")
	for n := range 5 {
		out, _ := s.Task(fmt.Sprint(n), "default", fmt.Sprint(n), "main")
		for range 300 {
			putln(out, strings.Repeat("x", 100))
			if got := s.Total(); got > most+200 {
				t.Fatalf("%d bytes are kept", got)
			}
		}
	}
	if _, err := s.find(ref("old")); err == nil {
		t.Error("an ended instance's logs were kept longer than a running one's")
	}
	if got := read(t, s, &dhowv1.LogQuery{Ref: ref("4"), Tail: 1}); len(got) != 1 {
		t.Errorf("the newest line is gone: %v", got)
	}
}

func TestManyTasksShareFewOpenFiles(t *testing.T) {
	const maxOpen = 20
	s := newStore(t, Options{MaxOpen: maxOpen})
	for round := range 2 {
		for n := range maxOpen + 50 {
			out, _ := s.Task(fmt.Sprint(n), "default", fmt.Sprint(n), "main")
			put(out, "round %d\n", round)
		}
	}
	open := 0
	for _, i := range s.instances {
		for _, st := range i.streams {
			if st.file != nil {
				open++
			}
		}
	}
	if open > maxOpen {
		t.Errorf("%d files are open", open)
	}
	equal(t, read(t, s, &dhowv1.LogQuery{Ref: ref("3")}), "main|STDOUT|round 0", "main|STDOUT|round 1")
}

// TestAFullDiskIsNamedAndStopsNothing uses the limit on a file's size, which
// fails writes as a full disk does: some bytes are taken, then none.
func TestAFullDiskIsNamedAndStopsNothing(t *testing.T) {
	s := newStore(t, Options{})
	out, _ := s.Task("u", "default", "web", "main")
	putln(out, "fits")
	st := s.instances["u"].streams["main"]
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := syscall.Rlimit{Cur: uint64(st.size) + 40, Max: old.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if n, err := fmt.Fprintln(out, "does not fit"); n != 13 || err != nil {
			t.Errorf("the task was told %d, %v", n, err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	putln(out, "fits again")
	got := read(t, s, &dhowv1.LogQuery{Ref: ref("web")})
	// The second is what was taken of the first that did not fit.
	if len(got) != 4 || got[0] != "main|STDOUT|fits" || got[1] != "main|STDOUT|" || got[2] != "main|STDOUT|fits again" || !strings.Contains(got[3], "dhow: 490 bytes of output were lost") {
		t.Errorf("got %q", got)
	}
}

func TestGarbageInTheDirectoryIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a/x": "", "b,c/main.000000.log": "", "default,c,u/ended": "never\n", "default,c,u/main.000000.log": "\x00\xff\n\n2027"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	s := newStore(t, Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	equal(t, read(t, s, &dhowv1.LogQuery{Ref: ref("c")}))
	if !strings.Contains(log.String(), "dir=a ") || !strings.Contains(log.String(), "dir=b,c ") {
		t.Errorf("the log says %q", log.String())
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte("2026-01-02T15:04:05.000000000Z stdout F text"))
	f.Add([]byte("2026-01-02T15:04:05.000000000Z stderr P "))
	f.Add([]byte("2026-13-02T15:04:05.000000000Z stdout F x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, ok := parseLine(b)
		if !ok {
			return
		}
		whole := b[len(timeFormat)+len(" stdout ")] == 'F'
		again := appendLine(nil, l.GetTime().AsTime(), l.GetSource(), whole, l.GetText())
		if !bytes.Equal(again, append(bytes.Clone(b), '\n')) {
			t.Errorf("%q became %q", b, again)
		}
	})
}

func FuzzWhatIsWrittenIsRead(f *testing.F) {
	f.Add([]byte("a\nb\n\nc"), 2)
	f.Add(bytes.Repeat([]byte("x"), 3*MaxText), 1000)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		var frames []byte
		sp := splitter{source: dhowv1.LogSource_LOG_SOURCE_STDOUT}
		at := time.Unix(1_800_000_000, 0)
		step = max(step, 1)
		for rest := data; len(rest) > 0; {
			n := min(step, len(rest))
			frames = sp.add(frames, at, rest[:n])
			rest = rest[n:]
		}
		frames = sp.flush(frames, at)
		var back []byte
		for line := range bytes.Lines(frames) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			l, ok := parseLine(line)
			if !ok || len(l.GetText()) > MaxText {
				t.Fatalf("%q is no line, or one of %d bytes", line, len(l.GetText()))
			}
			back = append(back, l.GetText()...)
			if line[len(timeFormat)+len(" stdout ")] == 'F' {
				back = append(back, '\n')
			}
		}
		if want := bytes.TrimSuffix(data, []byte("\n")); !bytes.Equal(bytes.TrimSuffix(back, []byte("\n")), want) {
			t.Errorf("%q came back as %q", want, back)
		}
	})
}
