package logs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"dhow.dev/dhow/internal/fsx"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Options of Open; what is zero has the default.
type Options struct {
	Dir      string
	MaxFile  int64         // bytes of a file; default 10 MiB
	Files    int           // of a task; default 5
	MaxTotal int64         // bytes of all; default 1 GiB
	Retain   time.Duration // after an instance's end; default 24 h
	MaxOpen  int           // files that are kept open for writing; default: a quarter of what the process may open
	Now      func() time.Time
	Logger   *slog.Logger
}

// Store is all output on one node.
type Store struct {
	options Options
	total   atomic.Int64
	purging sync.Mutex

	mu        sync.Mutex
	instances map[string]*instance // by uid
	names     map[string]string    // namespace/name -> uid
	open      []*stream            // oldest first
}

// instance is the output of one instance.
type instance struct {
	uid, namespace, name string
	dir                  string

	mu      sync.Mutex
	streams map[string]*stream
	ended   time.Time
	created bool
	changed chan struct{} // closed at the next change
}

var fileName = regexp.MustCompile(`^(.+)\.(\d{6})\.log$`)

// Open takes up what is there.
func Open(o Options) (*Store, error) {
	if o.MaxFile == 0 {
		o.MaxFile = 10 << 20
	}
	if o.Files == 0 {
		o.Files = 5
	}
	if o.MaxTotal == 0 {
		o.MaxTotal = 1 << 30
	}
	if o.Retain == 0 {
		o.Retain = 24 * time.Hour
	}
	if o.MaxOpen == 0 {
		o.MaxOpen = maxOpen()
	}
	s := &Store{options: o, instances: map[string]*instance{}, names: map[string]string{}}
	if err := fsx.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, fsx.Explain(err)
	}
	for _, e := range entries {
		if err := s.load(e.Name()); err != nil {
			o.Logger.Warn("logs of an instance cannot be read", "dir", e.Name(), "error", err)
		}
	}
	return s, nil
}

// load takes up one instance's directory.
func (s *Store) load(dir string) error {
	fields := strings.Split(dir, separator)
	if len(fields) != 3 {
		return errors.New("its name is not NAMESPACE,INSTANCE,UID")
	}
	uid := fields[2]
	i := newInstance(s.options.Dir, uid, fields[0], fields[1])
	i.created = true
	switch at, err := os.ReadFile(filepath.Join(i.dir, endedFile)); {
	case err == nil:
		if i.ended, err = time.Parse(time.RFC3339Nano, strings.TrimSpace(string(at))); err != nil {
			i.ended = s.options.Now()
		}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	files, err := os.ReadDir(i.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		m := fileName.FindStringSubmatch(f.Name())
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[2])
		if err != nil {
			continue
		}
		st := i.streams[m[1]]
		if st == nil {
			st = i.stream(s, m[1])
			st.first, st.last = n, n
		}
		st.first, st.last = min(st.first, n), max(st.last, n)
		if info, err := f.Info(); err == nil {
			s.total.Add(info.Size())
		}
	}
	s.instances[uid] = i
	s.names[i.namespace+"/"+i.name] = uid
	return nil
}

func (i *instance) stream(s *Store, task string) *stream {
	st := &stream{
		store: s, owner: i, task: task,
		out: splitter{source: dhowv1.LogSource_LOG_SOURCE_STDOUT}, err: splitter{source: dhowv1.LogSource_LOG_SOURCE_STDERR},
	}
	i.streams[task] = st
	return st
}

// The name of an instance's directory says whose it is: a file that says so
// would cost a start as much as the output itself.
const (
	separator = "," // in no name and no uid
	endedFile = "ended"
)

func newInstance(parent, uid, namespace, name string) *instance {
	return &instance{
		uid: uid, namespace: namespace, name: name, dir: filepath.Join(parent, namespace+separator+name+separator+uid),
		streams: map[string]*stream{}, changed: make(chan struct{}),
	}
}

// create makes the instance's directory with its first output.
func (i *instance) create() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.created {
		return nil
	}
	if err := os.Mkdir(i.dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	i.created = true
	return nil
}

// recordEnd writes when it ended. A crash may lose it: not worth a sync.
func (i *instance) recordEnd() error {
	return os.WriteFile(filepath.Join(i.dir, endedFile), []byte(i.ended.UTC().Format(time.RFC3339Nano)+"\n"), 0o600)
}

func (i *instance) notify() {
	i.mu.Lock()
	defer i.mu.Unlock()
	close(i.changed)
	i.changed = make(chan struct{})
}

// Task gives the writers of one task's output.
func (s *Store) Task(uid, namespace, name, task string) (stdout, stderr io.Writer) {
	s.mu.Lock()
	i := s.instances[uid]
	if i == nil {
		i = newInstance(s.options.Dir, uid, namespace, name)
		s.instances[uid] = i
		s.names[namespace+"/"+name] = uid
	}
	s.mu.Unlock()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = time.Time{}
	st := i.streams[task]
	if st == nil {
		st = i.stream(s, task)
	}
	return writer{st, &st.out}, writer{st, &st.err}
}

// End says that no more will come from the instance. Its output is kept for
// a while.
func (s *Store) End(uid string) {
	s.mu.Lock()
	i := s.instances[uid]
	s.mu.Unlock()
	if i == nil {
		return
	}
	i.mu.Lock()
	streams := make([]*stream, 0, len(i.streams))
	for _, st := range i.streams {
		streams = append(streams, st)
	}
	i.mu.Unlock()
	for _, st := range streams {
		st.finish()
	}
	i.mu.Lock()
	if i.ended.IsZero() {
		i.ended = s.options.Now()
		if i.created {
			if err := i.recordEnd(); err != nil {
				s.options.Logger.Warn("the end of an instance's logs is not recorded", "instance", i.name, "error", err)
			}
		}
	}
	i.mu.Unlock()
	i.notify()
}

// Sweep ends the logs of instances that live no more.
func (s *Store) Sweep(live func(uid string) bool) {
	s.mu.Lock()
	var gone []string
	for uid, i := range s.instances {
		i.mu.Lock()
		if i.ended.IsZero() && !live(uid) {
			gone = append(gone, uid)
		}
		i.mu.Unlock()
	}
	s.mu.Unlock()
	for _, uid := range gone {
		s.End(uid)
	}
}

// find finds an instance by uid, or the newest of a name.
func (s *Store) find(ref *dhowv1.Ref) (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	uid := ref.GetUid()
	if uid == "" {
		uid = s.names[ref.GetNamespace()+"/"+ref.GetName()]
	}
	if i := s.instances[uid]; i != nil {
		return i, nil
	}
	return nil, spec.Errorf(spec.CodeNotFound, "this node has no logs of instance %s/%s: it has not started here, or ended more than %v ago", ref.GetNamespace(), ref.GetName(), s.options.Retain)
}

// maxOpen leaves most of the files that the process may open to others. When
// more tasks write than files are open, each write opens one.
func maxOpen() int {
	const least, most = 64, 16 << 10
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return least
	}
	return int(max(least, min(limit.Cur/4, most))) //nolint:gosec // bounded
}

// opened bounds the number of open files.
func (s *Store) opened(st *stream) {
	s.mu.Lock()
	s.open = append(s.open, st)
	var old *stream
	if len(s.open) > s.options.MaxOpen {
		old = s.open[0]
		s.open = append(s.open[:0], s.open[1:]...)
	}
	s.mu.Unlock()
	if old != nil && old != st {
		old.idle()
	}
}

// Run removes what is past its time, until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(max(min(s.options.Retain/4, 10*time.Minute), time.Second))
	defer tick.Stop()
	for {
		s.expire()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
