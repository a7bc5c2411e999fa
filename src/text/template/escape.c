#include "text/template/escape.h"

#include <string.h>

#include "text/utf8.h"

static int hex_digit(char c) {
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c >= 'A' && c <= 'Z' ? c + 32 : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static void put_point(ar_buf *out, uint32_t point) {
    char bytes[4];
    ar__buf_add(out, bytes, ar__utf8_put(bytes, point));
}

/* \x, \u, \U with so many digits; the bytes read, 0 where they are wrong. */
static size_t put_hex(ar_buf *out, const char *s, size_t n, size_t count) {
    uint32_t point = 0;
    if (n < count) return 0;
    for (size_t i = 0; i < count; i++) {
        int digit = hex_digit(s[i]);
        if (digit < 0) return 0;
        point = point << 4 | (uint32_t)digit;
    }
    if (point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return 0;
    put_point(out, point);
    return count;
}

static size_t put_octal(ar_buf *out, const char *s, size_t n) {
    uint32_t point = 0;
    size_t i = 0;
    for (; i < 3 && i < n && s[i] >= '0' && s[i] < '8'; i++) point = point << 3 | (uint32_t)(s[i] - '0');
    put_point(out, point);
    return i;
}

/* A backslash before what is not ASCII: both stay, the character as Python spells it. */
static size_t put_spelt(ar_buf *out, const char *s) {
    size_t len;
    uint32_t c = ar__utf8_get(s, &len);
    ar__buf_printf(out, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
    return len;
}

/* Behind a backslash: the bytes read, 0 where they are wrong. */
static size_t put_escape(ar_buf *out, const char *s, size_t n) {
    static const char letters[] = "\n\\'\"abfnrtv", means[] = "\0\\'\"\a\b\f\n\r\t\v";
    const char *at = *s ? strchr(letters, *s) : NULL;
    if (*s == '\n') return 1;
    if (at) {
        ar__buf_add(out, &means[at - letters], 1);
        return 1;
    }
    size_t hex = *s == 'x' ? 2 : *s == 'u' ? 4 : *s == 'U' ? 8 : 0;
    if (hex) {
        size_t read = put_hex(out, s + 1, n - 1, hex);
        return read ? 1 + read : 0;
    }
    if (*s >= '0' && *s < '8') return put_octal(out, s, n);
    if (*s == 'N') return 0;
    if ((unsigned char)*s >= 0x80) return put_spelt(out, s);
    ar__buf_add(out, "\\", 1); /* no escape: both stay */
    ar__buf_add(out, s, 1);
    return 1;
}

const char *ar__j_unescape(ar_buf *out, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        if (s[i] != '\\') {
            ar__buf_add(out, s + i, 1);
            i++;
            continue;
        }
        size_t read = i + 1 < n ? put_escape(out, s + i + 1, n - i - 1) : 0;
        if (!read) return "a string has an escape that is wrong, or not supported (\\N, surrogates)";
        i += 1 + read;
    }
    return NULL;
}
