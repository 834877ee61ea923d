// An Extism plugin for tests, by the interface alone. `wait` spins, so that
// only an interruption ends it; `trap` traps.
#include <stdint.h>
#include <string.h>

typedef uint64_t u64;

#define HOST(name) __attribute__((import_module("extism:host/env"), import_name(#name))) extern
#define EXPORT(name) __attribute__((export_name(name)))

HOST(input_length) u64 input_length(void);
HOST(input_load_u8) uint32_t input_load_u8(u64);
HOST(input_load_u64) u64 input_load_u64(u64);
HOST(store_u8) void store_u8(u64, uint32_t);
HOST(store_u64) void store_u64(u64, u64);
HOST(alloc) u64 block(u64);
HOST(output_set) void output_set(u64, u64);
HOST(error_set) void error_set(u64);

static volatile int beginning, calls;

#ifdef BEGIN
__attribute__((constructor)) static void begin(void) { BEGIN; }
#endif

static u64 copied(void) {
	u64 n = input_length(), to = block(n), at = 0;
	for (; at + 8 <= n; at += 8) store_u64(to + at, input_load_u64(at));
	for (; at < n; at++) store_u8(to + at, input_load_u8(at));
	return to;
}

EXPORT("echo") int32_t run_echo(void) {
	output_set(copied(), input_length());
	return 0;
}

EXPORT("fail") int32_t run_fail(void) {
	static const char why[] = "it was told to";
	u64 text = block(sizeof why - 1);
	for (unsigned i = 0; i < sizeof why - 1; i++) store_u8(text + i, why[i]);
	error_set(text);
	return 1;
}

EXPORT("wait") int32_t run_wait(void) {
	for (;;) beginning++;
}

#ifdef MORE
EXPORT("trap") int32_t run_trap(void) { __builtin_trap(); }

// grow asks for memory until it gets none.
EXPORT("grow") int32_t run_grow(void) {
	while (__builtin_wasm_memory_grow(0, 16) != (unsigned long)-1) {}
	return 0;
}

EXPORT("count") int32_t run_count(void) {
	u64 to = block(1);
	store_u8(to, '0' + ++calls);
	output_set(to, 1);
	return 0;
}
#endif
