// Middleware in C, by the interface alone. What it does with a request is in
// the request's header "do".
#include <stdint.h>
#include <string.h>

typedef uint32_t u32;
typedef uint64_t u64;

#define HOST(name) __attribute__((import_module("http_handler"), import_name(#name))) extern

HOST(enable_features) u32 enable_features(u32);
HOST(get_config) u32 get_config(void *, u32);
HOST(log) void log_message(int32_t, const void *, u32);
HOST(log_enabled) u32 log_enabled(int32_t);
HOST(get_method) u32 get_method(void *, u32);
HOST(set_method) void set_method(const void *, u32);
HOST(get_uri) u32 get_uri(void *, u32);
HOST(set_uri) void set_uri(const void *, u32);
HOST(get_protocol_version) u32 get_protocol_version(void *, u32);
HOST(get_source_addr) u32 get_source_addr(void *, u32);
HOST(get_header_names) u64 get_header_names(u32, void *, u32);
HOST(get_header_values) u64 get_header_values(u32, const void *, u32, void *, u32);
HOST(set_header_value) void set_header_value(u32, const void *, u32, const void *, u32);
HOST(add_header_value) void add_header_value(u32, const void *, u32, const void *, u32);
HOST(remove_header) void remove_header(u32, const void *, u32);
HOST(read_body) u64 read_body(u32, void *, u32);
HOST(write_body) void write_body(u32, const void *, u32);
HOST(get_status_code) u32 get_status_code(void);
HOST(set_status_code) void set_status_code(u32);

enum { request, response, request_trailers, response_trailers };
enum { buffer_request = 1, buffer_response = 2, trailers = 4 };

static char what[64], buf[1 << 20];
static u32 initial;

#define S(s) s, sizeof(s) - 1
#define is(s) (strcmp(what, s) == 0)

static u32 header(u32 kind, const char *name, char *to, u32 limit) {
	u64 n = get_header_values(kind, name, strlen(name), to, limit);
	return (u32)n > limit ? 0 : (u32)n;
}

static u32 body(u32 kind) {
	u32 have = 0;
	u64 r;
	do {
		r = read_body(kind, buf + have, sizeof buf - have);
		have += (u32)r;
	} while (!(r >> 32));
	return have;
}

__attribute__((constructor)) static void initialize(void) {
	char c;
	if (get_config(&c, 1) == 1 && c == '+') initial = enable_features(buffer_request | buffer_response | trailers);
	char message[] = "initialised 0";
	message[12] += initial;
	log_message(0, message, 13);
	log_message(-1, S("not seen"));
}

static void tell(void) {
	u32 n;
	n = get_method(buf, sizeof buf), write_body(response, buf, n), write_body(response, S(" "));
	n = get_uri(buf, sizeof buf), write_body(response, buf, n), write_body(response, S(" "));
	n = get_protocol_version(buf, sizeof buf), write_body(response, buf, n), write_body(response, S(" "));
	if (get_source_addr(buf, sizeof buf) > 8) write_body(response, S("from somewhere "));
	n = (u32)get_header_names(request, buf, sizeof buf), write_body(response, buf, n);
	n = header(request, "x-MANY", buf, sizeof buf), write_body(response, buf, n);
	n = get_config(buf, sizeof buf), write_body(response, buf, n);
}

