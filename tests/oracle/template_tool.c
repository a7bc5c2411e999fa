/* The library's side of template.py: renders one template for each line of standard input.
 *
 *     {"template": "...", "values": {...}}
 *     {"text": "...", "generation": [[from, to], ...], "outside": [[from, to], ...]}
 *     {"error": "..."}    it is no template, or it refuses these values
 *     {"fault": "..."}    anything that must not happen
 *
 * Offsets count characters; ranges that touch are one.  outside: what the template did not write itself. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text/template/template.h"

/* The last template: many requests in a row share theirs. */
struct parsed {
    ar_template *t;
    char *source;
    size_t n;
};

static void forget(struct parsed *p) {
    ar__template_free(p->t);
    free(p->source);
    *p = (struct parsed){0};
}

static ar_status parse(struct parsed *p, const json_t *source, ar_error *err) {
    const char *s = json_string_value(source);
    size_t n = json_string_length(source);
    if (p->t && p->n == n && !memcmp(p->source, s, n)) return AR_OK;
    forget(p);
    ar_status status = ar__template_parse(&p->t, s, n, err);
    if (status) return status;
    if (!(p->source = ar__strndup(s, n))) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    p->n = n;
    return AR_OK;
}

static size_t characters(const char *s, size_t bytes) {
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n;
}

static void add_range(json_t *list, const char *text, size_t from, size_t to) {
    json_int_t first = (json_int_t)characters(text, from), last = (json_int_t)characters(text, to);
    json_array_append_new(list, json_pack("[I, I]", first, last));
}

/* The longest ranges of bytes that have any of these bits. */
static json_t *marked(const ar_rendered *r, int bits) {
    json_t *list = json_array();
    for (size_t i = 0, from; i < r->text.len; i++) {
        for (from = i; i < r->text.len && r->marks.data[i] & bits; i++) continue;
        if (i > from) add_range(list, r->text.data, from, i);
    }
    return list;
}

static json_t *result(const ar_rendered *r) {
    if (r->marks.len != r->text.len) return json_pack("{s: s}", "fault", "not one mark for each byte");
    json_t *text = json_stringn(r->text.len ? r->text.data : "", r->text.len);
    if (!text) return json_pack("{s: s}", "fault", "the text is not UTF-8");
    json_t *generation = marked(r, AR_LEARNED), *outside = marked(r, AR_FROM_MASK);
    return json_pack("{s: o, s: o, s: o}", "text", text, "generation", generation, "outside", outside);
}

static json_t *refusal(const ar_error *err) {
    ar_status s = err->status;
    bool expected = s == AR_ERR_FORMAT || s == AR_ERR_VALUE || s == AR_ERR_UNSUPPORTED;
    /* A long message may be cut inside a character. */
    json_t *message = json_string(err->message);
    return json_pack("{s: o}", expected ? "error" : "fault", message ? message : json_string("(not UTF-8)"));
}

static json_t *answer(struct parsed *p, ar_rendered *out, const char *line, size_t n, time_t now) {
    ar_error err = {0};
    json_t *request = json_loadb(line, n, JSON_ALLOW_NUL, NULL), *reply;
    const json_t *source = json_object_get(request, "template"), *values = json_object_get(request, "values");
    if (!json_is_string(source) || !json_is_object(values)) {
        reply = json_pack("{s: s}", "fault", "not a request");
    } else if (parse(p, source, &err) || ar__template_render(out, p->t, values, now, &err)) {
        reply = refusal(&err);
    } else {
        reply = result(out);
    }
    json_decref(request);
    return reply;
}

int main(void) {
    struct tm day = {.tm_year = 2026 - 1900, .tm_mon = 10, .tm_mday = 23, .tm_hour = 12, .tm_isdst = -1};
    time_t now = mktime(&day);
    struct parsed parsed = {0};
    ar_rendered out = {0};
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        json_t *reply = answer(&parsed, &out, line, (size_t)n, now);
        if (json_dumpf(reply, stdout, JSON_COMPACT | JSON_ENSURE_ASCII)) return 1;
        putchar('\n');
        fflush(stdout); /* what was answered must not be lost when a later one crashes */
        json_decref(reply);
    }
    forget(&parsed);
    ar__rendered_release(&out);
    free(line);
    return 0;
}
