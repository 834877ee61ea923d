// A guest with state: what its initialisation made, and what calls change.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

static int64_t counter, prepared;
static uint64_t state = 1;
static char *heap;
static char text[] = "data of the module";

__attribute__((constructor)) static void prepare(void) {
	prepared = 42;
	heap = malloc(100000);
	memset(heap, 7, 100000);
}

static int64_t plus(int64_t n) { return counter + n; }
static int64_t minus(int64_t n) { return counter - n; }
static int64_t (*volatile ops[])(int64_t) = {plus, minus};

EXPORT("add") int64_t add(int64_t n) { return counter = ops[n < 0](n < 0 ? -n : n); }
EXPORT("word") int64_t word(int64_t n) { return n < 100000 ? prepared + heap[n] + text[0] : -1; }
EXPORT("random") int64_t random_(void) {
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (int64_t)(state >> 1);
}
EXPORT("dhow_reseed") void reseed(uint64_t seed) { state = seed | 1; }
EXPORT("grow") int64_t grow(int64_t n) {
	char *volatile b = malloc((size_t)n);
	if (!b) return 0;
	memset(b, 1, (size_t)n);
	return n;
}
EXPORT("fail") int64_t fail(void) { __builtin_trap(); }
