package ledger

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"dhow.dev/dhow/internal/fsx"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	version = 1
	// Below this the file is not worth rewriting.
	slack = 64 << 10
)

// Options of Open.
type Options struct {
	// Whose ledger it is. One of another node or cluster is refused.
	Node, Cluster string
	Logger        *slog.Logger
}

// Ledger is one open file. Only one goroutine may use it at a time.
type Ledger struct {
	path    string
	options Options
	file    *os.File
	size    int64
	live    *live
	// The file's end is unknown after a failed write: rewrite it.
	broken bool
	buf    []byte
}

// Open reads the ledger at the path, which it makes if it is missing, and
// returns the newest record of everything in it. What is damaged is kept
// beside it as PATH.damaged, logged, and left out.
func Open(path string, o Options) (*Ledger, []*dhowv1.LedgerRecord, error) {
	if err := fsx.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, fsx.Explain(err)
	}
	records, damage := parse(path, data)
	l := &Ledger{path: path, options: o, live: newLive()}
	for _, r := range records {
		if h := r.GetHeader(); h != nil {
			if err := l.check(h); err != nil {
				return nil, nil, err
			}
		}
		l.live.apply(r)
	}
	if damage != nil {
		o.Logger.Warn("part of the agent's ledger could not be read; what can be read is used", "error", damage)
		if !damage.Tail {
			if err := fsx.WriteFile(path+".damaged", data, 0o600); err != nil {
				return nil, nil, err
			}
		}
	}
	if damage != nil || len(data) == 0 || l.wasteful(int64(len(data))) {
		err = l.rewrite()
	} else {
		err = l.open()
	}
	if err != nil {
		return nil, nil, err
	}
	return l, l.live.records(), nil
}

func (l *Ledger) check(h *dhowv1.LedgerHeader) error {
	o := l.options
	switch {
	case h.GetVersion() > version:
		return spec.Errorf(spec.CodeInvalid, "ledger %s was written by a newer dhow (version %d, this one knows %d): use that dhow", l.path, h.GetVersion(), version)
	case h.GetClusterId() != o.Cluster:
		return spec.Errorf(spec.CodeInvalid, "ledger %s belongs to cluster %s, and this node to %s: choose another data directory", l.path, h.GetClusterId(), o.Cluster)
	case h.GetNode() != o.Node:
		return spec.Errorf(spec.CodeInvalid, "ledger %s belongs to node %s, not to %s: choose another data directory or name", l.path, h.GetNode(), o.Node)
	}
	return nil
}

// Append makes the records durable: one write, one fsync. After an error
// nothing is sure; appending again, the same or more, repairs it.
func (l *Ledger) Append(records []*dhowv1.LedgerRecord) error {
	for _, r := range records {
		l.live.apply(r)
	}
	if l.broken {
		return l.rewrite()
	}
	var err error
	l.buf = l.buf[:0]
	for _, r := range records {
		if l.buf, err = appendFrame(l.buf, r); err != nil {
			return err
		}
	}
	if l.wasteful(l.size + int64(len(l.buf))) {
		return l.rewrite()
	}
	n, err := l.file.Write(l.buf)
	l.size += int64(n)
	if err == nil {
		err = l.file.Sync()
	}
	l.broken = err != nil
	if cap(l.buf) > slack {
		l.buf = nil
	}
	return fsx.Explain(err)
}

// wasteful tells that a file of the size is mostly history.
func (l *Ledger) wasteful(size int64) bool { return size > slack+3*l.live.size }

// rewrite replaces the file by one with only the newest records.
func (l *Ledger) rewrite() error {
	l.broken = true
	b, err := appendFrame(nil, &dhowv1.LedgerRecord{Record: &dhowv1.LedgerRecord_Header{Header: &dhowv1.LedgerHeader{
		Version: version, Node: l.options.Node, ClusterId: l.options.Cluster,
	}}})
	if err != nil {
		return err
	}
	for _, r := range l.live.records() {
		if b, err = appendFrame(b, r); err != nil {
			return err
		}
	}
	if err := fsx.WriteFile(l.path, b, 0o600); err != nil {
		return err
	}
	return l.open()
}

func (l *Ledger) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fsx.Explain(err)
	}
	if l.file != nil {
		err = l.file.Close() // the one that was replaced
	}
	l.file = f
	if err == nil {
		l.size, err = f.Seek(0, io.SeekEnd)
	}
	l.broken = err != nil
	return fsx.Explain(err)
}

// Size is the file's.
func (l *Ledger) Size() int64 { return l.size }

// Close closes the file; all that was appended is in it.
func (l *Ledger) Close() error { return fsx.Explain(l.file.Close()) }
