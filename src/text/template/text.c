/* Strings: making them, cutting them, finding in them.  Positions that templates see count code points. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "text/template/run.h"
#include "text/utf8.h"

/* ---- errors and bounds -----------------------------------------------------------------------------------------*/

bool ar__j_fail(ar_jinja *j, const char *format, ...) {
    char what[400];
    if (j->status) return false;
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    what[ar__utf8_valid(what, strlen(what))] = 0; /* not cut within a character */
    j->status = ar__fail(&j->error, AR_ERR_VALUE, "line %u: %s", (unsigned)j->line, what);
    return false;
}

bool ar__j_fail_memory(ar_jinja *j) {
    if (j->pool.exhausted || j->out->text.len > AR_J_MEMORY)
        return ar__j_fail(j, "makes more than %d MiB, which no conversation needs", (int)(AR_J_MEMORY >> 20));
    if (!j->status) j->status = ar__fail_memory(&j->error, "template");
    return false;
}

bool ar__j_spend(ar_jinja *j, size_t steps) {
    if (j->steps >= steps) {
        j->steps -= steps;
        return true;
    }
    j->steps = 0;
    return ar__j_fail(j, "takes more than %d steps, which no conversation needs", (int)AR_J_STEPS);
}

bool ar__j_spend_on(ar_jinja *j, ar_jvalue v) { return v.type != AR_J_STRING || ar__j_spend(j, v.s->size / 4); }

void *ar__j_new(ar_jinja *j, size_t count, size_t size) {
    void *p = size && count > SIZE_MAX / size ? NULL : ar__jpool_take(&j->pool, count * size);
    if (!p) ar__j_fail_memory(j);
    return p;
}

/* ---- writing ---------------------------------------------------------------------------------------------------*/

/* Room for n more bytes of text and marks; false past the bound. */
static bool reserve(ar_jinja *j, size_t n) {
    if (n <= AR_J_MEMORY && j->out->text.len <= AR_J_MEMORY - n && ar__j_spend(j, n / 16)) return true;
    if (!j->status) ar__j_fail(j, "makes more than %d MiB, which no conversation needs", (int)(AR_J_MEMORY >> 20));
    return false;
}

static void put_marks(ar_jinja *j, uint8_t mark, size_t n) {
    ar_buf *marks = &j->out->marks;
    size_t at = marks->len;
    ar__buf_add(marks, j->out->text.data + j->out->text.len - n, n); /* any bytes: overwritten */
    if (!marks->failed) memset(marks->data + at, mark, n);
}

void ar__j_put(ar_jinja *j, const char *text, size_t n, uint8_t mark) {
    if (!n || !reserve(j, n)) return;
    ar__buf_add(&j->out->text, text, n);
    if (!j->out->text.failed) put_marks(j, mark | j->generation, n);
}

void ar__j_puts(ar_jinja *j, const char *text) { ar__j_put(j, text, strlen(text), AR_FROM_TEMPLATE); }

void ar__j_put_part(ar_jinja *j, const ar_jstr *s, size_t from, size_t to) {
    size_t n = to - from;
    if (!s->marks) {
        ar__j_put(j, s->data + from, n, s->mark);
        return;
    }
    if (!n || !reserve(j, n)) return;
    size_t at = j->out->marks.len;
    ar__buf_add(&j->out->text, s->data + from, n);
    ar__buf_add(&j->out->marks, s->marks + from, n);
    for (size_t i = at; j->generation && i < j->out->marks.len; i++) j->out->marks.data[i] |= (char)j->generation;
}

void ar__j_put_str(ar_jinja *j, const ar_jstr *s) { ar__j_put_part(j, s, 0, s->size); }

void ar__j_put_times(ar_jinja *j, const ar_jstr *s, int64_t times) {
    if (s->size && times > AR_J_MEMORY / (int64_t)s->size) reserve(j, AR_J_MEMORY + (size_t)1); /* fails, before any work */
    for (int64_t i = 0; i < times && s->size && !j->status; i++) ar__j_put_str(j, s);
}

static ar_jstr *str_new(ar_jinja *j, const char *data, size_t size, uint8_t mark) {
    ar_jstr *s = ar__j_new(j, 1, sizeof *s);
    if (s) *s = (ar_jstr){.data = data, .size = size, .mark = mark, .points = -1};
    return s;
}

static char *copy(ar_jinja *j, const char *text, size_t n) {
    char *data = ar__j_new(j, n + 1, 1);
    if (data && n) memcpy(data, text, n);
    return data;
}

static bool is_uniform(const uint8_t *marks, size_t n) { return n < 2 || !memcmp(marks, marks + 1, n - 1); }

ar_jstr *ar__j_take(ar_jinja *j, size_t start) {
    ar_buf *text = &j->out->text, *marks = &j->out->marks;
    if (j->status) return NULL;
    if (text->failed || marks->failed) {
        ar__j_fail_memory(j);
        return NULL;
    }
    size_t n = text->len - start;
    const uint8_t *mark = n ? (const uint8_t *)marks->data + start : NULL;
    char *data = copy(j, n ? text->data + start : "", n);
    ar_jstr *s = data ? str_new(j, data, n, n ? *mark : 0) : NULL;
    if (s && n && !is_uniform(mark, n) && !(s->marks = (const uint8_t *)copy(j, marks->data + start, n))) s = NULL;
    text->len = marks->len = start;
    return s;
}

bool ar__j_take_value(ar_jvalue *out, ar_jinja *j, size_t start) {
    ar_jstr *s = ar__j_take(j, start);
    if (s) *out = ar__j_string(s);
    return s != NULL;
}

/* ---- cutting and finding -------------------------------------------------------------------------------------------*/

ar_jstr *ar__j_text(ar_jinja *j, const char *text, size_t n) {
    char *data = copy(j, text, n);
    return data ? str_new(j, data, n, AR_FROM_TEMPLATE) : NULL;
}

ar_jstr *ar__j_part(ar_jinja *j, const ar_jstr *s, size_t from, size_t to) {
    ar_jstr *part = str_new(j, s->data + from, to - from, s->mark);
    if (!part) return NULL;
    if (s->marks) part->marks = s->marks + from;
    if (s->points == (int64_t)s->size) part->points = (int64_t)part->size; /* ASCII */
    part->markup = s->markup;
    return part;
}

int64_t ar__j_points(ar_jstr *s) {
    if (s->points >= 0) return s->points;
    int64_t n = 0;
    for (size_t i = 0; i < s->size; i++) n += (s->data[i] & 0xC0) != 0x80;
    return s->points = n;
}

size_t ar__j_offset(ar_jstr *s, int64_t i) {
    if (ar__j_points(s) == (int64_t)s->size) return (size_t)i;
    size_t at = 0;
    for (; i > 0; i--) at += ar__utf8_size(s->data[at]);
    return at;
}

bool ar__j_same(const ar_jstr *a, const ar_jstr *b) { return a->size == b->size && !memcmp(a->data, b->data, a->size); }

bool ar__j_is(const ar_jstr *s, const char *text) { return s->size == strlen(text) && !memcmp(s->data, text, s->size); }

size_t ar__j_find(const ar_jstr *s, const ar_jstr *what, size_t from) {
    if (from > s->size || what->size > s->size - from) return SIZE_MAX;
    if (!what->size) return from;
    const char *at = memmem(s->data + from, s->size - from, what->data, what->size);
    return at ? (size_t)(at - s->data) : SIZE_MAX;
}

bool ar__j_is_space(uint32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}
