// Functions with typed scalars.
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))

static int32_t calls;

EXPORT(add) int32_t add(int32_t a, int32_t b) { return a + b; }
EXPORT(half) double half(double x) { return x / 2; }
EXPORT(count) int32_t count(void) { return ++calls; }
EXPORT(divide) int32_t divide(int32_t a, int32_t b) { return a / b; }
EXPORT(spin) void spin(void) { for (;;) calls++; }
EXPORT(burn) int64_t burn(int64_t n) { // some time of the CPU
	int64_t x = 1;
	for (int64_t i = 0; i < n; i++) x = x * 6364136223846793005 + i;
	return x;
}
