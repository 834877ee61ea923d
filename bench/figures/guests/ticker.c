// The ticker of examples/guests in C: as little guest as there can be, so that
// what is measured with it is dhow's own.
#include <stdio.h>
#include <unistd.h>

int main(void) {
	for (int n = 1;; n++) {
		printf("tick %d\n", n);
		fflush(stdout);
		sleep(1);
	}
}
