// CRC-32 by a table, a byte at a time.
#include <stdint.h>
#include <stdio.h>

static uint32_t table[256];
static uint8_t buf[1 << 20];

static uint32_t crc(uint32_t c, const uint8_t *p, size_t n) {
	c = ~c;
	for (; n; n--) c = table[(c ^ *p++) & 255] ^ c >> 8;
	return ~c;
}

int main(void) {
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
		table[i] = c;
	}
	for (size_t i = 0; i < sizeof buf; i++) buf[i] = (uint8_t)(i * i >> 3);
	uint32_t c = 0;
	for (int round = 0; round < 160; round++) c = crc(c, buf, sizeof buf);
	printf("%08x\n", c);
}
