// qsort of the C library, with a comparison through a pointer, and a check.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 700000 };
static uint32_t v[N];

static int less(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

int main(void) {
	uint32_t seed = 1, sum = 0;
	for (int i = 0; i < N; i++) v[i] = seed = seed * 1664525 + 1013904223;
	qsort(v, N, sizeof *v, less);
	for (int i = 1; i < N; i++) {
		if (v[i - 1] > v[i]) return 1;
		sum += v[i] * (uint32_t)i;
	}
	printf("%u\n", sum);
}
