package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Apply applies one log entry, a marshalled Command, and answers a result for
// each of its proposals. It is deterministic, and skips an entry that the
// state already has (then there is no result). An entry that cannot be read
// is refused, by every server alike.
func (s *Store) Apply(index, term uint64, data []byte) []*dhowv1.ProposalResult {
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.state == nil || index <= s.index {
		return nil
	}
	results, err := s.apply(index, term, data)
	if err != nil {
		// This server's disk is at fault, not the entry: stop here, so that the
		// state is one that others have been in.
		return []*dhowv1.ProposalResult{refuse(index, s.fault.fail(err))}
	}
	return results
}

func (s *Store) apply(index, term uint64, data []byte) (results []*dhowv1.ProposalResult, err error) {
	cmd := &dhowv1.Command{}
	if err := proto.Unmarshal(data, cmd); err != nil {
		// The library's text differs between processes; do not pass it on.
		cmd.Proposals = nil
		results = []*dhowv1.ProposalResult{refuse(index, spec.Errorf(spec.CodeInvalid, "the log entry is no command"))}
	}
	b := s.state.db.NewBatchWithSize(2*len(data) + 64)
	defer func() { err = errors.Join(err, b.Close()) }()
	t := &tx{db: s.state.db, batch: b, index: index, term: term, dirty: map[string]*dhowv1.Object{}}
	for _, p := range cmd.GetProposals() {
		r, err := t.proposal(p)
		if err != nil {
			return nil, errors.Join(err, t.close())
		}
		results = append(results, r)
	}
	if err := t.close(); err != nil {
		return nil, err
	}
	var at [16]byte
	binary.BigEndian.PutUint64(at[:], index)
	binary.BigEndian.PutUint64(at[8:], term)
	if err := b.Set(keyApplied, at[:], nil); err != nil {
		return nil, err
	}
	if err := s.commit(b, index, term); err != nil {
		return nil, err
	}
	s.feed.publish(index, t.events)
	return results, nil
}

func (s *Store) commit(b *pebble.Batch, index, term uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fault.guard(func() error { return b.Commit(pebble.NoSync) }); err != nil {
		return err
	}
	s.index, s.term = index, term
	return nil
}

func refuse(index uint64, err error) *dhowv1.ProposalResult {
	return &dhowv1.ProposalResult{Revision: index, Code: string(spec.CodeOf(err)), Message: err.Error()}
}

// tx collects what one entry changes. Later proposals of the entry see what
// earlier ones did.
type tx struct {
	db          pebble.Reader
	seek        *pebble.Iterator // what was there before; nil until it is asked
	batch       *pebble.Batch
	index, term uint64
	// dirty holds what was changed so far; nil where it was deleted.
	dirty  map[string]*dhowv1.Object
	staged []write
	events []event
}

type write struct {
	key string
	// What was there before: for the indexes and for the feed.
	old, now *dhowv1.Object
	// What dirty held before, for undo.
	was    *dhowv1.Object
	hadWas bool
}

// proposal makes all of its changes or none. An error is the disk's fault.
func (t *tx) proposal(p *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	if p.GetTerm() != 0 && p.GetTerm() != t.term {
		return refuse(t.index, spec.Errorf(spec.CodeNotLeader, "it was planned in term %d, and this is term %d", p.GetTerm(), t.term)), nil
	}
	r := &dhowv1.ProposalResult{
		Revision: t.index,
		Objects:  make([]*dhowv1.Object, 0, len(p.GetChanges())),
		Outcomes: make([]dhowv1.Outcome, 0, len(p.GetChanges())),
	}
	t.staged = t.staged[:0]
	for _, c := range p.GetChanges() {
		o, outcome, err := t.change(p, c)
		if err != nil {
			if _, ok := errors.AsType[*spec.Error](err); !ok {
				return nil, err
			}
			t.undo()
			return refuse(t.index, err), nil
		}
		if o == nil {
			o = &dhowv1.Object{}
		}
		r.Objects = append(r.Objects, o)
		r.Outcomes = append(r.Outcomes, outcome)
	}
	return r, t.emit()
}

func (t *tx) undo() {
	for _, w := range slices.Backward(t.staged) {
		if w.hadWas {
			t.dirty[w.key] = w.was
		} else {
			delete(t.dirty, w.key)
		}
	}
	t.staged = t.staged[:0]
}

// get returns the object as earlier changes left it; nil when there is none.
func (t *tx) get(k dhowv1.Kind, namespace, name string) (*dhowv1.Object, error) {
	key := objectKey(k, namespace, name)
	if o, ok := t.dirty[string(key)]; ok {
		return o, nil
	}
	return t.before(key)
}

// before reads what was there before the entry. Most new names are not: an
// iterator, other than Get, has the filters of the lowest level say so, and
// reads no block for it.
func (t *tx) before(key []byte) (_ *dhowv1.Object, err error) {
	if t.seek == nil {
		if t.seek, err = t.db.NewIter(&pebble.IterOptions{UseL6Filters: true}); err != nil {
			return nil, err
		}
	}
	if !t.seek.SeekPrefixGE(key) || !bytes.Equal(t.seek.Key(), key) {
		return nil, t.seek.Error()
	}
	raw, err := t.seek.ValueAndErr()
	if err != nil {
		return nil, err
	}
	o := &dhowv1.Object{}
	return o, proto.Unmarshal(raw, o)
}

func (t *tx) close() error {
	if t.seek == nil {
		return nil
	}
	return t.seek.Close()
}

// set stages the object; now is nil for a delete.
func (t *tx) set(k dhowv1.Kind, namespace, name string, old, now *dhowv1.Object) {
	key := string(objectKey(k, namespace, name))
	was, had := t.dirty[key]
	t.staged = append(t.staged, write{key: key, old: old, now: now, was: was, hadWas: had})
	t.dirty[key] = now
}

// emit moves what is staged into the batch and the feed.
func (t *tx) emit() error {
	for _, w := range t.staged {
		size := 64
		if w.now == nil {
			if err := t.batch.Delete([]byte(w.key), nil); err != nil {
				return err
			}
		} else {
			raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(w.now)
			if err != nil {
				return err
			}
			size += len(raw)
			if err := t.batch.Set([]byte(w.key), raw, nil); err != nil {
				return err
			}
		}
		if err := t.reindex(w.old, w.now); err != nil {
			return err
		}
		t.events = append(t.events, newEvent(t.index, w.old, w.now, size))
	}
	return nil
}

func (t *tx) reindex(old, now *dhowv1.Object) error {
	ow, on := indexKeys(old)
	nw, nn := indexKeys(now)
	for _, x := range [][2][]byte{{ow, nw}, {on, nn}} {
		if string(x[0]) == string(x[1]) {
			continue
		}
		if x[0] != nil {
			if err := t.batch.Delete(x[0], nil); err != nil {
				return err
			}
		}
		if x[1] != nil {
			if err := t.batch.Set(x[1], nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// getObject reads one object; nil when there is none.
func getObject(db pebble.Reader, key []byte) (*dhowv1.Object, error) {
	raw, c, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	o := &dhowv1.Object{}
	return o, proto.Unmarshal(raw, o)
}
