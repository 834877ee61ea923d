// Hoare's quicksort, and insertion for the small ends.
#include <stdint.h>
#include <stdio.h>

enum { N = 3000000 };
static uint32_t v[N];

static void sort(uint32_t *a, int n) {
	while (n > 16) {
		uint32_t pivot = a[n / 2];
		int i = 0, j = n - 1;
		for (;; i++, j--) {
			while (a[i] < pivot) i++;
			while (a[j] > pivot) j--;
			if (i >= j) break;
			uint32_t t = a[i];
			a[i] = a[j], a[j] = t;
		}
		sort(a, i);
		a += i, n -= i;
	}
	for (int i = 1; i < n; i++) {
		uint32_t x = a[i];
		int j = i;
		for (; j > 0 && a[j - 1] > x; j--) a[j] = a[j - 1];
		a[j] = x;
	}
}

int main(void) {
	uint32_t seed = 1, sum = 0;
	for (int i = 0; i < N; i++) v[i] = seed = seed * 1664525 + 1013904223;
	sort(v, N);
	for (int i = 1; i < N; i++) {
		if (v[i - 1] > v[i]) return 1;
		sum += v[i] * (uint32_t)i;
	}
	printf("%u\n", sum);
}
