/* The header of a .npy array (numpy.lib.format): a Python dict with the keys descr, fortran_order and shape. */
#include "format/npy.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fail.h"
#include "base/mem.h"

/* The header's text and where reading stands; on failure `wanted` says what should have stood there. */
struct scan {
    const char *at, *end, *wanted;
};

struct header {
    char descr[8];
    bool fortran, seen_descr, seen_fortran, seen_shape;
};

static void skip_space(struct scan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n')) s->at++;
}

static bool next_is(struct scan *s, const char *token) {
    size_t n = strlen(token);
    skip_space(s);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, token, n) != 0) return false;
    s->at += n;
    return true;
}

static bool need(struct scan *s, const char *token) { return next_is(s, token) || (s->wanted = token, false); }

/* 'text' or "text" without escapes, cut to the size of out. */
static bool read_string(char *out, size_t size, struct scan *s) {
    s->wanted = "a short string";
    skip_space(s);
    if (s->at == s->end || (*s->at != '\'' && *s->at != '"')) return false;
    const char *begin = s->at + 1, *close = memchr(begin, *s->at, (size_t)(s->end - begin));
    if (!close || (size_t)(close - begin) >= size) return false;
    memcpy(out, begin, (size_t)(close - begin));
    out[close - begin] = '\0';
    s->at = close + 1;
    return true;
}

static bool read_size(int64_t *out, struct scan *s) {
    int64_t v = 0;
    skip_space(s);
    const char *begin = s->at;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *s->at - '0', &v)) return false;
    *out = v;
    return s->at > begin;
}

/* (), (3,), (2, 3), and MLX's (2, 3, ) */
static bool read_shape(ar_npz_array *a, struct scan *s) {
    if (!need(s, "(")) return false;
    s->wanted = "a shape of at most 8 sizes";
    while (!next_is(s, ")")) {
        if (a->dims == AR_NPZ_MAX_DIMS || !read_size(&a->shape[a->dims], s)) return false;
        a->dims++;
        bool comma = next_is(s, ",");
        if (!comma) return need(s, ")");
    }
    return true;
}

static bool read_bool(bool *out, struct scan *s) {
    *out = next_is(s, "True");
    return *out || next_is(s, "False") || (s->wanted = "True or False", false);
}

static bool read_pair(ar_npz_array *a, struct header *h, struct scan *s) {
    char key[16];
    bool *seen = NULL;
    if (!read_string(key, sizeof key, s) || !need(s, ":")) return false;
    if (!strcmp(key, "descr")) seen = &h->seen_descr;
    if (!strcmp(key, "fortran_order")) seen = &h->seen_fortran;
    if (!strcmp(key, "shape")) seen = &h->seen_shape;
    s->wanted = "each of descr, fortran_order and shape once";
    if (!seen || *seen) return false;
    *seen = true;
    if (seen == &h->seen_descr) return read_string(h->descr, sizeof h->descr, s);
    return seen == &h->seen_shape ? read_shape(a, s) : read_bool(&h->fortran, s);
}

static bool read_dict(ar_npz_array *a, struct header *h, struct scan *s) {
    if (!need(s, "{")) return false;
    while (!next_is(s, "}")) {
        if (!read_pair(a, h, s)) return false;
        bool comma = next_is(s, ",");
        if (!comma && !need(s, "}")) return false;
        if (!comma) break;
    }
    skip_space(s);
    s->wanted = "nothing behind the dict, and each of descr, fortran_order and shape in it";
    return s->at == s->end && h->seen_descr && h->seen_fortran && h->seen_shape;
}

/* '<f4': byte order, kind, bytes.  Sets the size of an element; false for what is no plain number. */
static bool read_descr(ar_npz_array *a, size_t *size, const char *d) {
    static const struct {
        const char *kind;
        ar_dtype dtype;
    } known[] = {{"f4", AR_F32}, {"f2", AR_F16}, {"V2", AR_BF16}, {"f8", AR_F64}, {"i8", AR_I64},
                 {"i4", AR_I32}, {"i2", AR_I16}, {"i1", AR_I8},   {"u1", AR_U8},  {"b1", AR_BOOL}};
    static const char *const others[] = {"u2", "u4", "u8", "c8"};
    if (strlen(d) != 3 || !strchr("<|", d[0])) return false;
    a->dtype = AR_DTYPE_COUNT;
    *size = (size_t)(d[2] - '0');
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].kind, d + 1)) a->dtype = known[i].dtype;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (!strcmp(others[i], d + 1)) return true;
    return a->dtype != AR_DTYPE_COUNT;
}

/* With at most one dimension longer than 1 there is but one order, and MLX calls it Fortran's. */
static bool order_matters(const ar_npz_array *a) {
    int longer = 0;
    for (int i = 0; i < a->dims; i++) longer += a->shape[i] > 1;
    return longer > 1;
}

static ar_status find_header(struct scan *out, const unsigned char *p, size_t n, const char *place, ar_error *err) {
    if (n < 10 || memcmp(p, "\x93NUMPY", 6) != 0) return ar__fail(err, AR_ERR_FORMAT, "%s: no .npy array, it is damaged", place);
    if (p[6] < 1 || p[6] > 3) return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: .npy version %d, wanted 1, 2 or 3", place, p[6]);
    size_t at = p[6] == 1 ? 10 : 12, len = n < at ? SIZE_MAX : ar__le_load(p + 8, at - 8);
    if (n < at || len > n - at) return ar__fail(err, AR_ERR_FORMAT, "%s: its header ends outside of it, it is damaged", place);
    *out = (struct scan){.at = (const char *)p + at, .end = (const char *)p + at + len};
    return AR_OK;
}

static ar_status check_type(ar_npz_array *a, const struct header *h, size_t *size, const char *place, ar_error *err) {
    if (h->descr[0] == '>')
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: big-endian numbers ('%s'), wanted little-endian", place, h->descr);
    if (!read_descr(a, size, h->descr))
        return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: elements of type '%s', wanted numbers such as '<f4'", place, h->descr);
    if (h->fortran && order_matters(a))
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: stored in Fortran order, wanted C order: save it again after numpy.ascontiguousarray, or mlx.core.contiguous",
                        place);
    snprintf(a->dtype_name, sizeof a->dtype_name, "%s", h->descr);
    return AR_OK;
}

ar_status ar__npy_read(ar_npz_array *a, const unsigned char *p, size_t n, const char *place, ar_error *err) {
    struct scan s = {0};
    struct header h = {0};
    size_t size = 0;
    ar_status status = find_header(&s, p, n, place, err);
    if (status) return status;
    const unsigned char *data = (const unsigned char *)s.end;
    if (!read_dict(a, &h, &s))
        return ar__fail(err, AR_ERR_FORMAT, "%s: .npy header: wanted %s at byte %zu", place, s.wanted,
                        (size_t)((const unsigned char *)s.at - p));
    if ((status = check_type(a, &h, &size, place, err))) return status;
    a->count = 1;
    bool fits = true;
    for (int i = 0; i < a->dims; i++) fits = fits && ar__mul(&a->count, a->count, (size_t)a->shape[i]);
    if (!fits || !ar__mul(&a->bytes, a->count, size)) return ar__fail(err, AR_ERR_FORMAT, "%s: its shape overflows", place);
    size_t there = n - (size_t)(data - p);
    if (a->bytes != there)
        return ar__fail(err, AR_ERR_FORMAT, "%s: %zu bytes of data, its shape wants %zu of '%s'", place, there, a->bytes, a->dtype_name);
    a->data = data;
    return AR_OK;
}
