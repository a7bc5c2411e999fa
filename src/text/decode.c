#include "text/decode.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "text/bytemap.h"
#include "text/utf8.h"

static const char REPLACEMENT[] = "\xEF\xBF\xBD";

/* The length of the part at s that could have begun a character but did not become one (at least 1). */
static size_t bad_part(const unsigned char *s, size_t n) {
    size_t want = s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3 : 1;
    unsigned low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80, high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    if (want == 1 || n < 2 || s[1] < low || s[1] > high) return 1;
    return want == 4 && n >= 3 && (s[2] & 0xC0) == 0x80 ? 3 : 2;
}

void ar__utf8_lossy(ar_buf *out, const char *s, size_t n) {
    while (n) {
        size_t good = ar__utf8_valid(s, n);
        ar__buf_add(out, s, good);
        s += good;
        n -= good;
        if (!n) return;
        size_t bad = bad_part((const unsigned char *)s, n);
        ar__buf_puts(out, REPLACEMENT);
        s += bad;
        n -= bad;
    }
}

/* Writes the next text of a step's result. */
static void put_piece(ar_pieces *out, size_t at) { ar__pieces_add(out, (ar_piece){.at = at, .len = out->text.len - at, .id = -1}); }

/* A token whose every character is of the byte alphabet stands for bytes; any other for itself. */
static void put_token_bytes(ar_buf *out, const char *s, size_t n) {
    size_t before = out->len, len;
    for (size_t i = 0; i < n; i += len) {
        int b = ar__bytemap_byte(ar__utf8_get(s + i, &len));
        if (b < 0) {
            out->len = before;
            ar__buf_add(out, s, n);
            return;
        }
        char byte = (char)b;
        ar__buf_add(out, &byte, 1);
    }
}

static void bytes(const ar_pieces *in, ar_pieces *out) {
    ar_buf raw = {0};
    for (size_t i = 0; i < in->count; i++) put_token_bytes(&raw, in->text.data + in->piece[i].at, in->piece[i].len);
    ar__utf8_lossy(&out->text, raw.data, raw.len);
    out->failed |= raw.failed;
    ar__buf_release(&raw);
    put_piece(out, 0);
}

static int byte_token(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || !isxdigit((unsigned char)s[3]) || !isxdigit((unsigned char)s[4])) return -1;
    char hex[3] = {s[3], s[4], 0};
    return (int)strtol(hex, NULL, 16);
}

static void put_byte_run(ar_pieces *out, ar_buf *raw) {
    if (!raw->len) return;
    size_t at = out->text.len;
    if (ar__utf8_valid(raw->data, raw->len) == raw->len) {
        ar__buf_add(&out->text, raw->data, raw->len);
        put_piece(out, at);
    } else {
        for (size_t i = 0; i < raw->len; i++) {
            at = out->text.len;
            ar__buf_puts(&out->text, REPLACEMENT);
            put_piece(out, at);
        }
    }
    ar__buf_clear(raw);
}

static void byte_fallback(const ar_pieces *in, ar_pieces *out) {
    ar_buf raw = {0};
    for (size_t i = 0; i < in->count; i++) {
        const char *s = in->text.data + in->piece[i].at;
        int b = byte_token(s, in->piece[i].len);
        if (b >= 0) {
            char byte = (char)b;
            ar__buf_add(&raw, &byte, 1);
            continue;
        }
        put_byte_run(out, &raw);
        size_t at = out->text.len;
        ar__buf_add(&out->text, s, in->piece[i].len);
        put_piece(out, at);
    }
    put_byte_run(out, &raw);
    out->failed |= raw.failed;
    ar__buf_release(&raw);
}

static void strip(const ar_decode_step *step, const char *s, size_t n, ar_buf *out) {
    size_t k = step->text_len;
    for (size_t i = 0; i < step->start && n >= k && memcmp(s, step->text, k) == 0; i++) {
        s += k;
        n -= k;
    }
    for (size_t i = 0; i < step->stop && n >= k && memcmp(s + n - k, step->text, k) == 0; i++) n -= k;
    ar__buf_add(out, s, n);
}

/* Copies s with every match of `what` replaced. */
static void put_replaced(ar_buf *out, const char *s, size_t n, const char *what, size_t what_len, const char *with) {
    const char *hit;
    while (what_len && (hit = memmem(s, n, what, what_len))) {
        ar__buf_add(out, s, (size_t)(hit - s));
        ar__buf_puts(out, with);
        n -= (size_t)(hit - s) + what_len;
        s = hit + what_len;
    }
    ar__buf_add(out, s, n);
}

