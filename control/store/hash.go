package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// Hash hashes all tables, keys and values in order, at the applied revision.
// Two servers with one revision must have one hash.
func (s *Store) Hash() (revision uint64, hash []byte, err error) {
	v := s.View()
	defer v.Close()
	if v.err != nil {
		return 0, nil, v.err
	}
	err = s.fault.guard(func() error {
		hash, err = hashTables(v.snap)
		return err
	})
	if err != nil {
		return 0, nil, diskError("hash the state", err)
	}
	return v.revision, hash, nil
}

func hashTables(r pebble.Reader) (_ []byte, err error) {
	h := sha256.New()
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{keyApplied[0] + 1}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var n [16]byte
	for ok := it.First(); ok; ok = it.Next() {
		k, v := it.Key(), it.Value()
		binary.BigEndian.PutUint64(n[:], uint64(len(k)))
		binary.BigEndian.PutUint64(n[8:], uint64(len(v)))
		h.Write(n[:])
		h.Write(k)
		h.Write(v)
	}
	return h.Sum(nil), it.Error()
}
