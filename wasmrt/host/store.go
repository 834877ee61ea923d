package host

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Store keeps values for guests. It is safe for use by many goroutines, and
// what Get returns must not be changed.
type Store interface {
	// Get returns the value of a key, or ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// Set keeps a copy of the value. ErrTooLarge when the key or the value is
	// longer than the store takes, or the store is full.
	Set(ctx context.Context, key string, value []byte) error
	// Delete forgets a key. It is no error when there is none.
	Delete(ctx context.Context, key string) error
	// List returns up to limit keys with the prefix, in byte order, from the
	// first one greater than after.
	List(ctx context.Context, prefix, after string, limit int) ([]string, error)
	// Add adds to a number, 0 if there is none, and returns the sum. A number
	// is kept as its decimal digits; ErrInvalid when the value is no such or
	// the sum does not fit 64 bits.
	Add(ctx context.Context, key string, delta int64) (int64, error)
}

// StoreLimits bound a store. Zero values mean the defaults.
type StoreLimits struct {
	Bytes int64 // of all keys and values, and 64 more for each key. Default 16 MiB
	Key   int   // bytes of a key. Default 512
	Value int   // bytes of a value. Default 1 MiB
}

// perKey is what a key takes beside its own bytes and its value's.
const perKey = 64

func (l StoreLimits) orDefaults() StoreLimits {
	return StoreLimits{Bytes: cmp.Or(l.Bytes, 16<<20), Key: cmp.Or(l.Key, maxName), Value: cmp.Or(l.Value, 1<<20)}
}

// Memory is a Store that is lost with the process.
type Memory struct {
	limits StoreLimits

	mu     sync.RWMutex
	values map[string][]byte
	sorted []string // the keys in order; nil when they have to be sorted again
	bytes  int64
}

// NewMemory makes an empty store.
func NewMemory(l StoreLimits) *Memory {
	return &Memory{limits: l.orDefaults(), values: map[string][]byte{}}
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v, ok := m.values[key]
	if !ok {
		return nil, fmt.Errorf("%q: %w", key, ErrNotFound)
	}
	return v, nil
}

// Set implements Store.
func (m *Memory) Set(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkLocked(key, value); err != nil {
		return err
	}
	m.putLocked(key, slices.Clone(value))
	return nil
}

// checkLocked tells whether there is room for a value.
func (m *Memory) checkLocked(key string, value []byte) error {
	switch {
	case len(key) > m.limits.Key:
		return fmt.Errorf("%w: a key of %d bytes, and at most %d are taken", ErrTooLarge, len(key), m.limits.Key)
	case len(value) > m.limits.Value:
		return fmt.Errorf("%w: a value of %d bytes, and at most %d are taken", ErrTooLarge, len(value), m.limits.Value)
	case m.bytes-m.sizeLocked(key)+sizeOf(key, value) > m.limits.Bytes:
		return fmt.Errorf("%w: the store is full at %d bytes", ErrTooLarge, m.limits.Bytes)
	}
	return nil
}

func sizeOf(key string, value []byte) int64 { return int64(len(key) + len(value) + perKey) }

// sizeLocked is what a key takes now.
func (m *Memory) sizeLocked(key string) int64 {
	if old, ok := m.values[key]; ok {
		return sizeOf(key, old)
	}
	return 0
}

func (m *Memory) putLocked(key string, value []byte) {
	if _, ok := m.values[key]; !ok {
		m.sorted = nil
	}
	m.bytes += sizeOf(key, value) - m.sizeLocked(key)
	m.values[key] = value
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deleteLocked(key)
	return nil
}

func (m *Memory) deleteLocked(key string) {
	if _, ok := m.values[key]; ok {
		m.bytes -= m.sizeLocked(key)
		delete(m.values, key)
		m.sorted = nil
	}
}

// List implements Store.
func (m *Memory) List(_ context.Context, prefix, after string, limit int) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sorted == nil {
		m.sorted = make([]string, 0, len(m.values))
		for key := range m.values {
			m.sorted = append(m.sorted, key)
		}
		slices.Sort(m.sorted)
	}
	from, found := slices.BinarySearch(m.sorted, max(prefix, after))
	if found && after >= prefix {
		from++
	}
	var out []string
	for _, key := range m.sorted[from:] {
		if len(out) >= limit || !strings.HasPrefix(key, prefix) {
			break
		}
		out = append(out, key)
	}
	return out, nil
}

// Add implements Store.
func (m *Memory) Add(_ context.Context, key string, delta int64) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum, err := m.sumLocked(key, delta)
	if err != nil {
		return 0, err
	}
	value := strconv.AppendInt(nil, sum, 10)
	if err := m.checkLocked(key, value); err != nil {
		return 0, err
	}
	m.putLocked(key, value)
	return sum, nil
}

// sumLocked is what a key's number and delta make.
func (m *Memory) sumLocked(key string, delta int64) (int64, error) {
	old := int64(0)
	if value, ok := m.values[key]; ok {
		var err error
		if old, err = strconv.ParseInt(string(value), 10, 64); err != nil {
			return 0, fmt.Errorf("%w: the value of %q is no number", ErrInvalid, key)
		}
	}
	if delta > 0 && old > math.MaxInt64-delta || delta < 0 && old < math.MinInt64-delta {
		return 0, fmt.Errorf("%w: %d and %d make no number of 64 bits", ErrInvalid, old, delta)
	}
	return old + delta, nil
}
