/* Methods of text, lists, dicts, cyclers: Python's, without those that change something. */
#include <string.h>

#include "text/template/letters.h"
#include "text/template/markup.h"
#include "text/template/run.h"
#include "text/template/text_ops.h"
#include "text/utf8.h"

#define METHOD(name) static bool name##_(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args)

static bool give(ar_jvalue *out, ar_jstr *s) {
    if (s) *out = ar__j_string(s);
    return s != NULL;
}

static bool give_list(ar_jvalue *out, ar_jlist *l) {
    if (l) *out = ar__j_list_value(l, AR_J_LIST);
    return l != NULL;
}

/* Methods of C's kind take no keywords. */
static bool bind(ar_jvalue *out, ar_jinja *j, const char *what, const ar_jargs *args, const char *names, size_t needed) {
    if (args->named_count) return ar__j_fail(j, "%s takes no keyword arguments", what);
    return ar__j_bind(out, j, what, args, names, needed);
}

/* ---- case ----------------------------------------------------------------------------------------------------------*/

static bool recase(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args, ar_jcase how) {
    if (!bind(NULL, j, "a method", args, "", 0)) return false;
    size_t start = ar__j_here(j);
    ar__j_put_case(j, self.s, 0, self.s->size, how);
    return ar__j_take_value(out, j, start);
}

METHOD(upper) { return recase(out, j, self, args, AR_CASE_UPPER); }
METHOD(lower) { return recase(out, j, self, args, AR_CASE_LOWER); }
METHOD(casefold) { return recase(out, j, self, args, AR_CASE_FOLD); }
METHOD(swapcase) { return recase(out, j, self, args, AR_CASE_SWAP); }
METHOD(title) { return recase(out, j, self, args, AR_CASE_TITLE); }
METHOD(capitalize) { return recase(out, j, self, args, AR_CASE_CAPITALIZE); }

