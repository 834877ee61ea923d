// Middleware that calls the functions that its configuration says, with
// whatever parameters: 21 bytes each, a number and five parameters.
#include <stdint.h>
#include <string.h>

typedef uint32_t u32;
typedef uint64_t u64;

#define HOST(result, name, ...) __attribute__((import_module("http_handler"), import_name(#name))) extern result name(__VA_ARGS__)

HOST(u32, enable_features, u32);
HOST(u32, get_config, u32, u32);
HOST(void, log, int32_t, u32, u32);
HOST(u32, log_enabled, int32_t);
HOST(u32, get_method, u32, u32);
HOST(void, set_method, u32, u32);
HOST(u32, get_uri, u32, u32);
HOST(void, set_uri, u32, u32);
HOST(u32, get_protocol_version, u32, u32);
HOST(u32, get_source_addr, u32, u32);
HOST(u64, get_header_names, u32, u32, u32);
HOST(u64, get_header_values, u32, u32, u32, u32, u32);
HOST(void, set_header_value, u32, u32, u32, u32, u32);
HOST(void, add_header_value, u32, u32, u32, u32, u32);
HOST(void, remove_header, u32, u32, u32);
HOST(u64, read_body, u32, u32, u32);
HOST(void, write_body, u32, u32, u32);
HOST(u32, get_status_code, void);
HOST(void, set_status_code, u32);

static unsigned char script[1 << 14];

static void run(void) {
	u32 n = get_config((u32)script, sizeof script);
	if (n > sizeof script) return;
	for (u32 at = 0; at + 21 <= n; at += 21) {
		u32 p[5];
		memcpy(p, script + at + 1, sizeof p);
		if (script[at] & 0x80) p[1] = (u32)script + p[1] % sizeof script, p[2] %= 64;
		if (script[at] & 0x40) p[3] = (u32)script + p[3] % sizeof script, p[4] %= 64;
		switch (script[at] & 0x1f) {
		case 0: enable_features(p[0]); break;
		case 1: get_config(p[1], p[2]); break;
		case 2: log(p[0], p[1], p[2]), log_enabled(p[0]); break;
		case 3: get_method(p[1], p[2]); break;
		case 4: set_method(p[1], p[2]); break;
		case 5: get_uri(p[1], p[2]); break;
		case 6: set_uri(p[1], p[2]); break;
		case 7: get_protocol_version(p[1], p[2]); break;
		case 8: get_source_addr(p[1], p[2]); break;
		case 9: get_header_names(p[0], p[1], p[2]); break;
		case 10: get_header_values(p[0], p[1], p[2], p[3], p[4]); break;
		case 11: set_header_value(p[0], p[1], p[2], p[3], p[4]); break;
		case 12: add_header_value(p[0], p[1], p[2], p[3], p[4]); break;
		case 13: remove_header(p[0], p[1], p[2]); break;
		case 14: read_body(p[0], p[1], p[2]); break;
		case 15: write_body(p[0], p[1], p[2]); break;
		case 16: get_status_code(); break;
		case 17: set_status_code(p[0]); break;
		}
	}
}

__attribute__((export_name("handle_request"))) u64 handle_request(void) {
	run();
	return 1;
}

__attribute__((export_name("handle_response"))) void handle_response(u32 ctx, u32 is_error) {
	if (!is_error) run();
}
