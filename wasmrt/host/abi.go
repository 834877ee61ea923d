package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"dhow.dev/dhow/wasmrt"
)

// Module is the name that guests import the functions from.
const Module = "dhow:host"

// Bounds of what a guest gives and holds.
const (
	maxName    = 512      // of a configuration value, a function, a header
	maxHead    = 64 << 10 // of a request
	maxBody    = 64 << 20 // of a request or an input, whatever the policy says
	maxError   = 1 << 10  // of the last error's text
	maxResults = 4        // open at a time
)

// Modules are the host modules of this package, for wasmrt.Options.Host.
func Modules() []wasmrt.HostModule {
	m := wasmrt.HostModule{Name: Module}
	for _, f := range []function{
		{"log", "iii", false, logMessage},
		{"last_error", "ii", false, lastError},
		{"config_get", "iiii", false, configGet},
		{"secret_get", "iiii", false, secretGet},
		{"kv_get", "iiii", true, kvGet},
		{"kv_set", "iiii", true, kvSet},
		{"kv_delete", "ii", true, kvDelete},
		{"kv_list", "iiiiii", true, kvList},
		{"kv_add", "iiIi", true, kvAdd},
		{"http_send", "iiii", true, httpSend},
		{"http_status", "i", false, httpStatus},
		{"http_header", "iiiii", false, httpHeader},
		{"http_headers", "iii", false, httpHeaders},
		{"invoke", "iiii", true, invoke},
		{"result_size", "i", false, resultSize},
		{"result_read", "iii", false, resultRead},
		{"result_close", "i", false, resultClose},
	} {
		m.Functions = append(m.Functions, f.host())
	}
	return []wasmrt.HostModule{m}
}

// function is one function of the interface. It returns an i32: what it is to
// tell, or the negative number of an error.
type function struct {
	name   string
	params string // a letter for each: i is 32 bits, I is 64
	blocks bool
	do     func(call) (int, error)
}

func (f function) host() wasmrt.HostFunction {
	h := wasmrt.HostFunction{Name: f.name, Blocks: f.blocks, Call: f.call, Results: []wasmrt.ValueType{wasmrt.I32}}
	for _, p := range f.params {
		t := wasmrt.I32
		if p == 'I' {
			t = wasmrt.I64
		}
		h.Params = append(h.Params, t)
	}
	return h
}

func (f function) call(ctx context.Context, c wasmrt.Caller, stack []uint64) {
	g := c.Attached(guestKey{}, func() any { return &guest{} }).(*guest)
	n, err := f.do(call{ctx, c.Memory(), stack, policyOf(ctx), g})
	if err != nil {
		g.err = fmt.Sprintf("%s: %v", f.name, err)
		n = int(code(err))
	}
	stack[0] = uint64(uint32(int32(n))) //nolint:gosec // bounded, and a negative one keeps its bits
}

type guestKey struct{}

// guest is what the functions keep of one guest.
type guest struct {
	err     string // the last error, for people
	results [maxResults]*result
	logs    limiter
}

// call is one call of a guest's.
type call struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the call
	memory wasmrt.Memory
	stack  []uint64 // the parameters
	policy *Policy
	guest  *guest
}

func (c call) u32(n int) uint32 { return uint32(c.stack[n]) } //nolint:gosec // an i32 parameter

// bytes is a copy of the memory that two parameters say: the guest's memory
// must not be held when it runs again.
func (c call) bytes(n int, most uint32) ([]byte, error) {
	size := c.u32(n + 1)
	if size > most {
		return nil, fmt.Errorf("%w: %d bytes, and at most %d are taken", ErrTooLarge, size, most)
	}
	b, ok := c.memory.Read(c.u32(n), size)
	if !ok {
		return nil, errFaultAt(c.u32(n), size)
	}
	return append([]byte(nil), b...), nil
}

func errFaultAt(at, size uint32) error {
	return fmt.Errorf("%w: %d bytes at %d", ErrFault, size, at)
}

var errNotUTF8 = fmt.Errorf("%w: no UTF-8", ErrInvalid)