#define IS(name, condition)                                                                                                                \
    METHOD(name) {                                                                                                                         \
        *out = ar__j_bool(condition);                                                                                                      \
        return bind(NULL, j, #name, args, "", 0);                                                                                          \
    }

static bool is_ascii(const ar_jstr *s) {
    for (size_t i = 0; i < s->size; i++)
        if ((unsigned char)s->data[i] >= 0x80) return false;
    return true;
}

static bool is_identifier(const ar_jstr *s) {
    size_t len;
    for (size_t i = 0; i < s->size; i += len) {
        uint32_t c = ar__utf8_get(s->data + i, &len);
        if (i ? !ar__j_is_word(c) : !ar__j_starts_name(c)) return false;
    }
    return s->size != 0;
}

IS(isalpha, ar__j_are(self.s, AR_ARE_ALPHA))
IS(isalnum, ar__j_are(self.s, AR_ARE_ALNUM))
IS(isdigit, ar__j_are(self.s, AR_ARE_DIGIT))
IS(isdecimal, ar__j_are(self.s, AR_ARE_DECIMAL))
IS(isnumeric, ar__j_are(self.s, AR_ARE_NUMERIC))
IS(isspace, ar__j_are(self.s, AR_ARE_SPACE))
IS(isprintable, ar__j_are(self.s, AR_ARE_PRINTABLE))
IS(isupper, ar__j_is_cased(self.s, true))
IS(islower, ar__j_is_cased(self.s, false))
IS(istitle, ar__j_is_title(self.s))
IS(isascii, is_ascii(self.s))
IS(isidentifier, is_identifier(self.s))

/* ---- ends ----------------------------------------------------------------------------------------------------------*/

static bool strip_sides(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args, int sides) {
    ar_jvalue v;
    ar_jstr *chars = NULL;
    if (!bind(&v, j, "strip", args, "chars", 0) || (v.type != AR_J_NONE && !ar__j_arg_str(&chars, j, "strip", v))) return false;
    return give(out, ar__j_strip(j, self.s, chars, sides));
}

METHOD(strip) { return strip_sides(out, j, self, args, AR_STRIP_LEFT | AR_STRIP_RIGHT); }
METHOD(lstrip) { return strip_sides(out, j, self, args, AR_STRIP_LEFT); }
METHOD(rstrip) { return strip_sides(out, j, self, args, AR_STRIP_RIGHT); }

static bool begins(const ar_jstr *s, const ar_jstr *with) { return s->size >= with->size && !memcmp(s->data, with->data, with->size); }
static bool ends(const ar_jstr *s, const ar_jstr *with) {
    return s->size >= with->size && !memcmp(s->data + s->size - with->size, with->data, with->size);
}

METHOD(removeprefix) {
    ar_jvalue v;
    ar_jstr *s = NULL;
    if (!bind(&v, j, "removeprefix", args, "prefix", 1) || !ar__j_arg_str(&s, j, "removeprefix", v)) return false;
    return give(out, ar__j_part(j, self.s, begins(self.s, s) ? s->size : 0, self.s->size));
}

METHOD(removesuffix) {
    ar_jvalue v;
    ar_jstr *s = NULL;
    if (!bind(&v, j, "removesuffix", args, "suffix", 1) || !ar__j_arg_str(&s, j, "removesuffix", v)) return false;
    return give(out, ar__j_part(j, self.s, 0, self.s->size - (ends(self.s, s) ? s->size : 0)));
}

/* The part [start, end) that a method looks at; false: it begins behind the end. */
static bool range_of(size_t *from, size_t *to, bool *within, ar_jinja *j, ar_jstr *s, const ar_jvalue v[2]) {
    int64_t n = ar__j_points(s), bound[2] = {0, n};
    for (int i = 0; i < 2; i++) {
        if (v[i].type == AR_J_NONE) continue;
        if (!ar__j_arg_int(&bound[i], j, "start or end", v[i])) return false;
        if (bound[i] < 0) bound[i] += n;
        if (bound[i] < 0) bound[i] = 0;
    }
    *within = bound[0] <= n && bound[0] <= (bound[1] < n ? bound[1] : n);
    if (bound[1] > n) bound[1] = n;
    if (!*within) return true;
    *from = ar__j_offset(s, bound[0]);
    *to = ar__j_offset(s, bound[1]);
    return true;
}

static bool affix(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args, const char *name,
                  bool (*has)(const ar_jstr *, const ar_jstr *)) {
    ar_jvalue v[3];
    size_t from, to;
    bool within, found = false;
    if (!bind(v, j, name, args, "prefix,start,end", 1) || !range_of(&from, &to, &within, j, self.s, v + 1)) return false;
    ar_jstr part = within ? (ar_jstr){.data = self.s->data + from, .size = to - from} : (ar_jstr){.data = ""};
    if (v[0].type == AR_J_TUPLE) {
        for (size_t i = 0; i < v[0].list->count && !found; i++) {
            ar_jstr *one = NULL;
            if (!ar__j_arg_str(&one, j, name, v[0].list->item[i])) return false;
            found = within && has(&part, one);
        }
    } else {
        ar_jstr *one = NULL;
        if (!ar__j_arg_str(&one, j, name, v[0])) return false;
        found = within && has(&part, one);
    }
    *out = ar__j_bool(found);
    return true;
}

METHOD(startswith) { return affix(out, j, self, args, "startswith", begins); }
METHOD(endswith) { return affix(out, j, self, args, "endswith", ends); }

/* ---- finding ---------------------------------------------------------------------------------------------------------*/

/* Where it stands, in code points; -1. */
static bool find_in(int64_t *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args, const char *name, bool last) {
    ar_jvalue v[3];
    ar_jstr *what = NULL;
    size_t from, to;
    bool within;
    *out = -1;
    if (!bind(v, j, name, args, "sub,start,end", 1) || !ar__j_arg_str(&what, j, name, v[0]) ||
        !range_of(&from, &to, &within, j, self.s, v + 1))
        return false;
    if (!within) return true;
    ar_jstr part = {.data = self.s->data, .size = to};
    size_t at = ar__j_find(&part, what, from), next = at;
    while (last && next != SIZE_MAX && next < to) {
        next = ar__j_find(&part, what, next + 1);
        if (next != SIZE_MAX) at = next;
    }
    if (at == SIZE_MAX) return true;
    *out = 0;
    for (size_t i = 0; i < at; i++) *out += (self.s->data[i] & 0xC0) != 0x80;
    return ar__j_spend(j, self.s->size / 32);
}

static bool found(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args, const char *name, bool last, bool must) {
    int64_t at;
    if (!find_in(&at, j, self, args, name, last)) return false;
    if (must && at < 0) return ar__j_fail(j, "%s: substring not found", name);
    *out = ar__j_int(at);
    return true;
}

METHOD(find) { return found(out, j, self, args, "find", false, false); }
METHOD(rfind) { return found(out, j, self, args, "rfind", true, false); }
METHOD(index) { return found(out, j, self, args, "index", false, true); }
METHOD(rindex) { return found(out, j, self, args, "rindex", true, true); }

METHOD(count) {
    ar_jvalue v[3];
    ar_jstr *what = NULL;
    size_t from, to;
    bool within;
    int64_t n = 0;
    if (!bind(v, j, "count", args, "sub,start,end", 1) || !ar__j_arg_str(&what, j, "count", v[0]) ||
        !range_of(&from, &to, &within, j, self.s, v + 1))
        return false;
    ar_jstr part = {.data = self.s->data, .size = within ? to : 0};
    if (within && !what->size) {
        for (size_t i = from; i < to; i++) n += (self.s->data[i] & 0xC0) != 0x80;
        n++;
    }
    while (within && what->size && (from = ar__j_find(&part, what, from)) != SIZE_MAX) {
        n++;
        from += what->size;
    }
    *out = ar__j_int(n);
    return ar__j_spend(j, self.s->size / 32);
}

static bool replace_with(ar_jvalue *out, ar_jinja *j, ar_jvalue self, ar_jstr *old, ar_jstr *by, int64_t count) {
    ar_jvalue escaped = ar__j_string(by);
    if (self.s->markup && !ar__j_escape(&escaped, j, escaped)) return false;
    by = escaped.s;
    size_t start = ar__j_here(j);
    return ar__j_put_replaced(j, self.s, old, by, count) && ar__j_take_value(out, j, start);
}

METHOD(replace) {
    ar_jvalue v[3];
    ar_jstr *old = NULL, *by = NULL;
    int64_t count = -1;
    if (!bind(v, j, "replace", args, "old,new,count", 2) || !ar__j_arg_str(&old, j, "replace", v[0]) ||
        !ar__j_arg_str(&by, j, "replace", v[1]) || !ar__j_arg_int(&count, j, "replace", v[2]))
        return false;
    return replace_with(out, j, self, old, by, count);
}

/* ---- cutting and joining ---------------------------------------------------------------------------------------------*/

static bool split_from(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args, bool right) {
    ar_jvalue v[2];
    ar_jstr *separator = NULL;
    int64_t most = -1;
    if (!ar__j_bind(v, j, "split", args, "sep,maxsplit", 0)) return false;
    if (v[0].type != AR_J_NONE && !ar__j_arg_str(&separator, j, "split", v[0])) return false;
    if (!ar__j_arg_int(&most, j, "split", v[1])) return false;
    return give_list(out, ar__j_split(j, self.s, separator, most, right));
}

METHOD(split) { return split_from(out, j, self, args, false); }
METHOD(rsplit) { return split_from(out, j, self, args, true); }

METHOD(splitlines) {
    ar_jvalue keep;
    if (!ar__j_bind(&keep, j, "splitlines", args, "keepends", 0)) return false;
    return give_list(out, ar__j_split_lines(j, self.s, ar__j_truth(keep)));
}

static bool part_at(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args, bool last) {
    ar_jvalue v;
    ar_jstr *separator = NULL;
    if (!bind(&v, j, "partition", args, "sep", 1) || !ar__j_arg_str(&separator, j, "partition", v)) return false;
    if (!separator->size) return ar__j_fail(j, "partition: empty separator");
    size_t at = ar__j_find(self.s, separator, 0), next = at;
    while (last && next != SIZE_MAX && (next = ar__j_find(self.s, separator, next + 1)) != SIZE_MAX) at = next;
    bool none = at == SIZE_MAX;
    size_t n = self.s->size, cut[4] = {0, at, at + separator->size, n};
    if (none && last) cut[1] = cut[2] = 0;
    if (none && !last) cut[1] = cut[2] = n;
    ar_jlist *l = ar__j_list_new(j, 3);
    for (int i = 0; l && i < 3; i++) {
        ar_jstr *part = ar__j_part(j, self.s, cut[i], cut[i + 1]);
        if (!part) return false;
        l->item[l->count++] = ar__j_string(part);
    }
    if (l) *out = ar__j_list_value(l, AR_J_TUPLE);
    return l != NULL;
}

METHOD(partition) { return part_at(out, j, self, args, false); }
METHOD(rpartition) { return part_at(out, j, self, args, true); }

METHOD(join) {
    ar_jvalue v, item;
    ar_jwalk w;
    bool any = false;
    if (!bind(&v, j, "join", args, "iterable", 1) || !ar__j_walk(&w, j, v)) return false;
    size_t start = ar__j_here(j);
    for (; ar__j_next(&item, j, &w); any = true) {
        if (self.s->markup && item.type != AR_J_STRING && !ar__j_escape(&item, j, item)) return false;
        if (item.type != AR_J_STRING) return ar__j_fail(j, "join: found %s in the list, wanted strings", ar__j_type_name(item));
        if (any) ar__j_put_str(j, self.s);
        ar__j_put_escaped(j, item.s, self.s->markup && !item.s->markup);
    }
    return !j->status && ar__j_take_value(out, j, start);
}

METHOD(format) { return ar__j_format(out, j, self.s, args); }

METHOD(format_map) {
    ar_jvalue v;
    if (!bind(&v, j, "format_map", args, "mapping", 1)) return false;
    if (v.type != AR_J_DICT) return ar__j_fail(j, "format_map: found %s, wanted a dict", ar__j_type_name(v));
    ar_jargs named = {.named = v.dict->pair, .named_count = v.dict->count};
    for (size_t i = 0; i < named.named_count; i++)
        if (named.named[i].key.type != AR_J_STRING) return ar__j_fail(j, "format_map: wanted strings as keys");
    return ar__j_format(out, j, self.s, &named);
}

/* ---- width -----------------------------------------------------------------------------------------------------------*/

static bool pad(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args, char align) {
    static ar_jstr space = {.data = " ", .size = 1, .points = 1};
    ar_jvalue v[2];
    ar_jstr *fill = &space;
    int64_t width = 0;
    if (!bind(v, j, "a method", args, "width,fillchar", 1) || !ar__j_arg_int(&width, j, "width", v[0]) ||
        !ar__j_arg_str(&fill, j, "fillchar", v[1]))
        return false;
    if (ar__j_points(fill) != 1) return ar__j_fail(j, "the fill character must be exactly one character long");
    size_t start = ar__j_here(j);
    return ar__j_put_padded(j, self.s, width, align, fill) && ar__j_take_value(out, j, start);
}

METHOD(center) { return pad(out, j, self, args, 'c'); }
METHOD(ljust) { return pad(out, j, self, args, '<'); }
METHOD(rjust) { return pad(out, j, self, args, '>'); }

METHOD(zfill) {
    static const ar_jstr zero = {.data = "0", .size = 1, .points = 1};
    ar_jvalue v;
    int64_t width = 0;
    if (!bind(&v, j, "zfill", args, "width", 1) || !ar__j_arg_int(&width, j, "zfill", v)) return false;
    size_t start = ar__j_here(j), sign = self.s->size && (self.s->data[0] == '-' || self.s->data[0] == '+');
    ar__j_put_part(j, self.s, 0, sign);
    ar__j_put_times(j, &zero, width - ar__j_points(self.s));
    ar__j_put_part(j, self.s, sign, self.s->size);
    return ar__j_take_value(out, j, start);
}

METHOD(expandtabs) {
    static const ar_jstr space = {.data = " ", .size = 1, .points = 1};
    ar_jvalue v;
    int64_t size = 8, column = 0;
    size_t len;
    if (!ar__j_bind(&v, j, "expandtabs", args, "tabsize", 0) || !ar__j_arg_int(&size, j, "expandtabs", v)) return false;
    size_t start = ar__j_here(j);
    for (size_t i = 0; i < self.s->size && !j->status; i += len) {
        len = ar__utf8_size(self.s->data[i]);
        if (self.s->data[i] != '\t') {
            ar__j_put_part(j, self.s, i, i + len);
            column = self.s->data[i] == '\n' || self.s->data[i] == '\r' ? 0 : column + 1;
            continue;
        }
        int64_t n = size > 0 ? size - column % size : 0;
        ar__j_put_times(j, &space, n);
        column += n;
    }
    return ar__j_take_value(out, j, start);
}

/* ---- lists and dicts -------------------------------------------------------------------------------------------------*/

METHOD(list_count) {
    ar_jvalue v;
    int64_t n = 0;
    if (!bind(&v, j, "count", args, "value", 1)) return false;
    for (size_t i = 0; i < self.list->count; i++) n += ar__j_equal(j, self.list->item[i], v);
    *out = ar__j_int(n);
    return ar__j_spend(j, self.list->count);
}

METHOD(list_index) {
    ar_jvalue v[3];
    int64_t n = (int64_t)self.list->count, bound[2] = {0, n};
    if (!bind(v, j, "index", args, "value,start,stop", 1)) return false;
    for (int i = 0; i < 2; i++) {
        if (!ar__j_arg_int(&bound[i], j, "index", v[1 + i])) return false;
        if (bound[i] < 0) bound[i] = bound[i] + n < 0 ? 0 : bound[i] + n;
    }
    for (int64_t i = bound[0]; i < bound[1] && i < n && ar__j_spend(j, 1); i++)
        if (ar__j_equal(j, self.list->item[i], v[0])) {
            *out = ar__j_int(i);
            return true;
        }
    if (j->status) return false;
    return ar__j_fail(j, "index: the value is not in the list");
}

METHOD(list_copy) { return bind(NULL, j, "copy", args, "", 0) && give_list(out, ar__j_gather(j, self)); }

static bool view(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args, ar_jview_kind kind) {
    ar_jview *v = ar__j_new(j, 1, sizeof *v);
    if (!v || !bind(NULL, j, "a method", args, "", 0)) return false;
    *v = (ar_jview){self.dict, kind};
    *out = (ar_jvalue){.type = AR_J_VIEW, .view = v};
    return true;
}

METHOD(keys) { return view(out, j, self, args, AR_J_KEYS); }
METHOD(values) { return view(out, j, self, args, AR_J_VALUES); }
METHOD(items) { return view(out, j, self, args, AR_J_ITEMS); }

METHOD(get) {
    ar_jvalue v[2], *there;
    if (!bind(v, j, "get", args, "key,default", 1)) return false;
    there = ar__j_dict_find(j, self.dict, v[0]);
    *out = there ? *there : v[1].type == AR_J_ABSENT ? ar__j_none() : v[1];
    return !j->status;
}

METHOD(dict_copy) {
    ar_jdict *d = bind(NULL, j, "copy", args, "", 0) ? ar__j_dict_new(j) : NULL;
    for (size_t i = 0; d && i < self.dict->count; i++)
        if (!ar__j_dict_set(j, d, self.dict->pair[i].key, self.dict->pair[i].value)) return false;
    *out = (ar_jvalue){.type = AR_J_DICT, .dict = d};
    return d != NULL;
}

METHOD(next) {
    ar_jcycler *c = self.cycler;
    if (!bind(NULL, j, "next", args, "", 0)) return false;
    *out = c->item[c->at];
    c->at = (c->at + 1) % c->count;
    return true;
}

METHOD(reset) {
    if (!bind(NULL, j, "reset", args, "", 0)) return false;
    self.cycler->at = 0;
    *out = ar__j_none();
    return true;
}

METHOD(is_integer) {
    *out = ar__j_bool(self.type != AR_J_FLOAT || self.f == (double)(int64_t)self.f);
    return bind(NULL, j, "is_integer", args, "", 0);
}

/* ---- tables ----------------------------------------------------------------------------------------------------------*/

typedef struct row {
    const char *name;
    size_t size;
    bool (*run)(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args);
} row;

/* clang-format off */
#define ROW(name) {#name, sizeof #name - 1, name##_}
#define NAMED(name, run) {name, sizeof(name) - 1, run}
/* clang-format on */

static const row of_text[] = {ROW(upper),      ROW(lower),        ROW(casefold),     ROW(swapcase),   ROW(title),
                              ROW(capitalize), ROW(isalpha),      ROW(isalnum),      ROW(isdigit),    ROW(isdecimal),
                              ROW(isnumeric),  ROW(isspace),      ROW(isprintable),  ROW(isupper),    ROW(islower),
                              ROW(istitle),    ROW(isascii),      ROW(isidentifier), ROW(strip),      ROW(lstrip),
                              ROW(rstrip),     ROW(removeprefix), ROW(removesuffix), ROW(startswith), ROW(endswith),
                              ROW(find),       ROW(rfind),        ROW(index),        ROW(rindex),     ROW(count),
                              ROW(replace),    ROW(split),        ROW(rsplit),       ROW(splitlines), ROW(partition),
                              ROW(rpartition), ROW(join),         ROW(format),       ROW(format_map), ROW(center),
                              ROW(ljust),      ROW(rjust),        ROW(zfill),        ROW(expandtabs), {0}};
static const row of_list[] = {NAMED("count", list_count_), NAMED("index", list_index_), NAMED("copy", list_copy_), {0}};
static const row of_tuple[] = {NAMED("count", list_count_), NAMED("index", list_index_), {0}};
static const row of_dict[] = {ROW(keys), ROW(values), ROW(items), ROW(get), NAMED("copy", dict_copy_), {0}};
static const row of_cycler[] = {ROW(next), ROW(reset), {0}};
static const row of_float[] = {ROW(is_integer), {0}};

METHOD(fromkeys) {
    ar_jvalue v[2], key;
    ar_jwalk w;
    ar_jdict *d = ar__j_dict_new(j);
    (void)self;
    if (!d || !bind(v, j, "fromkeys", args, "iterable,value", 1) || !ar__j_walk(&w, j, v[0])) return false;
    if (v[1].type == AR_J_ABSENT) v[1] = ar__j_none();
    while (ar__j_next(&key, j, &w))
        if (!ar__j_dict_set(j, d, key, v[1])) return false;
    *out = (ar_jvalue){.type = AR_J_DICT, .dict = d};
    return !j->status;
}

static const row of_dict_function[] = {ROW(fromkeys), {0}};

static const row *rows_of(ar_jtype type) {
    switch (type) {
    case AR_J_STRING: return of_text;
    case AR_J_LIST: return of_list;
    case AR_J_TUPLE: return of_tuple;
    case AR_J_DICT: return of_dict;
    case AR_J_CYCLER: return of_cycler;
    case AR_J_FLOAT: return of_float;
    default: return NULL;
    }
}

bool ar__j_method(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jstr *name) {
    const row *r = rows_of(self.type);
    if (self.type == AR_J_FUNCTION && !strcmp(self.function->name, "dict")) r = of_dict_function;
    while (r && r->name && (r->size != name->size || memcmp(r->name, name->data, r->size) != 0)) r++;
    if (!r || !r->name) return true;
    ar_jmethod *m = ar__j_new(j, 1, sizeof *m);
    if (!m) return false;
    *m = (ar_jmethod){self, r->name, r->run};
    *out = (ar_jvalue){.type = AR_J_METHOD, .method = m};
    return true;
}
