package host

import (
	"fmt"
	"strings"
)

// maxListed is how many keys kv_list returns at most.
const maxListed = 1024

// store is the policy's, and the key that the first two parameters say.
func (c call) store() (Store, string, error) {
	if c.policy.Store == nil {
		return nil, "", errNoStore
	}
	key, err := c.text(0, maxName)
	if err != nil {
		return nil, "", err
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, "", fmt.Errorf("%w: a key has no control characters", ErrInvalid)
	}
	return c.policy.Store, key, nil
}

var errNoStore = fmt.Errorf("%w: this guest has no store", ErrDenied)

func kvGet(c call) (int, error) {
	s, key, err := c.store()
	if err != nil {
		return 0, err
	}
	value, err := s.Get(c.ctx, key)
	if err != nil {
		return 0, err
	}
	return c.put(2, value)
}

func kvSet(c call) (int, error) {
	s, key, err := c.store()
	if err != nil {
		return 0, err
	}
	value, err := c.bytes(2, maxBody)
	if err != nil {
		return 0, err
	}
	return 0, s.Set(c.ctx, key, value)
}

func kvDelete(c call) (int, error) {
	s, key, err := c.store()
	if err != nil {
		return 0, err
	}
	return 0, s.Delete(c.ctx, key)
}

// kvAdd stores the sum where the last parameter says.
func kvAdd(c call) (int, error) {
	s, key, err := c.store()
	if err != nil {
		return 0, err
	}
	at := c.u32(3)
	if _, ok := c.memory.Read(at, 8); !ok {
		return 0, errFaultAt(at, 8)
	}
	sum, err := s.Add(c.ctx, key, int64(c.stack[2])) //nolint:gosec // a signed number
	if err != nil {
		return 0, err
	}
	b, _ := c.memory.Read(at, 8) // it was there before
	putInt64(b, sum)
	return 0, nil
}

// kvList writes the keys, each with a line feed, as many as there is room for.
func kvList(c call) (int, error) {
	if c.policy.Store == nil {
		return 0, errNoStore
	}
	var bounds [2]string
	for n := range bounds {
		b, err := c.bytes(2*n, maxName)
		if err != nil {
			return 0, err
		}
		bounds[n] = string(b)
	}
	room := c.u32(5)
	keys, err := c.policy.Store.List(c.ctx, bounds[0], bounds[1], maxListed)
	if err != nil {
		return 0, err
	}
	var out []byte
	for n, key := range keys {
		if n > 0 && uint64(len(out)+len(key)+1) > uint64(room) {
			break
		}
		out = append(append(out, key...), '\n')
	}
	return c.put(4, out)
}
