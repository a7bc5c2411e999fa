#include "text/bytemap.h"

static uint32_t point_of(unsigned char b) {
    if ((b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD)) return b;
    if (b <= 0x20) return 0x100u + b;
    if (b <= 0xA0) return 0x121u + (b - 0x7Fu); /* 0x7F … 0xA0 follow the 33 below the exclamation mark */
    return 0x143;                               /* 0xAD comes last */
}

int ar__bytemap_byte(uint32_t c) {
    if (c <= 0xFF && point_of((unsigned char)c) == c) return (int)c;
    if (c >= 0x100 && c <= 0x120) return (int)c - 0x100;
    if (c >= 0x121 && c <= 0x142) return (int)c - 0x121 + 0x7F;
    return c == 0x143 ? 0xAD : -1;
}

void ar__bytemap_put(ar_buf *out, const char *s, size_t n) {
    char block[512];
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)s[i];
        if (used + 2 > sizeof block) {
            ar__buf_add(out, block, used);
            used = 0;
        }
        if (b > 0x20 && b < 0x7F) {
            block[used++] = (char)b;
            continue;
        }
        uint32_t c = point_of(b);
        block[used++] = (char)(0xC0 | c >> 6);
        block[used++] = (char)(0x80 | (c & 0x3F));
    }
    ar__buf_add(out, block, used);
}
