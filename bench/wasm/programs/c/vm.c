// A stack machine's interpreter: counts the primes below a bound.
#include <stdint.h>
#include <stdio.h>

enum { PUSH, LOAD, STORE, ADD, MUL, MOD, LESS, JUMPZ, JUMP, HALT };

// for n = 2; n < 180000; n++ { for d = 2; d*d < n+1; d++ { if n%d == 0 goto next }; count++ }
static const int32_t code[] = {
	/*  0 start */ PUSH, 2, STORE, 0,
	/*  4 outer */ LOAD, 0, PUSH, 180000, LESS, JUMPZ, 60, PUSH, 2, STORE, 1,
	/* 15 inner */ LOAD, 1, LOAD, 1, MUL, LOAD, 0, PUSH, 1, ADD, LESS, JUMPZ, 44, LOAD, 0, LOAD, 1, MOD, JUMPZ, 51, LOAD, 1, PUSH, 1, ADD, STORE, 1, JUMP, 15,
	/* 44 prime */ LOAD, 2, PUSH, 1, ADD, STORE, 2,
	/* 51 next  */ LOAD, 0, PUSH, 1, ADD, STORE, 0, JUMP, 4,
	/* 60 end   */ HALT,
};

static int32_t run(const int32_t *code, int32_t *vars) {
	int32_t stack[64], *sp = stack, steps = 0;
	for (const int32_t *pc = code;; steps++) {
		switch (*pc++) {
		case PUSH: *sp++ = *pc++; break;
		case LOAD: *sp++ = vars[*pc++]; break;
		case STORE: vars[*pc++] = *--sp; break;
		case ADD: sp--; sp[-1] += *sp; break;
		case MUL: sp--; sp[-1] *= *sp; break;
		case MOD: sp--; sp[-1] %= *sp; break;
		case LESS: sp--; sp[-1] = sp[-1] < *sp; break;
		case JUMPZ: pc = *--sp ? pc + 1 : code + *pc; break;
		case JUMP: pc = code + *pc; break;
		case HALT: return steps;
		}
	}
}

int main(void) {
	int32_t vars[3] = {0};
	int32_t steps = run(code, vars);
	printf("%d primes, %d steps\n", vars[2], steps);
}
