/* Values as text: str() and repr() of Python. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/template/letters.h"
#include "text/utf8.h"

void ar__j_put_int(ar_jinja *j, int64_t i) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)i);
    ar__j_puts(j, text);
}

/* The fewest digits that give the number back. */
static void shortest(char *out, size_t size, double f) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, size, "%.*e", digits - 1, f);
        if (strtod(out, NULL) == f) return;
    }
}

/* From d.ddde±xx: positional where the exponent is in [-4, 16), as repr does. */
void ar__j_put_float(ar_jinja *j, double f) {
    char text[40], out[80];
    if (isnan(f) || isinf(f)) {
        ar__j_puts(j, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    shortest(text, sizeof text, f);
    char *e = strchr(text, 'e');
    int exponent = (int)strtol(e + 1, NULL, 10), digits = (int)(e - text) - (text[0] == '-') - (strchr(text, '.') ? 1 : 0);
    if (exponent < -4 || exponent >= 16) {
        *e = 0;
        snprintf(out, sizeof out, "%se%s%02d", text, exponent < 0 ? "-" : "+", abs(exponent));
    } else {
        int behind = digits - 1 - exponent;
        snprintf(out, sizeof out, "%.*f", behind < 1 ? 1 : behind, f);
    }
    ar__j_puts(j, out);
}

/* The escape of a character, "" where it stands for itself. */
static void escape_of(char out[16], uint32_t c, char quote) {
    out[0] = 0;
    if (c == (uint32_t)(unsigned char)quote || c == '\\')
        snprintf(out, 16, "\\%c", (char)c);
    else if (c == '\n' || c == '\r' || c == '\t')
        snprintf(out, 16, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (!ar__j_is_printable(c))
        snprintf(out, 16, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
}

static void put_quoted(ar_jinja *j, const ar_jstr *s) {
    bool single = memchr(s->data, '\'', s->size), both = single && memchr(s->data, '"', s->size);
    char quote = single && !both ? '"' : '\'', escaped[16];
    size_t from = 0, len;
    ar__j_put(j, &quote, 1, AR_FROM_TEMPLATE);
    for (size_t i = 0; i < s->size; i += len) {
        escape_of(escaped, ar__utf8_get(s->data + i, &len), quote);
        if (!escaped[0]) continue;
        ar__j_put_part(j, s, from, i);
        ar__j_put(j, escaped, strlen(escaped), s->marks ? s->marks[i] : s->mark);
        from = i + len;
    }
    ar__j_put_part(j, s, from, s->size);
    ar__j_put(j, &quote, 1, AR_FROM_TEMPLATE);
}

static bool put_items(ar_jinja *j, ar_jvalue v, const char *open, const char *close) {
    ar__j_puts(j, open);
    for (size_t i = 0; i < v.list->count; i++) {
        if (i) ar__j_puts(j, ", ");
        if (!ar__j_put_repr(j, v.list->item[i])) return false;
    }
    if (v.type == AR_J_TUPLE && v.list->count == 1) ar__j_puts(j, ",");
    ar__j_puts(j, close);
    return !j->status;
}

static bool put_pairs(ar_jinja *j, const ar_jdict *d) {
    ar__j_puts(j, "{");
    for (size_t i = 0; i < d->count; i++) {
        if (i) ar__j_puts(j, ", ");
        if (!ar__j_put_repr(j, d->pair[i].key)) return false;
        ar__j_puts(j, ": ");
        if (!ar__j_put_repr(j, d->pair[i].value)) return false;
    }
    ar__j_puts(j, "}");
    return !j->status;
}

static bool put_view(ar_jinja *j, ar_jvalue v) {
    static const char *const names[] = {"dict_keys([", "dict_values([", "dict_items(["};
    ar_jlist *all = ar__j_gather(j, v);
    return all && put_items(j, ar__j_list_value(all, AR_J_LIST), names[v.view->kind], "])");
}

static void put_range(ar_jinja *j, const ar_jrange *r) {
    char text[96];
    if (r->step == 1)
        snprintf(text, sizeof text, "range(%lld, %lld)", (long long)r->start, (long long)r->stop);
    else
        snprintf(text, sizeof text, "range(%lld, %lld, %lld)", (long long)r->start, (long long)r->stop, (long long)r->step);
    ar__j_puts(j, text);
}

static bool put_namespace(ar_jinja *j, const ar_jdict *d) {
    ar__j_puts(j, "<Namespace ");
    bool ok = put_pairs(j, d);
    ar__j_puts(j, ">");
    return ok;
}

static bool put_loop(ar_jinja *j, ar_jvalue v) {
    ar_jstr index = {.data = "index", .size = 5};
    ar_jvalue at;
    int64_t length;
    if (!ar__j_loop_member(&at, j, v.loop, &index) || !ar__j_length(&length, j, v)) return false;
    ar__j_puts(j, "<LoopContext ");
    ar__j_put_int(j, at.i);
    ar__j_puts(j, "/");
    ar__j_put_int(j, length);
    ar__j_puts(j, ">");
    return !j->status;
}

static bool put_other(ar_jinja *j, ar_jvalue v) {
    switch (v.type) {
    case AR_J_UNDEFINED: ar__j_puts(j, "Undefined"); break;
    case AR_J_NONE: ar__j_puts(j, "None"); break;
    case AR_J_BOOL: ar__j_puts(j, v.b ? "True" : "False"); break;
    case AR_J_INT: ar__j_put_int(j, v.i); break;
    case AR_J_FLOAT: ar__j_put_float(j, v.f); break;
    case AR_J_RANGE: put_range(j, v.range); break;
    case AR_J_LOOP: return put_loop(j, v);
    case AR_J_MACRO:
        ar__j_puts(j, "<Macro ");
        if (v.macro->node->name)
            put_quoted(j, v.macro->node->name);
        else
            ar__j_puts(j, "anonymous");
        ar__j_puts(j, ">");
        break;
    default: return ar__j_fail(j, "prints a %s, which has no text of its own", ar__j_type_name(v));
    }
    return !j->status;
}

bool ar__j_put_repr(ar_jinja *j, ar_jvalue v) {
    if (j->depth >= AR_J_DEPTH) return ar__j_fail(j, "prints something nested more than %d deep", (int)AR_J_DEPTH);
    if (!ar__j_spend(j, 1)) return false;
    bool ok = true;
    j->depth++;
    switch (v.type) {
    case AR_J_STRING:
        if (v.s->markup) ar__j_puts(j, "Markup(");
        put_quoted(j, v.s);
        if (v.s->markup) ar__j_puts(j, ")");
        break;
    case AR_J_LIST: ok = put_items(j, v, "[", "]"); break;
    case AR_J_TUPLE: ok = put_items(j, v, "(", ")"); break;
    case AR_J_DICT: ok = put_pairs(j, v.dict); break;
    case AR_J_NAMESPACE: ok = put_namespace(j, v.dict); break;
    case AR_J_VIEW: ok = put_view(j, v); break;
    default: ok = put_other(j, v);
    }
    j->depth--;
    return ok && !j->status;
}

bool ar__j_put_value(ar_jinja *j, ar_jvalue v) {
    if (v.type == AR_J_UNDEFINED) return true;
    if (v.type != AR_J_STRING) return ar__j_put_repr(j, v);
    ar__j_put_str(j, v.s);
    return !j->status;
}

ar_jstr *ar__j_str(ar_jinja *j, ar_jvalue v) {
    if (v.type == AR_J_STRING) return v.s;
    size_t start = ar__j_here(j);
    return ar__j_put_value(j, v) ? ar__j_take(j, start) : NULL;
}