// text is bytes that must be UTF-8 and not empty.
func (c call) text(n int, most uint32) (string, error) {
	b, err := c.bytes(n, most)
	switch {
	case err != nil:
		return "", err
	case len(b) == 0:
		return "", fmt.Errorf("%w: empty", ErrInvalid)
	case !utf8.Valid(b):
		return "", errNotUTF8
	}
	return string(b), nil
}

// put copies b to where two parameters say there is room, and returns its
// length. If the room is too small it copies nothing: the guest sees that from
// the length.
func (c call) put(n int, b []byte) (int, error) {
	room := c.u32(n + 1)
	if uint64(len(b)) > uint64(room) {
		return len(b), nil
	}
	if !c.memory.Write(c.u32(n), b) {
		return 0, errFaultAt(c.u32(n), uint32(len(b))) //nolint:gosec // at most room
	}
	return len(b), nil
}

func lastError(c call) (int, error) {
	text := c.guest.err
	if len(text) > maxError {
		text = cut(text, maxError)
	}
	return c.put(0, []byte(text))
}

// cut shortens a text without splitting a character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

func configGet(c call) (int, error) { return c.lookUp(c.policy.Config) }

func secretGet(c call) (int, error) { return c.lookUp(c.policy.Secrets) }

func (c call) lookUp(values map[string]string) (int, error) {
	name, err := c.text(0, maxName)
	if err != nil {
		return 0, err
	}
	value, ok := values[name]
	if !ok {
		return 0, fmt.Errorf("%q: %w", name, ErrNotFound)
	}
	return c.put(2, []byte(value))
}

// invoke calls another function.
func invoke(c call) (int, error) {
	if c.policy.Invoker == nil {
		return 0, fmt.Errorf("%w: this guest invokes nothing", ErrDenied)
	}
	name, err := c.text(0, maxName)
	if err != nil {
		return 0, err
	}
	input, err := c.bytes(2, maxBody)
	if err != nil {
		return 0, err
	}
	depth := Depth(c.ctx)
	if depth >= c.policy.MaxDepth {
		return 0, fmt.Errorf("%w: %d functions have invoked one another already", ErrDenied, depth)
	}
	slot, err := c.guest.free()
	if err != nil {
		return 0, err
	}
	ctx := context.WithValue(WithDepth(c.ctx, depth+1), policyKey{}, (*Policy)(nil))
	output, err := c.policy.Invoker.Invoke(ctx, name, input)
	if err != nil {
		return 0, fmt.Errorf("invoking %q: %w", name, err)
	}
	return c.guest.keep(slot, &result{body: output}), nil
}

// result is an answer that the guest reads piece by piece.
type result struct {
	status  int // of HTTP; 0 for others
	headers [][2]string
	body    []byte
	read    int
}

// free finds room for one more result.
func (g *guest) free() (int, error) {
	for n, r := range g.results {
		if r == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: %d results are open; close one", ErrBusy, maxResults)
}

// keep returns the number by which the guest knows the result, from 1 on.
func (g *guest) keep(slot int, r *result) int {
	g.results[slot] = r
	return slot + 1
}

var errNoResult = errors.New("there is no such result")

// result is the result that the first parameter names.
func (c call) result() (*result, error) {
	n := c.u32(0)
	if n == 0 || n > maxResults || c.guest.results[n-1] == nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, errNoResult)
	}
	return c.guest.results[n-1], nil
}

func resultSize(c call) (int, error) {
	r, err := c.result()
	if err != nil {
		return 0, err
	}
	return len(r.body), nil
}

// resultRead copies what fits, and returns 0 at the end.
func resultRead(c call) (int, error) {
	r, err := c.result()
	if err != nil {
		return 0, err
	}
	to, ok := c.memory.Read(c.u32(1), c.u32(2))
	if !ok {
		return 0, errFaultAt(c.u32(1), c.u32(2))
	}
	n := copy(to, r.body[r.read:])
	r.read += n
	return n, nil
}

func resultClose(c call) (int, error) {
	if _, err := c.result(); err != nil {
		return 0, err
	}
	c.guest.results[c.u32(0)-1] = nil
	return 0, nil
}

func putInt64(b []byte, v int64) { binary.LittleEndian.PutUint64(b, uint64(v)) } //nolint:gosec // bits
