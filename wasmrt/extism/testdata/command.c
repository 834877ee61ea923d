// A plugin that is a command: one call of _start, and then it is gone. It also
// calls a function of the embedder's own with a handle.
#include <stdint.h>
#include <stdlib.h>

typedef uint64_t u64;

#define HOST(module, name) __attribute__((import_module("extism:host/" module), import_name(#name))) extern

HOST("env", input_length) u64 input_length(void);
HOST("env", input_load_u8) uint32_t input_load_u8(u64);
HOST("env", alloc) u64 ext_alloc(u64);
HOST("env", length) u64 length(u64);
HOST("env", store_u8) void store_u8(u64, uint32_t);
HOST("env", output_set) void output_set(u64, u64);
HOST("user", upper) u64 upper(u64);

int main(void) {
	u64 n = input_length(), to = ext_alloc(n);
	for (u64 at = 0; at < n; at++) store_u8(to + at, input_load_u8(at));
	u64 result = upper(to);
	output_set(result, length(result));
	exit(0);
}
