package logs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// stream is the output of one task.
type stream struct {
	store *Store
	owner *instance
	task  string

	mu          sync.Mutex
	first, last int // numbers of its files; last is written
	file        *os.File
	size        int64
	torn        bool // the file ends in the middle of a line
	lost        int  // bytes that could not be written
	out, err    splitter
	buf         []byte
}

func (s *stream) path(n int) string {
	return filepath.Join(s.owner.dir, fmt.Sprintf("%s.%06d.log", s.task, n))
}

// end is where a reader has to stop for now.
func (s *stream) end() (first, last int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first, s.last
}

type writer struct {
	s *stream
	p *splitter
}

// Write takes all of it, always.
func (w writer) Write(p []byte) (int, error) {
	s := w.s
	s.mu.Lock()
	at := s.store.options.Now()
	s.buf = w.p.add(s.buf[:0], at, p)
	n, opened := s.append(s.buf)
	s.mu.Unlock()
	if n > 0 {
		s.owner.notify()
		s.store.grew(n)
	}
	if opened {
		s.store.opened(s)
	}
	return len(p), nil
}

// append writes whole lines. It tells how many bytes, and whether it opened
// the file.
func (s *stream) append(b []byte) (n int, opened bool) {
	if len(b) == 0 {
		return 0, false
	}
	defer func() {
		if cap(s.buf) > 4*MaxText {
			s.buf = nil
		}
	}()
	if s.file != nil && s.size+int64(len(b)) > s.store.options.MaxFile && s.size > 0 {
		s.rotate()
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			s.lose(len(b), err)
			return 0, false
		}
		opened = true
	}
	fresh := len(b)
	if s.torn {
		b = append([]byte{'\n'}, b...)
	}
	if s.lost > 0 {
		note := fmt.Appendf(nil, "dhow: %d bytes of output were lost, the disk did not take them", s.lost)
		b = append(b, appendLine(nil, s.store.options.Now(), dhowv1.LogSource_LOG_SOURCE_STDERR, true, note)...)
	}
	n, err := s.file.Write(b)
	s.size += int64(n)
	if err != nil {
		s.torn = n > 0 && b[n-1] != '\n' || n == 0 && s.torn
		s.lose(max(fresh-n, 1), err)
		return n, opened
	}
	s.torn, s.lost = false, 0
	return n, opened
}

func (s *stream) lose(n int, err error) {
	if s.lost == 0 {
		s.store.options.Logger.Warn("output of a task is lost", "instance", s.owner.name, "task", s.task, "error", err)
	}
	s.lost += n
}

func (s *stream) open() error {
	if err := s.owner.create(); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(s.last), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		_ = f.Close() // nothing was written
		return err
	}
	s.file, s.size = f, size
	last := make([]byte, 1)
	if size > 0 {
		if _, err := f.ReadAt(last, size-1); err == nil {
			s.torn = last[0] != '\n'
		}
	}
	return nil
}

func (s *stream) rotate() {
	s.close()
	s.last++
	s.size = 0
	for s.last-s.first >= s.store.options.Files {
		s.drop()
	}
}

// drop removes the oldest file; false when only the written one is left.
func (s *stream) drop() bool {
	if s.first >= s.last {
		return false
	}
	path := s.path(s.first)
	if st, err := os.Stat(path); err == nil && os.Remove(path) == nil {
		s.store.grew(-int(st.Size()))
	}
	s.first++
	return true
}

func (s *stream) close() {
	if s.file != nil {
		_ = s.file.Close() // each write was handed to the kernel already
		s.file = nil
	}
}

// finish writes what has no line end and closes the file.
func (s *stream) finish() {
	s.mu.Lock()
	at := s.store.options.Now()
	b := s.err.flush(s.out.flush(nil, at), at)
	n, _ := s.append(b)
	s.close()
	s.mu.Unlock()
	s.store.grew(n)
}

// idle closes the file; the next write opens it again.
func (s *stream) idle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
}

// lastLines finds where the last n lines begin.
func (s *stream) lastLines(n int) (file int, offset int64) {
	first, last := s.end()
	block := make([]byte, 64<<10)
	for file = last; file >= first; file-- {
		f, err := os.Open(s.path(file))
		if err != nil {
			continue
		}
		end, _ := f.Seek(0, io.SeekEnd)
		at := end
		for at > 0 {
			size := min(int64(len(block)), at)
			if _, err := f.ReadAt(block[:size], at-size); err != nil {
				break
			}
			for k := size; k > 0; {
				k = int64(bytes.LastIndexByte(block[:k], '\n'))
				if k < 0 {
					break
				}
				if pos := at - size + k; pos != end-1 || block[k] != '\n' {
					if n--; n == 0 {
						_ = f.Close() // only read
						return file, pos + 1
					}
				}
			}
			at -= size
		}
		_ = f.Close() // only read
		// The file's first line has no line end before it.
		if end > 0 {
			if n--; n == 0 {
				return file, 0
			}
		}
	}
	return first, 0
}
