package extism

import (
	"math"
	"strings"
)

const (
	maxInt     = math.MaxInt
	maxMessage = 64 << 10 // of a log line or an error
)

func alloc(k call) { k.stack[0] = k.arena.alloc(k.stack[0], k.kernel.Grow) }

func free(k call) {
	if at := k.stack[0]; k.arena.release(at) && at == k.input {
		k.setInput(0, 0)
	}
}

func length(k call) { k.stack[0] = k.arena.length(k.stack[0]) }

// bounds checks the two parameters that tell of a part of the memory.
func (k call) bounds() (at, n uint64) {
	at, n = k.stack[0], k.stack[1]
	if !k.arena.has(at, n) {
		k.fail("%d bytes at %d are not in the Extism memory", n, at)
	}
	return at, n
}

func inputSet(k call) { k.setInput(k.bounds()) }

func outputSet(k call) {
	k.output, k.outLen = k.bounds()
	if k.command {
		view, _ := k.memory.Read(uint32(k.output), uint32(k.outLen)) //nolint:gosec // inside the memory
		k.taken = append([]byte(nil), view...)
	}
}

func outputOffset(k call) { k.stack[0] = k.output }

func outputLength(k call) { k.stack[0] = k.outLen }

func errorSet(k call) {
	k.err, k.message = k.stack[0], nil
	if k.err != 0 {
		s := text(k.take(0, maxMessage))
		k.message = &s
	}
}

func errorGet(k call) { k.stack[0] = k.err }

func memoryBytes(k call) { k.stack[0] = k.memory.Size() }

func reset(k call) {
	command := k.command
	k.clear(k.memory, k.host.c.MaxMemory)
	k.setInput(0, 0)
	k.command = command
}

func configGet(k call) {
	value, ok := k.host.c.Config[string(k.consume(0))]
	if !ok {
		k.stack[0] = 0
		return
	}
	k.give([]byte(value))
}

func varGet(k call) {
	value, ok := k.host.c.Vars.Get(string(k.consume(0)))
	if !ok {
		k.stack[0] = 0
		return
	}
	k.give(value)
}

func varSet(k call) {
	name := string(k.consume(0))
	if k.stack[1] == 0 {
		k.host.c.Vars.Delete(name)
		return
	}
	if err := k.host.c.Vars.Set(name, k.consume(1)); err != nil {
		k.fail("%.80q: %w", name, err)
	}
}

func getLogLevel(k call) { k.stack[0] = uint64(k.host.c.LogLevel) } //nolint:gosec // not negative

func logAt(level Level) func(call) {
	return func(k call) {
		if level >= k.host.c.LogLevel {
			k.host.c.Log(k.ctx, level, text(k.take(0, maxMessage)))
		}
		k.arena.release(k.stack[0])
	}
}

func text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