static ar_status replace(const ar_decode_step *step, const char *s, size_t n, ar_buf *out, ar_matcher *matcher, ar_error *err) {
    ar_scan scan = {.pattern = step->pattern, .matcher = matcher, .text = s, .n = n};
    size_t last = 0, from, to;
    int found = 0;
    while (n && (found = ar__scan_next(&scan, &from, &to, err)) == 1) {
        ar__buf_add(out, s + last, from - last);
        ar__buf_add(out, step->text, step->text_len);
        last = to;
    }
    ar__buf_add(out, s + last, n - last);
    return found < 0 ? AR_ERR_UNSUPPORTED : AR_OK;
}

static const char *const CLEANUP[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                         {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                         {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};

static void wordpiece(const ar_decode_step *step, const char *s, size_t n, size_t index, ar_buf *out) {
    ar_buf text = {0}, next = {0};
    bool glued = index && n >= step->text_len && memcmp(s, step->text, step->text_len) == 0;
    if (index && !glued) ar__buf_puts(&text, " ");
    if (glued)
        ar__buf_add(&text, s + step->text_len, n - step->text_len);
    else
        ar__buf_add(&text, s, n);
    for (size_t i = 0; step->drop && i < sizeof CLEANUP / sizeof *CLEANUP; i++) {
        ar__buf_clear(&next);
        put_replaced(&next, text.data, text.len, CLEANUP[i][0], strlen(CLEANUP[i][0]), CLEANUP[i][1]);
        ar_buf was = text;
        text = next;
        next = was;
    }
    ar__buf_add(out, text.data, text.len);
    out->failed |= text.failed || next.failed;
    ar__buf_release(&text);
    ar__buf_release(&next);
}

static ar_status each(const ar_decode_step *step, const ar_pieces *in, ar_pieces *out, ar_matcher *matcher, ar_error *err) {
    ar_status status = AR_OK;
    for (size_t i = 0; !status && i < in->count; i++) {
        const char *s = in->text.data + in->piece[i].at;
        size_t n = in->piece[i].len, at = out->text.len;
        if (step->kind == AR_DECODE_STRIP)
            strip(step, s, n, &out->text);
        else if (step->kind == AR_DECODE_REPLACE)
            status = replace(step, s, n, &out->text, matcher, err);
        else if (step->kind == AR_DECODE_META)
            put_replaced(&out->text, s, n, step->text, step->text_len, i == 0 && step->drop ? "" : " ");
        else if (step->kind == AR_DECODE_SUFFIX)
            put_replaced(&out->text, s, n, step->text, step->text_len, i + 1 == in->count ? "" : " ");
        else
            wordpiece(step, s, n, i, &out->text);
        put_piece(out, at);
    }
    return status;
}

static void join(ar_buf *out, const ar_pieces *in, const char *between) {
    for (size_t i = 0; i < in->count; i++) {
        if (i) ar__buf_puts(out, between);
        ar__buf_add(out, in->text.data + in->piece[i].at, in->piece[i].len);
    }
}

static ar_status run_step(const ar_decode_step *step, const ar_pieces *in, ar_pieces *out, ar_matcher *matcher, ar_error *err) {
    switch (step->kind) {
    case AR_DECODE_BYTES: bytes(in, out); return AR_OK;
    case AR_DECODE_BYTE_FALLBACK: byte_fallback(in, out); return AR_OK;
    case AR_DECODE_FUSE:
        join(&out->text, in, "");
        put_piece(out, 0);
        return AR_OK;
    default: return each(step, in, out, matcher, err);
    }
}

ar_status ar__decoder_run(ar_buf *out, const ar_decoder *d, ar_pieces *pieces, ar_pieces *spare, ar_matcher *matcher, ar_error *err) {
    for (size_t i = 0; i < d->count; i++) {
        ar__pieces_clear(spare);
        ar__buf_add(&spare->text, "", 0);
        ar_status s = run_step(&d->step[i], pieces, spare, matcher, err);
        if (s) return s;
        ar_pieces was = *pieces;
        *pieces = *spare;
        *spare = was;
        if (pieces->failed || pieces->text.failed) return ar__fail_memory(err, "decode");
    }
    join(out, pieces, d->none ? " " : "");
    return out->failed ? ar__fail_memory(err, "decode") : AR_OK;
}

void ar__decoder_release(ar_decoder *d) {
    for (size_t i = 0; i < d->count; i++) {
        ar__pattern_free(d->step[i].pattern);
        free(d->step[i].text);
    }
    free(d->step);
    *d = (ar_decoder){0};
}
