// A plugin in C, by the interface alone: no kit.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t u64;

#define HOST(name) __attribute__((import_module("extism:host/env"), import_name(#name))) extern
#define EXPORT(name) __attribute__((export_name(#name))) int32_t name(void)

HOST(input_length) u64 input_length(void);
HOST(input_offset) u64 input_offset(void);
HOST(input_load_u8) uint32_t input_load_u8(u64);
HOST(input_load_u64) u64 input_load_u64(u64);
HOST(load_u8) uint32_t load_u8(u64);
HOST(load_u64) u64 load_u64(u64);
HOST(store_u8) void store_u8(u64, uint32_t);
HOST(store_u64) void store_u64(u64, u64);
HOST(alloc) u64 ext_alloc(u64);
HOST(free) void ext_free(u64);
HOST(length) u64 length(u64);
HOST(length_unsafe) u64 length_unsafe(u64);
HOST(output_set) void output_set(u64, u64);
HOST(error_set) void error_set(u64);
HOST(config_get) u64 config_get(u64);
HOST(var_get) u64 var_get(u64);
HOST(var_set) void var_set(u64, u64);
HOST(http_request) u64 http_request(u64, u64);
HOST(http_status_code) int32_t http_status_code(void);
HOST(http_headers) u64 http_headers(void);
HOST(log_info) void log_info(u64);
HOST(log_warn) void log_warn(u64);
HOST(get_log_level) int32_t get_log_level(void);
HOST(reset) void ext_reset(void);
HOST(memory_bytes) u64 memory_bytes(void);

static unsigned char buffer[1 << 20];

static u64 input(void) {
	u64 n = input_length(), at = 0;
	if (n > sizeof buffer) __builtin_trap();
	for (; at + 8 <= n; at += 8) {
		u64 v = input_load_u64(at);
		memcpy(buffer + at, &v, 8);
	}
	for (; at < n; at++) buffer[at] = input_load_u8(at);
	return n;
}

static u64 give(const void *from, u64 n) {
	u64 to = ext_alloc(n), at = 0;
	const unsigned char *b = from;
	for (; at + 8 <= n; at += 8) {
		u64 v;
		memcpy(&v, b + at, 8);
		store_u64(to + at, v);
	}
	for (; at < n; at++) store_u8(to + at, b[at]);
	return to;
}

static void out(u64 handle) { output_set(handle, length(handle)); }

EXPORT(echo) {
	u64 n = input();
	output_set(give(buffer, n), n);
	return 0;
}

// late is echo that first logs.
EXPORT(late) {
	log_warn(give("careful", 7));
	return echo();
}

EXPORT(config) {
	u64 value = config_get(give(buffer, input()));
	if (value == 0) return 7;
	out(value);
	return 0;
}

// count adds one to the variable that the input names.
EXPORT(count) {
	u64 n = input();
	u64 old = var_get(give(buffer, n));
	u64 v = old == 0 ? 0 : load_u64(old);
	v++;
	var_set(give(buffer, n), give(&v, 8));
	out(give(&v, 8));
	return 0;
}

EXPORT(forget) {
	var_set(give(buffer, input()), 0);
	return 0;
}

EXPORT(fail) {
	error_set(give(buffer, input()));
	return 3;
}

EXPORT(fail_silently) { return 4; }

EXPORT(error_but_zero) {
	error_set(give("odd", 3));
	return 0;
}

EXPORT(trap) {
	error_set(give("about to trap", 13));
	__builtin_trap();
}

EXPORT(leave) { exit(input_load_u8(0)); }

EXPORT(logs) {
	log_info(give(buffer, input()));
	log_warn(give("careful", 7));
	return get_log_level();
}

// fetch makes the request that the input is, and gives status, header and body.
EXPORT(fetch) {
	u64 body = http_request(give(buffer, input()), give("the body", 8));
	u64 headers = http_headers();
	u64 a = length(headers), b = length_unsafe(body), at = 0;
	u64 all = ext_alloc(4 + a + b);
	uint32_t status = http_status_code();
	for (int n = 0; n < 4; n++) store_u8(all + n, status >> (8 * n));
	for (at = 0; at < a; at++) store_u8(all + 4 + at, load_u8(headers + at));
	for (at = 0; at < b; at++) store_u8(all + 4 + a + at, load_u8(body + at));
	out(all);
	return 0;
}

// beyond loads and stores where nothing is.
EXPORT(beyond) {
	u64 far[] = {memory_bytes(), memory_bytes() - 7, 1ull << 32, ~0ull, ~0ull - 7, 1ull << 63};
	for (int n = 0; n < 6; n++) {
		store_u64(far[n], 1);
		if (n != 1) store_u8(far[n], 1);
		if (load_u64(far[n]) || (n != 1 && load_u8(far[n]))) return n + 1;
		if (input_load_u8(far[n]) || input_load_u64(far[n])) return n + 10;
	}
	if (input_load_u64(input_length() - 7) || input_load_u8(input_length())) return 20;
	return 0;
}

// bad_output sets an output that is not there.
EXPORT(bad_output) {
	output_set(memory_bytes() - 4, 5);
	return 0;
}

EXPORT(bad_handle) {
	log_info(input_load_u64(0));
	return 0;
}

// blocks allocates until there is no more; the output is how much it got.
EXPORT(blocks) {
	u64 size = input_load_u64(0), got = 0;
	while (ext_alloc(size)) got += size;
	ext_reset();
	out(give(&got, 8));
	return 0;
}

// recycle allocates and frees often: the memory must not grow for that.
EXPORT(recycle) {
	for (int n = 0; n < 100000; n++) {
		u64 a = ext_alloc(1000 + n % 24), b = ext_alloc(10);
		if (!a || !b || a == b) return 1;
		ext_free(a);
		ext_free(a);
		ext_free(b);
	}
	return memory_bytes() > 1 << 20;
}

// peek gives what is in the memory beside the input.
EXPORT(peek) {
	u64 skip = input_offset() + input_length(), n = 4096, at = 0;
	for (; at < n; at++) buffer[at] = load_u8(skip + at);
	output_set(give(buffer, n), n);
	return 0;
}

// free_input gives what is left of the input when it was freed.
EXPORT(free_input) {
	ext_free(input_offset());
	return (int32_t)input_length() + input_load_u8(0);
}
