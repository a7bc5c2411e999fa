/* JSON to values, and tojson: Python's json.dumps. */
#include <math.h>
#include <string.h>

#include "format/json.h"
#include "text/template/filters.h"
#include "text/template/run.h"
#include "text/utf8.h"

/* ---- values ------------------------------------------------------------------------------------------------------*/

static bool from_json(ar_jvalue *out, ar_jinja *j, const json_t *v, uint8_t mark);

static bool text_from(ar_jvalue *out, ar_jinja *j, const char *text, size_t n, uint8_t mark) {
    ar_jstr *s = ar__j_new(j, 1, sizeof *s);
    if (!s) return false;
    *s = (ar_jstr){.data = text, .size = n, .mark = mark, .points = -1}; /* the tree stays while the template runs */
    *out = ar__j_string(s);
    return true;
}

static bool list_from(ar_jvalue *out, ar_jinja *j, const json_t *v, uint8_t mark) {
    ar_jlist *l = ar__j_list_new(j, json_array_size(v));
    *out = ar__j_list_value(l, AR_J_LIST);
    for (size_t i = 0; l && i < json_array_size(v); i++)
        if (!from_json(&l->item[l->count++], j, json_array_get(v, i), mark)) return false;
    return l != NULL;
}

/* Templates make marks of roles, '<|' + message.role + '|>': a role that is but a word is as good as theirs. */
static bool is_plain_role(const char *key, const json_t *v) {
    const char *role = !strcmp(key, "role") ? json_string_value(v) : NULL;
    size_t n = role ? json_string_length(v) : 0;
    for (size_t i = 0; i < n; i++)
        if (!((role[i] >= 'a' && role[i] <= 'z') || (role[i] >= 'A' && role[i] <= 'Z') || (i && role[i] >= '0' && role[i] <= '9') ||
              role[i] == '_'))
            return false;
    return n > 0 && n < 32;
}

static bool dict_from(ar_jvalue *out, ar_jinja *j, const json_t *v, uint8_t mark) {
    json_t *object = (json_t *)(uintptr_t)v;
    ar_jdict *d = ar__j_dict_new(j);
    *out = (ar_jvalue){.type = AR_J_DICT, .dict = d};
    for (void *it = json_object_iter(object); d && it; it = json_object_iter_next(object, it)) {
        ar_jvalue key, value;
        const char *name = json_object_iter_key(it);
        const json_t *member = json_object_iter_value(it);
        uint8_t its = mark && is_plain_role(name, member) ? AR_FROM_TEMPLATE : mark;
        if (!text_from(&key, j, name, json_object_iter_key_len(it), mark) || !from_json(&value, j, member, its) ||
            !ar__j_dict_set(j, d, key, value))
            return false;
    }
    return d != NULL;
}

/* NaN, infinities, what is past a double, and integers past 64 bits: notes of the reader. */
static bool number_from(ar_jvalue *out, ar_jinja *j, const char *note) {
    bool nan = strstr(note, "NaN");
    if (!strpbrk(note, "aeyE")) return ar__j_fail(j, "found the integer %s, which has more than 64 bits: give it as a string", note);
    *out = ar__j_float(nan ? NAN : *note == '-' ? -INFINITY : INFINITY);
    return true;
}

static bool from_json(ar_jvalue *out, ar_jinja *j, const json_t *v, uint8_t mark) {
    const char *note = ar__json_number_note(v);
    if (!ar__j_spend(j, 1)) return false;
    if (note) return number_from(out, j, note);
    switch (json_typeof(v)) {
    case JSON_OBJECT: return dict_from(out, j, v, mark);
    case JSON_ARRAY: return list_from(out, j, v, mark);
    case JSON_STRING: return text_from(out, j, json_string_value(v), json_string_length(v), mark);
    case JSON_INTEGER: *out = ar__j_int(json_integer_value(v)); return true;
    case JSON_REAL: *out = ar__j_float(json_real_value(v)); return true;
    case JSON_TRUE: *out = ar__j_bool(true); return true;
    case JSON_FALSE: *out = ar__j_bool(false); return true;
    default: *out = ar__j_none(); return true;
    }
}

/* A list of messages: each has the mark of its role. */
static bool messages_from(ar_jvalue *out, ar_jinja *j, const json_t *v) {
    if (!json_is_array(v)) return from_json(out, j, v, AR_FROM_OUTSIDE);
    ar_jlist *l = ar__j_list_new(j, json_array_size(v));
    *out = ar__j_list_value(l, AR_J_LIST);
    for (size_t i = 0; l && i < json_array_size(v); i++) {
        const json_t *message = json_array_get(v, i);
        const char *role = json_string_value(json_object_get(message, "role"));
        uint8_t mark = role && !strcmp(role, "assistant") ? AR_FROM_ASSISTANT : AR_FROM_OUTSIDE;
        mark = (uint8_t)(mark + AR_MESSAGE_UNIT * (1 + i % AR_MESSAGE_CYCLE));
        if (!from_json(&l->item[l->count++], j, message, mark)) return false;
    }
    return l != NULL;
}

