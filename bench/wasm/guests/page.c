// An http-wasm handler: a small page that tells which URI was asked for.
#include <stdint.h>
#include <string.h>

#define HOST(name) __attribute__((import_module("http_handler"), import_name(#name))) extern

HOST(get_uri) uint32_t get_uri(void *, uint32_t);
HOST(set_header_value) void set_header_value(uint32_t, const void *, uint32_t, const void *, uint32_t);
HOST(write_body) void write_body(uint32_t, const void *, uint32_t);

__attribute__((export_name("handle_request"))) uint64_t handle_request(void) {
	static char page[1024] = "you asked for ";
	uint32_t n = get_uri(page + 14, 1000);
	if (n > 1000) n = 0;
	page[14 + n] = '\n';
	set_header_value(1, "Content-Type", 12, "text/plain", 10);
	write_body(1, page, 15 + n);
	return 0;
}

__attribute__((export_name("handle_response"))) void handle_response(uint32_t context, uint32_t is_error) {
	(void)context, (void)is_error;
}
