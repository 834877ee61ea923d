package wasmrt

import (
	"errors"
	"math"
	"slices"
	"strings"
)

// guestStrings are a guest's arguments, or its environment. They are kept and
// given by us: wazero copies all it has of an environment for each variable.
type guestStrings struct {
	list []string
	size uint32 // in bytes, with a NUL after each
}

func newGuestStrings(list []string) (guestStrings, error) {
	size := uint64(len(list))
	for _, s := range list {
		if strings.IndexByte(s, 0) >= 0 {
			return guestStrings{}, errors.New("it contains a NUL character")
		}
		size += uint64(len(s))
	}
	if size > math.MaxUint32 {
		return guestStrings{}, errors.New("it is too large")
	}
	return guestStrings{list, uint32(size)}, nil //nolint:gosec // bounded
}

func newArguments(args []string) (guestStrings, error) {
	s, err := newGuestStrings(slices.Clone(args))
	if err != nil {
		return s, &Error{Reason: ReasonBadConfig, Message: "the arguments cannot be given to the module", Err: err}
	}
	return s, nil
}

// newEnvironment makes an environment of "NAME=value" pairs. Of several with
// one name the last counts, in the place of the first.
func newEnvironment(pairs []string) (guestStrings, error) {
	list := make([]string, 0, len(pairs))
	places := make(map[string]int, len(pairs))
	for _, kv := range pairs {
		name, _, ok := strings.Cut(kv, "=")
		if name == "" {
			return guestStrings{}, failf(ReasonBadConfig, "a variable of the environment has no name")
		}
		if !ok {
			kv += "="
		}
		if n, ok := places[name]; ok {
			list[n] = kv
			continue
		}
		places[name] = len(list)
		list = append(list, kv)
	}
	s, err := newGuestStrings(list)
	if err != nil {
		return s, &Error{Reason: ReasonBadConfig, Message: "the environment cannot be given to the module", Err: err}
	}
	return s, nil
}

func argsSizesGet(c wasiCall) errno    { return c.putSizes(c.instance.args) }
func argsGet(c wasiCall) errno         { return c.putStrings(c.instance.args) }
func environSizesGet(c wasiCall) errno { return c.putSizes(c.instance.env) }
func environGet(c wasiCall) errno      { return c.putStrings(c.instance.env) }

func (c wasiCall) putSizes(s guestStrings) errno {
	if e := c.put32(0, uint32(len(s.list))); e != success { //nolint:gosec // not more than its size
		return e
	}
	return c.put32(1, s.size)
}

// putStrings stores the strings where the second parameter says, and where
// each begins where the first does.
func (c wasiCall) putStrings(s guestStrings) errno {
	if uint64(len(s.list))*4 > math.MaxUint32 {
		return errnoFault
	}
	starts, e := c.viewAt(c.u32(0), uint32(len(s.list)*4)) //nolint:gosec // bounded
	if e != success {
		return e
	}
	bytes, e := c.viewAt(c.u32(1), s.size)
	if e != success {
		return e
	}
	at := c.u32(1)
	for n, v := range s.list {
		le.PutUint32(starts[n*4:], at)
		copied := copy(bytes, v)
		bytes[copied] = 0
		bytes = bytes[copied+1:]
		at += uint32(copied) + 1 //nolint:gosec // inside the memory
	}
	return success
}

// clockTimeGet gives the wall clock and the guest's monotonic one; it has no
// others.
func clockTimeGet(c wasiCall) errno {
	switch c.u32(0) {
	case clockRealtime:
		return c.put64(2, uint64(c.instance.wall().UnixNano())) //nolint:gosec // as two's complement
	case clockMonotonic:
		return c.put64(2, uint64(c.instance.monotonic())) //nolint:gosec // not negative
	}
	return errnoInval
}
