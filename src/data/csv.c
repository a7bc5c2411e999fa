#include "data/csv.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/utf8.h"

typedef struct table {
    const char *s, *path;
    size_t n, at, line; /* line: at which the record at work begins */
    size_t next;        /* line at which the next one does */
    char delimiter;
    ar_buf field;
    ar_error *err;
} table;

static ar_status fail(const table *t, const char *what) { return ar__fail(t->err, AR_ERR_FORMAT, "%s:%zu: %s", t->path, t->line, what); }

static bool ends_field(const table *t, size_t at) {
    return at >= t->n || t->s[at] == t->delimiter || t->s[at] == '\n' || (t->s[at] == '\r' && (at + 1 >= t->n || t->s[at + 1] == '\n'));
}

static ar_status read_quoted(table *t) {
    for (t->at++;; t->at++) {
        if (t->at >= t->n) return fail(t, "found a quote that is not closed");
        if (t->s[t->at] == '"' && !(t->at + 1 < t->n && t->s[t->at + 1] == '"')) break;
        t->at += t->s[t->at] == '"';
        t->next += t->s[t->at] == '\n';
        ar__buf_add(&t->field, t->s + t->at, 1);
    }
    t->at++;
    return ends_field(t, t->at)
               ? AR_OK
               : fail(t, "found text behind a closing quote, wanted the next column (a quote inside quotes is written twice)");
}

/* The next field in t->field; *last: of its record. */
static ar_status read_field(table *t, bool *last) {
    ar__buf_clear(&t->field);
    ar__buf_add(&t->field, "", 0);
    ar_status s = AR_OK;
    if (t->at < t->n && t->s[t->at] == '"') {
        s = read_quoted(t);
    } else {
        size_t from = t->at;
        while (!ends_field(t, t->at)) t->at++;
        ar__buf_add(&t->field, t->s + from, t->at - from);
    }
    if (!s && t->field.failed) s = ar__fail_memory(t->err, t->path);
    *last = t->at >= t->n || t->s[t->at] != t->delimiter;
    if (t->at < t->n && t->s[t->at] == '\r') t->at++;
    if (t->at < t->n) {
        t->next += t->s[t->at] == '\n';
        t->at++;
    }
    return s;
}

/* A record without anything in it. */
static bool skip_blank(table *t) {
    size_t at = t->at;
    if (at < t->n && t->s[at] == '\r') at++;
    if (at >= t->n || t->s[at] != '\n') return false;
    t->at = at + 1;
    t->next++;
    return true;
}

static ar_status add_name(table *t, json_t *names, ar_error *err) {
    const json_t *one;
    size_t i;
    char made[40]; /* as pandas calls the column of an index */
    if (!t->field.len) {
        snprintf(made, sizeof made, "Unnamed: %zu", json_array_size(names));
        ar__buf_puts(&t->field, made);
        if (t->field.failed) return ar__fail_memory(err, t->path);
    }
    json_array_foreach(names, i, one) {
        if (json_string_length(one) == t->field.len && !memcmp(json_string_value(one), t->field.data, t->field.len))
            return ar__fail(err, AR_ERR_FORMAT, "%s:%zu: found two columns '%.60s'", t->path, t->line, t->field.data);
    }
    return json_array_append_new(names, json_stringn(t->field.data, t->field.len)) ? ar__fail_memory(err, t->path) : AR_OK;
}

static ar_status read_names(table *t, json_t *names, ar_error *err) {
    bool last = false;
    ar_status s = AR_OK;
    while (!s && !last)
        if (!(s = read_field(t, &last))) s = add_name(t, names, err);
    return s;
}

/* A field with nothing in it is not there. */
static ar_status read_record(table *t, json_t *row, const json_t *names, ar_error *err) {
    bool last = false;
    size_t count = 0;
    json_object_clear(row);
    while (!last) {
        const char *name = json_string_value(json_array_get(names, count++));
        ar_status s = read_field(t, &last);
        if (s) return s;
        if (name && t->field.len && json_object_set_new(row, name, json_stringn(t->field.data, t->field.len)))
            return ar__fail_memory(err, t->path);
    }
    if (count == json_array_size(names)) return AR_OK;
    return ar__fail(err, AR_ERR_FORMAT, "%s:%zu: found %zu columns, wanted the %zu that the first line names", t->path, t->line, count,
                    json_array_size(names));
}

static ar_status read_rows(table *t, ar_buf *out, ar_buf *numbers, json_t *row, const json_t *names, ar_error *err) {
    while (t->at < t->n) {
        t->line = t->next;
        if (skip_blank(t)) continue;
        ar_status s = read_record(t, row, names, err);
        if (s) return s;
        if (!json_object_size(row)) continue;
        char *text = json_dumps(row, JSON_COMPACT);
        if (!text) return ar__fail_memory(err, t->path);
        ar__buf_puts(out, text);
        ar__buf_puts(out, "\n");
        ar__buf_add(numbers, &t->line, sizeof t->line);
        free(text);
    }
    return out->failed || numbers->failed ? ar__fail_memory(err, t->path) : AR_OK;
}

/* `sep=;` in front, which spreadsheets write. */
static void skip_separator(table *t) {
    if (t->n - t->at < 6 || memcmp(t->s + t->at, "sep=", 4) != 0) return;
    size_t end = t->at + 5;
    if (t->s[end] == '\r') end++;
    if (end >= t->n || t->s[end] != '\n') return;
    t->delimiter = t->s[t->at + 4];
    t->at = end + 1;
    t->line = ++t->next;
}

ar_status ar__csv_to_lines(ar_buf *out, ar_buf *numbers, const char *text, size_t n, char delimiter, const char *path, ar_error *err) {
    table t = {.s = text, .path = path, .n = n, .line = 1, .next = 1, .delimiter = delimiter, .err = err};
    size_t valid = ar__utf8_valid(text, n);
    if (valid < n) {
        for (size_t i = 0; i < valid; i++) t.line += text[i] == '\n';
        return fail(&t, "found bytes that are not UTF-8: convert the table with iconv -f WINDOWS-1252 -t UTF-8, or what it was written in");
    }
    json_t *names = json_array(), *row = json_object();
    ar_status s = names && row ? AR_OK : ar__fail_memory(err, path);
    while (!s && skip_blank(&t)) t.line = t.next;
    if (!s) skip_separator(&t);
    if (!s) s = read_names(&t, names, err);
    if (!s) s = read_rows(&t, out, numbers, row, names, err);
    json_decref(names);
    json_decref(row);
    ar__buf_release(&t.field);
    return s;
}