bool ar__j_take_values(ar_jinja *j, const json_t *values) {
    for (size_t i = 0; i < j->t->name_count; i++) {
        const ar_jstr *name = j->t->name[i];
        const json_t *v = json_object_getn(values, name->data, name->size);
        bool outside = ar__j_is(name, "tools") || ar__j_is(name, "documents");
        const ar_jfunction *f = v ? NULL : j->t->function[i];
        bool ok = true;
        if (v && ar__j_is(name, "messages"))
            ok = messages_from(&j->global[i], j, v);
        else if (v)
            ok = from_json(&j->global[i], j, v, outside ? AR_FROM_OUTSIDE : AR_FROM_TEMPLATE);
        else if (f)
            j->global[i] = (ar_jvalue){.type = AR_J_FUNCTION, .function = f};
        if (!ok) return false;
    }
    return true;
}

/* ---- tojson --------------------------------------------------------------------------------------------------------*/

typedef struct dump {
    ar_jinja *j;
    bool ascii, sort, indented;
    ar_jstr *indent, *item, *key; /* of a level; behind a member; behind a key */
    unsigned level;
} dump;

static void put_code_unit(dump *d, uint32_t unit, uint8_t mark) {
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\', 'u'};
    for (int i = 0; i < 4; i++) text[2 + i] = digits[unit >> (12 - 4 * i) & 15];
    ar__j_put(d->j, text, 6, mark);
}

static void put_escape(dump *d, uint32_t c, uint8_t mark) {
    static const char letters[] = "\"\\\n\r\t\b\f", means[] = "\"\\nrtbf";
    const char *at = c && c < 0x80 ? strchr(letters, (int)c) : NULL;
    if (at) {
        char text[2] = {'\\', means[at - letters]};
        ar__j_put(d->j, text, 2, mark);
    } else if (c >= 0x10000) {
        put_code_unit(d, 0xD800 + ((c - 0x10000) >> 10), mark);
        put_code_unit(d, 0xDC00 + ((c - 0x10000) & 0x3FF), mark);
    } else {
        put_code_unit(d, c, mark);
    }
}

static void put_json_text(dump *d, const ar_jstr *s) {
    size_t from = 0, len;
    ar__j_puts(d->j, "\"");
    for (size_t i = 0; i < s->size; i += len) {
        uint32_t c = ar__utf8_get(s->data + i, &len);
        if (c >= ' ' && c != '"' && c != '\\' && (c < 0x7F || !d->ascii)) continue;
        ar__j_put_part(d->j, s, from, i);
        put_escape(d, c, s->marks ? s->marks[i] : s->mark);
        from = i + len;
    }
    ar__j_put_part(d->j, s, from, s->size);
    ar__j_puts(d->j, "\"");
}

static void put_line(dump *d) {
    if (!d->indented) return;
    ar__j_puts(d->j, "\n");
    for (unsigned i = 0; i < d->level; i++) ar__j_put_str(d->j, d->indent);
}

static bool put_json(dump *d, ar_jvalue v);

static bool put_json_list(dump *d, const ar_jlist *l) {
    ar__j_puts(d->j, "[");
    d->level++;
    for (size_t i = 0; i < l->count; i++) {
        if (i) ar__j_put_str(d->j, d->item);
        put_line(d);
        if (!put_json(d, l->item[i])) return false;
    }
    d->level--;
    if (l->count) put_line(d);
    ar__j_puts(d->j, "]");
    return true;
}

static bool put_json_float(dump *d, double f) {
    if (isnan(f) || isinf(f))
        ar__j_puts(d->j, isnan(f) ? "NaN" : f > 0 ? "Infinity" : "-Infinity");
    else
        ar__j_put_float(d->j, f);
    return true;
}

/* Keys that are no strings become ones. */
static bool put_json_key(dump *d, ar_jvalue key) {
    if (key.type == AR_J_STRING) {
        put_json_text(d, key.s);
        return true;
    }
    if (key.type != AR_J_NONE && !ar__j_is_number(key))
        return ar__j_fail(d->j, "tojson: found %s as a key, wanted a string", ar__j_type_name(key));
    ar__j_puts(d->j, "\"");
    bool ok = put_json(d, key);
    ar__j_puts(d->j, "\"");
    return ok;
}

