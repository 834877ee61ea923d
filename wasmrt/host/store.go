package host

import "context"

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
