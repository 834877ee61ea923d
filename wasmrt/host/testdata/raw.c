// A guest that calls each function of dhow:host with whatever it is told.
#include <stdint.h>

#define HOST(name) __attribute__((import_module("dhow:host"), import_name(#name)))
typedef int32_t i;
typedef int64_t I;

HOST(log) i f0(i, i, i);
HOST(last_error) i f1(i, i);
HOST(config_get) i f2(i, i, i, i);
HOST(secret_get) i f3(i, i, i, i);
HOST(kv_get) i f4(i, i, i, i);
HOST(kv_set) i f5(i, i, i, i);
HOST(kv_delete) i f6(i, i);
HOST(kv_list) i f7(i, i, i, i, i, i);
HOST(kv_add) i f8(i, i, I, i);
HOST(http_send) i f9(i, i, i, i);
HOST(http_status) i f10(i);
HOST(http_header) i f11(i, i, i, i, i);
HOST(http_headers) i f12(i, i, i);
HOST(invoke) i f13(i, i, i, i);
HOST(result_size) i f14(i);
HOST(result_read) i f15(i, i, i);
HOST(result_close) i f16(i);

static unsigned char room[1 << 16];

__attribute__((export_name("room"))) i where(void) { return (i)(intptr_t)room; }

__attribute__((export_name("call"))) i call(i f, I a, I b, I c, I d, I e, I g) {
  i A = (i)a, B = (i)b, C = (i)c, D = (i)d, E = (i)e, G = (i)g;
  switch (f) {
    case 0: return f0(A, B, C);
    case 1: return f1(A, B);
    case 2: return f2(A, B, C, D);
    case 3: return f3(A, B, C, D);
    case 4: return f4(A, B, C, D);
    case 5: return f5(A, B, C, D);
    case 6: return f6(A, B);
    case 7: return f7(A, B, C, D, E, G);
    case 8: return f8(A, B, c, D);
    case 9: return f9(A, B, C, D);
    case 10: return f10(A);
    case 11: return f11(A, B, C, D, E);
    case 12: return f12(A, B, C);
    case 13: return f13(A, B, C, D);
    case 14: return f14(A);
    case 15: return f15(A, B, C);
    case 16: return f16(A);
  }
  return -100;
}

__attribute__((export_name("flood"))) void flood(i n) {
  while (n-- > 0) f0(1, (i)(intptr_t)room, 1 << 30);
}

// put copies bytes into the room, 8 at a time.
__attribute__((export_name("put"))) void put(i at, I bytes) { *(I *)(room + at) = bytes; }
