// An http-wasm handler that answers by itself: with its configuration and the
// request's body, at /fail with 500.
#include <stdint.h>

typedef uint32_t u32;
typedef uint64_t u64;

#define HOST(result, name, ...) __attribute__((import_module("http_handler"), import_name(#name))) extern result name(__VA_ARGS__)

HOST(u32, get_config, void *, u32);
HOST(u32, get_uri, void *, u32);
HOST(u64, read_body, u32, void *, u32);
HOST(void, write_body, u32, const void *, u32);
HOST(void, set_status_code, u32);
HOST(void, set_header_value, u32, const void *, u32, const void *, u32);

static char buf[65536];

__attribute__((export_name("handle_request"))) u64 handle_request(void) {
	u32 n = get_uri(buf, sizeof buf);
	if (n == 5 && buf[1] == 'f') {
		set_status_code(500);
		return 0;
	}
	set_header_value(1, "X-Guest", 7, "yes", 3);
	n = get_config(buf, sizeof buf);
	write_body(1, buf, n);
	for (;;) {
		u64 got = read_body(0, buf, sizeof buf);
		write_body(1, buf, (u32)got);
		if (got >> 32) return 0;
	}
}

__attribute__((export_name("handle_response"))) void handle_response(u32 context, u32 error) {
	(void)context;
	(void)error;
}
