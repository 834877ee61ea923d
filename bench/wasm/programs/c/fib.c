// Calls and nothing else: Fibonacci's numbers, the slow way.
#include <stdio.h>

static __attribute__((noinline)) int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

int main(void) {
	volatile int n = 39;
	printf("%d\n", fib(n));
}
