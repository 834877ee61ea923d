// Compression with a hash table of earlier places, as LZ4 does, and back.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { SIZE = 4 << 20, BITS = 14 };
static uint8_t in[SIZE], out[SIZE + SIZE / 8], back[SIZE];
static uint32_t table[1 << BITS];

static uint32_t read32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }

static uint8_t *length(uint8_t *op, size_t n) {
	for (; n >= 255; n -= 255) *op++ = 255;
	*op++ = (uint8_t)n;
	return op;
}

static size_t pack(void) {
	uint8_t *op = out;
	size_t i = 0, literal = 0;
	memset(table, 0, sizeof table);
	while (i + 12 < SIZE) {
		uint32_t h = read32(in + i) * 2654435761u >> (32 - BITS), at = table[h];
		table[h] = (uint32_t)i;
		if (at >= i || i - at > 65535 || read32(in + at) != read32(in + i)) { i++; continue; }
		size_t n = 4;
		while (i + n < SIZE && in[at + n] == in[i + n]) n++;
		op = length(op, i - literal);
		memcpy(op, in + literal, i - literal), op += i - literal;
		*op++ = (uint8_t)(i - at), *op++ = (uint8_t)((i - at) >> 8);
		op = length(op, n);
		i += n, literal = i;
	}
	op = length(op, SIZE - literal);
	memcpy(op, in + literal, SIZE - literal), op += SIZE - literal;
	*op++ = 0, *op++ = 0;
	return (size_t)(op - out);
}

static size_t take(const uint8_t **ip) {
	size_t n = 0;
	uint8_t b;
	do n += b = *(*ip)++; while (b == 255);
	return n;
}

static size_t unpack(void) {
	const uint8_t *ip = out;
	uint8_t *op = back;
	for (;;) {
		size_t n = take(&ip);
		for (; n; n--) *op++ = *ip++;
		size_t far = ip[0] | (size_t)ip[1] << 8;
		ip += 2;
		if (far == 0) return (size_t)(op - back);
		for (n = take(&ip); n; n--, op++) *op = op[-(ptrdiff_t)far];
	}
}

int main(void) {
	static const char *words[] = {"the ", "ship ", "harbour ", "of ", "wind ", "and ", "sail ", "a ", "captain ", "under ", "stars ", "\n"};
	uint32_t seed = 7;
	for (size_t i = 0; i < SIZE;) {
		seed = seed * 1664525 + 1013904223;
		for (const char *w = words[(seed >> 24) % 12]; *w && i < SIZE; w++) in[i++] = (uint8_t)*w;
	}
	size_t n = 0;
	for (int round = 0; round < 8; round++) {
		in[round * 999] ^= 1;
		n = pack();
		if (unpack() != SIZE || memcmp(in, back, SIZE) != 0) return 1;
	}
	printf("%zu\n", n);
}