static bool sort_pairs(dump *d, ar_jdict *sorted, const ar_jdict *from) {
    ar_jlist *keys = ar__j_list_new(d->j, from->count);
    for (size_t i = 0; keys && i < from->count; i++) keys->item[keys->count++] = from->pair[i].key;
    if (!keys || !ar__j_sort(d->j, keys, keys, false)) return false;
    for (size_t i = 0; i < keys->count; i++)
        if (!ar__j_dict_set(d->j, sorted, keys->item[i], *ar__j_dict_find(d->j, from, keys->item[i]))) return false;
    return true;
}

static bool put_json_dict(dump *d, ar_jdict *dict) {
    if (d->sort) {
        ar_jdict *sorted = ar__j_dict_new(d->j);
        if (!sorted || !sort_pairs(d, sorted, dict)) return false;
        dict = sorted;
    }
    ar__j_puts(d->j, "{");
    d->level++;
    for (size_t i = 0; i < dict->count; i++) {
        if (i) ar__j_put_str(d->j, d->item);
        put_line(d);
        if (!put_json_key(d, dict->pair[i].key)) return false;
        ar__j_put_str(d->j, d->key);
        if (!put_json(d, dict->pair[i].value)) return false;
    }
    d->level--;
    if (dict->count) put_line(d);
    ar__j_puts(d->j, "}");
    return true;
}

static bool put_json(dump *d, ar_jvalue v) {
    bool ok = true;
    if (d->j->depth >= AR_J_DEPTH) return ar__j_fail(d->j, "tojson: found something nested more than %d deep", (int)AR_J_DEPTH);
    if (!ar__j_spend(d->j, 1)) return false;
    d->j->depth++;
    switch (v.type) {
    case AR_J_NONE: ar__j_puts(d->j, "null"); break;
    case AR_J_BOOL: ar__j_puts(d->j, v.b ? "true" : "false"); break;
    case AR_J_INT: ar__j_put_int(d->j, v.i); break;
    case AR_J_FLOAT: ok = put_json_float(d, v.f); break;
    case AR_J_STRING: put_json_text(d, v.s); break;
    case AR_J_LIST:
    case AR_J_TUPLE: ok = put_json_list(d, v.list); break;
    case AR_J_DICT: ok = put_json_dict(d, v.dict); break;
    default: ok = ar__j_fail(d->j, "tojson: object of type %s is not JSON serializable", ar__j_type_name(v));
    }
    d->j->depth--;
    return ok && !d->j->status;
}

/* indent: None, a number of spaces, or the text of a level. */
static bool read_indent(dump *d, ar_jvalue v) {
    static const ar_jstr space = {.data = " ", .size = 1, .points = 1};
    size_t start = ar__j_here(d->j);
    if (v.type == AR_J_ABSENT || v.type == AR_J_NONE) return true;
    d->indented = true;
    if (v.type == AR_J_STRING) {
        d->indent = v.s;
        return true;
    }
    if (!ar__j_is_integer(v)) return ar__j_fail(d->j, "tojson: indent: found %s, wanted a number", ar__j_type_name(v));
    ar__j_put_times(d->j, &space, ar__j_as_int(v));
    return (d->indent = ar__j_take(d->j, start)) != NULL;
}

static bool read_separators(dump *d, ar_jvalue v) {
    d->item = ar__j_text(d->j, ", ", d->indented ? 1 : 2);
    d->key = ar__j_text(d->j, ": ", 2);
    if (!d->item || !d->key) return false;
    if (v.type == AR_J_ABSENT || v.type == AR_J_NONE) return true;
    if (!ar__j_is_sequence(v) || v.list->count != 2 || v.list->item[0].type != AR_J_STRING || v.list->item[1].type != AR_J_STRING)
        return ar__j_fail(d->j, "tojson: separators: found %s, wanted two strings", ar__j_type_name(v));
    d->item = v.list->item[0].s;
    d->key = v.list->item[1].s;
    return true;
}

bool ar__j_filter_tojson(ar_jvalue *out, ar_jinja *j, ar_jvalue in, const ar_jargs *args) {
    enum { ASCII, INDENT, SEPARATORS, SORT, COUNT };
    ar_jvalue v[COUNT];
    if (!ar__j_bind(v, j, "tojson", args, "ensure_ascii,indent,separators,sort_keys", 0)) return false;
    dump d = {.j = j, .ascii = ar__j_truth(v[ASCII]), .sort = ar__j_truth(v[SORT])};
    if (!read_indent(&d, v[INDENT]) || !read_separators(&d, v[SEPARATORS])) return false;
    size_t start = ar__j_here(j);
    return put_json(&d, in) && ar__j_take_value(out, j, start);
}
