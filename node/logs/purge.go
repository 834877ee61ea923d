package logs

import (
	"maps"
	"os"
	"slices"
	"time"
)

// grew counts bytes, and makes room when they are too many.
func (s *Store) grew(n int) {
	if s.total.Add(int64(n)) <= s.options.MaxTotal || n <= 0 || !s.purging.TryLock() {
		return
	}
	defer s.purging.Unlock()
	s.purge()
}

// Total is the number of bytes on the disk.
func (s *Store) Total() int64 { return s.total.Load() }

// purge makes room: ended instances go first, the longest ended first; then
// the oldest files of those that run.
func (s *Store) purge() {
	goal := s.options.MaxTotal - s.options.MaxTotal/10
	for _, i := range s.byEnd() {
		if s.total.Load() <= goal {
			return
		}
		s.remove(i)
	}
	s.mu.Lock()
	var streams []*stream
	for _, i := range s.instances {
		i.mu.Lock()
		for _, st := range i.streams {
			streams = append(streams, st)
		}
		i.mu.Unlock()
	}
	s.mu.Unlock()
	for dropped := true; dropped; {
		dropped = false
		for _, st := range streams {
			if s.total.Load() <= goal {
				return
			}
			st.mu.Lock()
			if st.drop() {
				dropped = true
			}
			st.mu.Unlock()
		}
	}
	// Many tasks with one file each: cut the files that are written.
	for _, st := range streams {
		if s.total.Load() <= goal {
			return
		}
		st.mu.Lock()
		st.close()
		st.last++
		st.size = 0
		st.drop()
		st.mu.Unlock()
	}
}

func (s *Store) expire() {
	now := s.options.Now()
	for _, i := range s.byEnd() {
		i.mu.Lock()
		old := now.Sub(i.ended) > s.options.Retain
		i.mu.Unlock()
		if old {
			s.remove(i)
		}
	}
}

// byEnd is all ended instances, the longest ended first.
func (s *Store) byEnd() []*instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	type end struct {
		at time.Time
		i  *instance
	}
	var ends []end
	for _, i := range s.instances {
		i.mu.Lock()
		if !i.ended.IsZero() {
			ends = append(ends, end{i.ended, i})
		}
		i.mu.Unlock()
	}
	slices.SortFunc(ends, func(a, b end) int { return a.at.Compare(b.at) })
	out := make([]*instance, len(ends))
	for k, e := range ends {
		out[k] = e.i
	}
	return out
}

// remove deletes an ended instance's output.
func (s *Store) remove(i *instance) {
	s.mu.Lock()
	delete(s.instances, i.uid)
	if name := i.namespace + "/" + i.name; s.names[name] == i.uid {
		delete(s.names, name)
	}
	s.mu.Unlock()
	i.mu.Lock()
	streams := slices.Collect(maps.Values(i.streams))
	i.mu.Unlock()
	var size int64
	for _, st := range streams {
		first, last := st.end()
		for n := first; n <= last; n++ {
			if info, err := os.Stat(st.path(n)); err == nil {
				size += info.Size()
			}
		}
	}
	if err := os.RemoveAll(i.dir); err != nil {
		s.options.Logger.Warn("logs of an ended instance are left", "instance", i.name, "error", err)
		return
	}
	s.total.Add(-size)
}
