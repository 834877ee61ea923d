// A plugin that calls the functions that its input says, with whatever
// parameters: 17 bytes each, a number and two parameters.
#include <stdint.h>

typedef uint64_t u64;

#define HOST(result, name, ...) __attribute__((import_module("extism:host/env"), import_name(#name))) extern result ext_##name(__VA_ARGS__)

HOST(u64, input_length, void);
HOST(uint32_t, input_load_u8, u64);
HOST(u64, input_load_u64, u64);
HOST(uint32_t, load_u8, u64);
HOST(u64, load_u64, u64);
HOST(void, store_u8, u64, uint32_t);
HOST(void, store_u64, u64, u64);
HOST(u64, alloc, u64);
HOST(void, free, u64);
HOST(u64, length, u64);
HOST(u64, length_unsafe, u64);
HOST(void, input_set, u64, u64);
HOST(void, output_set, u64, u64);
HOST(u64, output_offset, void);
HOST(u64, output_length, void);
HOST(void, error_set, u64);
HOST(u64, error_get, void);
HOST(u64, memory_bytes, void);
HOST(void, reset, void);
HOST(u64, config_get, u64);
HOST(u64, var_get, u64);
HOST(void, var_set, u64, u64);
HOST(u64, http_request, u64, u64);
HOST(int32_t, http_status_code, void);
HOST(u64, http_headers, void);
HOST(void, log_info, u64);

static unsigned char script[1 << 16];

__attribute__((export_name("run"))) int32_t run(void) {
	u64 n = ext_input_length(), last = 0;
	if (n > sizeof script) return 1;
	for (u64 at = 0; at < n; at++) script[at] = ext_input_load_u8(at);
	for (u64 at = 0; at + 17 <= n; at += 17) {
		u64 a, b;
		__builtin_memcpy(&a, script + at + 1, 8);
		__builtin_memcpy(&b, script + at + 9, 8);
		if (script[at] & 0x80) a += last; // of what was allocated last
		switch (script[at] & 0x1f) {
		case 0: case 1: case 2: last = ext_alloc(a); break;
		case 3: ext_free(a); break;
		case 4: ext_length(a), ext_length_unsafe(a); break;
		case 5: ext_input_set(a, b); break;
		case 6: case 7: ext_output_set(a, b); break;
		case 8: ext_output_offset(), ext_output_length(), ext_error_get(), ext_memory_bytes(); break;
		case 9: ext_error_set(a); break;
		case 10: ext_reset(); break;
		case 11: last = ext_config_get(a); break;
		case 12: last = ext_var_get(a); break;
		case 13: ext_var_set(a, b); break;
		case 14: last = ext_http_request(a, b); break;
		case 15: last = ext_http_headers(); break;
		case 16: ext_log_info(a); break;
		case 17: ext_load_u8(a), ext_load_u64(a); break;
		case 18: ext_store_u8(a, b); break;
		case 19: case 20: ext_store_u64(a, b); break;
		case 21: ext_input_load_u8(a), ext_input_load_u64(a); break;
		default: ext_http_status_code();
		}
	}
	return 0;
}
