package logs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	maxTail  = 100_000
	perBatch = 256 // lines handed over at once
)

// Read hands over the lines that the query asks for, of all its tasks in the
// order of time. When it follows, it returns when the instance has ended, ctx
// ends or emit fails.
func (s *Store) Read(ctx context.Context, q *dhowv1.LogQuery, emit func([]*dhowv1.LogLine) error) error {
	i, err := s.find(q.GetRef())
	if err != nil {
		return err
	}
	r := &reader{i: i, q: q, emit: emit, cursors: map[*stream]*cursor{}}
	if t := q.GetSince(); t != nil {
		r.since = t.AsTime()
	}
	defer r.close()
	r.tail = min(int(q.GetTail()), maxTail)
	for {
		i.mu.Lock()
		changed, ended := i.changed, !i.ended.IsZero()
		i.mu.Unlock()
		if err := r.drain(ctx); err != nil {
			return err
		}
		if !q.GetFollow() || ended {
			return r.known()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type reader struct {
	i       *instance
	q       *dhowv1.LogQuery
	emit    func([]*dhowv1.LogLine) error
	since   time.Time
	tail    int
	drained bool
	cursors map[*stream]*cursor
	order   []*cursor
	batch   []*dhowv1.LogLine
}

// known tells whether the task that was asked for exists.
func (r *reader) known() error {
	if t := r.q.GetTask(); t != "" && len(r.order) == 0 {
		return spec.Errorf(spec.CodeNotFound, "instance %s/%s has no task %q that has started", r.i.namespace, r.i.name, t)
	}
	return nil
}

// update finds tasks that have started since.
func (r *reader) update() {
	r.i.mu.Lock()
	var fresh []*stream
	for task, st := range r.i.streams {
		if r.cursors[st] == nil && (r.q.GetTask() == "" || r.q.GetTask() == task) {
			fresh = append(fresh, st)
		}
	}
	r.i.mu.Unlock()
	for _, st := range fresh {
		c := &cursor{st: st}
		c.n, _ = st.end()
		if r.tail > 0 && !r.drained {
			c.n, c.offset = st.lastLines(r.tail)
		}
		r.cursors[st] = c
		r.order = append(r.order, c)
	}
}

// drain hands over all that is there, merged by time.
func (r *reader) drain(ctx context.Context) error {
	r.update()
	for ctx.Err() == nil {
		var next *cursor
		for _, c := range r.order {
			l, err := c.peek()
			if err != nil {
				return err
			}
			if l != nil && (next == nil || l.GetTime().AsTime().Before(next.line.GetTime().AsTime())) {
				next = c
			}
		}
		if next == nil {
			break
		}
		l := next.line
		next.line = nil
		if l.GetTime().AsTime().Before(r.since) {
			continue
		}
		r.batch = append(r.batch, l)
		if r.tail > 0 && !r.drained {
			if len(r.batch) >= 2*r.tail {
				r.batch = append(r.batch[:0], r.batch[len(r.batch)-r.tail:]...)
			}
		} else if len(r.batch) >= perBatch {
			if err := r.send(); err != nil {
				return err
			}
		}
	}
	if r.tail > 0 && !r.drained && len(r.batch) > r.tail {
		r.batch = r.batch[len(r.batch)-r.tail:]
	}
	r.drained = true
	if err := r.send(); err != nil {
		return err
	}
	return ctx.Err()
}

func (r *reader) send() error {
	for len(r.batch) > 0 {
		n := min(len(r.batch), perBatch)
		if err := r.emit(r.batch[:n:n]); err != nil {
			return err
		}
		r.batch = r.batch[n:]
	}
	r.batch = nil
	return nil
}

func (r *reader) close() {
	for _, c := range r.order {
		if c.file != nil {
			_ = c.file.Close() // only read
		}
	}
}

// cursor is where a reader is in one task's output.
type cursor struct {
	st     *stream
	n      int // of the file
	offset int64
	file   *os.File
	buf    []byte // read, not yet parsed
	line   *dhowv1.LogLine
}

// peek reads the next line; nil when there is none yet.
func (c *cursor) peek() (*dhowv1.LogLine, error) {
	for c.line == nil {
		end := bytes.IndexByte(c.buf, '\n')
		if end < 0 {
			more, err := c.fill()
			if err != nil || !more {
				return nil, err
			}
			continue
		}
		l, ok := parseLine(c.buf[:end])
		c.buf = c.buf[end+1:]
		if ok { // what a crash tore is left out
			l.Task = c.st.task
			c.line = l
		}
	}
	return c.line, nil
}

// fill reads more of the file, or goes on to the next one.
func (c *cursor) fill() (bool, error) {
	first, last := c.st.end()
	if c.n < first { // it was too slow: what it had not read is gone
		c.next(first)
	}
	if c.file == nil {
		f, err := os.Open(c.st.path(c.n))
		if errors.Is(err, os.ErrNotExist) {
			if c.n < last {
				c.next(c.n + 1)
				return true, nil
			}
			return false, nil
		}
		if err != nil {
			return false, err
		}
		c.file = f
	}
	if len(c.buf) > maxLine { // no line is as long: it is no log
		c.buf = nil
	}
	block := make([]byte, 32<<10)
	n, err := c.file.ReadAt(block, c.offset)
	if n > 0 {
		c.offset += int64(n)
		c.buf = append(c.buf, block[:n]...)
		return true, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if c.n < last { // read to its end after the next one was begun
		c.next(c.n + 1)
		return true, nil
	}
	return false, nil
}

func (c *cursor) next(n int) {
	if c.file != nil {
		_ = c.file.Close() // only read
		c.file = nil
	}
	c.n, c.offset, c.buf = n, 0, nil
}
