#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* The length of the valid character at p, 0 if there is none (Unicode, table 3-7). */
static size_t char_at(const unsigned char *p, size_t n) {
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xC2 || n < 2 || p[0] > 0xF4) return 0;
    if (p[0] < 0xE0) return (p[1] & 0xC0) == 0x80 ? 2 : 0;
    unsigned low = 0x80, high = 0xBF;
    if (p[0] == 0xE0) low = 0xA0;
    if (p[0] == 0xED) high = 0x9F;
    if (p[0] == 0xF0) low = 0x90;
    if (p[0] == 0xF4) high = 0x8F;
    if (p[1] < low || p[1] > high || n < 3 || (p[2] & 0xC0) != 0x80) return 0;
    if (p[0] < 0xF0) return 3;
    return n >= 4 && (p[3] & 0xC0) == 0x80 ? 4 : 0;
}

size_t ar__utf8_valid(const char *s, size_t n) {
    const unsigned char *p = (const unsigned char *)s;
    size_t i = 0;
    while (i < n) {
        uint64_t word;
        while (n - i >= 8) { /* eight ASCII bytes at a time */
            memcpy(&word, p + i, 8);
            if (word & 0x8080808080808080u) break;
            i += 8;
        }
        if (i == n) break;
        size_t len = char_at(p + i, n - i);
        if (!len) break;
        i += len;
    }
    return i;
}