__attribute__((export_name("handle_request"))) u64 handle_request(void) {
	memset(what, 0, sizeof what);
	header(request, "do", what, sizeof what - 1);
	if (is("tell")) {
		set_status_code(203);
		set_header_value(response, S("X-Answer"), S("old"));
		set_header_value(response, S("x-answer"), S("guest"));
		add_header_value(response, S("X-Answer"), S("too"));
		tell();
		return 0;
	}
	if (is("nothing")) return 0;
	if (is("deny")) return set_status_code(401), 0;
	if (is("change")) {
		set_method(S("PUT"));
		set_uri(S("/new%20path?a=b"));
		set_header_value(request, S("X-Set"), S("1"));
		add_header_value(request, S("X-Many"), S("three"));
		remove_header(request, S("X-Gone"));
		set_header_value(request, S("Host"), S("example.com"));
		write_body(request, S("another "));
		write_body(request, S("body"));
		return 1;
	}
	if (is("peek") || is("peek later")) enable_features(buffer_request);
	if (is("peek") || is("consume")) {
		u32 n = body(request);
		set_header_value(request, S("X-Body"), buf, n);
	}
	if (is("replace") || is("see")) enable_features(buffer_response | trailers);
	if (is("rescue")) enable_features(buffer_response);
	if (is("trap")) __builtin_trap();
	if (is("spin"))
		for (volatile int n = 0;; n++) {}
	if (is("read far")) return read_body(request, (void *)0xfffffff0, 4096);
	if (is("read none")) return read_body(request, buf, 0);
	if (is("write far")) write_body(response, (void *)0x7ffffff0, 100);
	if (is("config far")) get_config((void *)0x7ffffff0, 100);
	if (is("names far")) get_header_names(request, (void *)0xfffffffe, 10000);
	if (is("bad kind")) get_header_names(4, buf, 1);
	if (is("bad body")) read_body(2, buf, 1);
	if (is("bad name")) set_header_value(response, S("a b"), S("c"));
	if (is("bad value")) set_header_value(request, S("a"), S("b\r\nc: d"));
	if (is("bad status")) set_status_code(1000);
	if (is("bad method")) set_method(S("GET /"));
	if (is("bad uri")) set_uri(S("http://example.com/"));
	if (is("smuggle")) set_header_value(request, S("transfer-encoding"), S("chunked"));
	if (is("trailers unasked")) set_header_value(response_trailers, S("a"), S("b"));
	memset(buf, 'x', 1000);
	if (is("many fields"))
		for (;;) add_header_value(response, S("X-Long"), buf, 1000);
	if (is("large body"))
		for (;;) write_body(request, buf, sizeof buf);
	if (is("partial")) {
		write_body(response, S("half an answer"));
		__builtin_trap();
	}
	return (u64)(0x1234 + what[0]) << 32 | 1;
}

__attribute__((export_name("handle_response"))) void handle_response(u32 ctx, u32 is_error) {
	if (ctx == 0) return;
	if (ctx != 0x1234 + what[0]) __builtin_trap();
	if (is_error) log_message(2, S("the next handler failed"));
	if (is("see") || is("replace")) {
		char status[3];
		u32 s = get_status_code();
		for (int n = 2; n >= 0; n--, s /= 10) status[n] = '0' + s % 10;
		set_header_value(response, S("X-Status"), status, 3);
		set_header_value(response, S("X-Next"), S("changed"));
		u32 n;
		if (is("see")) {
			set_header_value(response_trailers, S("X-Trailer"), S("guest's"));
			n = (u32)get_header_names(response_trailers, buf, sizeof buf);
			add_header_value(response, S("X-Trailers"), buf, n - 1);
		}
		n = body(response);
		for (u32 at = 0; at < n; at++)
			if (buf[at] >= 'a' && buf[at] <= 'z') buf[at] -= 32;
		if (is("replace")) {
			set_status_code(299);
			write_body(response, S(">"));
			write_body(response, buf, n);
		}
	}
	if (is("rescue") && is_error) {
		set_status_code(599);
		write_body(response, S("sorry"));
	}
	if (is("peek later")) {
		u32 n = body(request);
		log_message(1, buf, n);
	}
	if (is("late status")) set_status_code(500);
	if (is("late header")) set_header_value(response, S("a"), S("b"));
	if (is("late body")) write_body(response, S("a"));
	if (is("late request")) set_header_value(request, S("a"), S("b"));
	if (is("trap late")) __builtin_trap();
}
