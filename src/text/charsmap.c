#include "text/charsmap.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "text/utf8.h"

static uint32_t u32_at(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

ar_status ar__charsmap_read(ar_charsmap *out, const void *blob, size_t n, ar_error *err) {
    const unsigned char *p = blob;
    *out = (ar_charsmap){0};
    if (n == 0) return AR_OK;
    size_t trie = n >= 4 ? u32_at(p) : SIZE_MAX;
    if (n < 4 || trie > n - 4 || trie % 4 || trie < 4) {
        return ar__fail(err, AR_ERR_FORMAT, "character map of %zu bytes: its trie of %zu bytes does not fit", n, trie);
    }
    out->unit_count = trie / 4;
    out->unit = ar__alloc(out->unit_count, sizeof *out->unit);
    out->text_len = n - 4 - trie;
    out->text = ar__strndup((const char *)p + 4 + trie, out->text_len);
    if (!out->unit || !out->text) {
        ar__charsmap_release(out);
        return ar__fail_memory(err, "character map");
    }
    if (ar__utf8_valid(out->text, out->text_len) != out->text_len) {
        ar__charsmap_release(out);
        return ar__fail(err, AR_ERR_FORMAT, "character map of %zu bytes: its texts are not UTF-8", n);
    }
    for (size_t i = 0; i < out->unit_count; i++) out->unit[i] = u32_at(p + 4 + i * 4);
    return AR_OK;
}

void ar__charsmap_release(ar_charsmap *m) {
    free(m->unit);
    free(m->text);
    *m = (ar_charsmap){0};
}

/* Whether a character may start at p: damaged maps must not cut one. */
static bool at_boundary(const char *p) { return ((unsigned char)*p & 0xC0) != 0x80; }

static size_t offset_of(uint32_t unit) { return (size_t)(unit >> 10) << ((unit & 0x200) >> 6); }

size_t ar__charsmap_find(const ar_charsmap *m, const char *s, size_t n, bool longest, const char **to, size_t *to_len) {
    size_t best = 0, value = 0;
    if (!m->unit) return 0;
    size_t at = offset_of(m->unit[0]);
    for (size_t i = 0; i < n && s[i]; i++) {
        unsigned char byte = (unsigned char)s[i];
        at ^= byte;
        if (at >= m->unit_count || (m->unit[at] & 0x800000FF) != byte) break;
        uint32_t unit = m->unit[at];
        at ^= offset_of(unit);
        if (!(unit >> 8 & 1)) continue;
        if (at >= m->unit_count) break;
        size_t start = m->unit[at] & 0x7FFFFFFF;
        if (start > m->text_len || !at_boundary(m->text + start) || (i + 1 < n && !at_boundary(s + i + 1))) continue;
        best = i + 1;
        value = start;
        if (!longest) break;
    }
    if (!best) return 0;
    *to = m->text + value;
    *to_len = strlen(*to);
    return best;
}
