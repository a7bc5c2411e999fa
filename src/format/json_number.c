/* Numbers that are right in somebody's JSON and that jansson has no value for.  They are rewritten in the text, each alone, so
 * that every other number of the file keeps its kind:
 *
 *     1000000000000000019884624838656      1000000000000000019884624838656.0                 transformers' int(1e30)
 *     1e400, NaN, Infinity, -Infinity      {"#number": "1e400"}                              a note in the number's place
 *
 * Python writes and reads the second line's last three.  The note is no number to any getter, so that a field that is
 * read fails by name, and one that nobody reads does no harm. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "format/json_number.h"

#define NOTE "#number"

static bool starts(const char *p, const char *end, const char *word) {
    size_t n = strlen(word);
    return (size_t)(end - p) >= n && !memcmp(p, word, n);
}

static const char *digits(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9') p++;
    return p;
}

/* Behind the number at p, as JSON spells numbers; p where there is none. */
static const char *skip_number(bool *whole, const char *p, const char *end) {
    const char *first = p + (*p == '-'), *q = digits(first, end);
    *whole = true;
    if (q == first || (*first == '0' && q > first + 1)) return p;
    if (q < end && *q == '.') {
        const char *fraction = digits(q + 1, end);
        if (fraction == q + 1) return p;
        *whole = false;
        q = fraction;
    }
    if (q < end && (*q | 32) == 'e') {
        const char *sign = q + 1 < end && (q[1] == '+' || q[1] == '-') ? q + 2 : q + 1, *exponent = digits(sign, end);
        if (exponent == sign) return p;
        *whole = false;
        q = exponent;
    }
    return q;
}

static void put_note(ar_buf *out, const char *p, size_t n) {
    enum { SHOWN = 24 };
    ar__buf_printf(out, "{\"" NOTE "\": \"%.*s%s\"}", (int)(n > SHOWN ? SHOWN : n), p, n > SHOWN ? "..." : "");
}

/* Appends the number from p to q as jansson can read it. */
static void put_number(ar_buf *out, const char *p, const char *q, bool whole, bool note_integers, ar_buf *spare) {
    ar__buf_clear(spare);
    ar__buf_add(spare, p, (size_t)(q - p));
    if (spare->failed) return;
    errno = 0;
    bool fits = whole && (strtoll(spare->data, NULL, 10), errno != ERANGE);
    if (!fits && ((whole && note_integers) || isinf(strtod(spare->data, NULL)))) {
        put_note(out, p, (size_t)(q - p));
        return;
    }
    ar__buf_add(out, p, (size_t)(q - p));
    if (whole && !fits) ar__buf_puts(out, ".0");
}

static const char *skip_string(const char *p, const char *end) {
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\' && p + 1 < end) p++;
    return p < end ? p + 1 : end;
}

/* Behind the number, the name of one, or the byte at p; what it becomes is appended where it is a number. */
static const char *take(ar_buf *out, const char *p, const char *end, bool note_integers, ar_buf *spare) {
    static const char *const names[] = {"NaN", "Infinity", "-Infinity"};
    bool whole;
    for (int i = 0; i < 3; i++)
        if (starts(p, end, names[i])) {
            put_note(out, p, strlen(names[i]));
            return p + strlen(names[i]);
        }
    const char *q = *p == '-' || (*p >= '0' && *p <= '9') ? skip_number(&whole, p, end) : p;
    if (q > p)
        put_number(out, p, q, whole, note_integers, spare);
    else
        ar__buf_add(out, p, 1);
    return q > p ? q : p + 1;
}

void ar__json_rewrite_numbers(ar_buf *out, const char *text, size_t n, bool note_integers) {
    ar_buf spare = {0};
    const char *p = text, *end = text + n;
    while (p < end && !out->failed) {
        const char *plain = p;
        while (p < end && *p != '"' && *p != '-' && *p != 'N' && *p != 'I' && !(*p >= '0' && *p <= '9')) p++;
        ar__buf_add(out, plain, (size_t)(p - plain));
        if (p >= end) break;
        if (*p != '"') {
            p = take(out, p, end, note_integers, &spare);
            continue;
        }
        const char *q = skip_string(p, end);
        ar__buf_add(out, p, (size_t)(q - p));
        p = q;
    }
    out->failed |= spare.failed;
    ar__buf_release(&spare);
}

const char *ar__json_number_note(const json_t *value) {
    return json_object_size(value) == 1 ? json_string_value(json_object_get(value, NOTE)) : NULL;
}
