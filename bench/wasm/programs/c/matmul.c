// The product of two matrices of doubles, four times.
#include <stdio.h>

enum { N = 400 };
static double a[N][N], b[N][N], c[N][N];

int main(void) {
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) a[i][j] = i - j, b[i][j] = (i * j) % 7;
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < N; i++)
			for (int k = 0; k < N; k++) {
				double x = a[i][k];
				for (int j = 0; j < N; j++) c[i][j] += x * b[k][j];
			}
		a[round][round] += 1;
	}
	double sum = 0;
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++) sum += c[i][j] * ((i + 2 * j) % 5);
	printf("%.0f\n", sum);
}
