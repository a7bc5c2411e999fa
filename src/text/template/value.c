/* Lists, dicts, truth, equality and order as in Python. */
#include "text/template/value.h"

#include <math.h>
#include <string.h>

#include "text/template/run.h"
#include "text/utf8.h"

const char *ar__j_type_name(ar_jvalue v) {
    static const char *const names[] = {"absent", "Undefined", "NoneType",  "bool",        "int",    "float",     "str",
                                        "list",   "tuple",     "generator", "range",       "dict",   "dict view", "Namespace",
                                        "Macro",  "function",  "method",    "LoopContext", "Joiner", "Cycler"};
    return names[v.type];
}

/* ---- undefined -------------------------------------------------------------------------------------------------*/

ar_jvalue ar__j_undefined(ar_jstr *of, uint32_t how) { return (ar_jvalue){.type = AR_J_UNDEFINED, .of = how, .s = of}; }

bool ar__j_fail_undefined(ar_jinja *j, ar_jvalue v) {
    int n = v.s ? (int)(v.s->size < 200 ? v.s->size : 200) : 0;
    const char *name = v.s ? v.s->data : "";
    if (v.of == AR_J_SAYS) return ar__j_fail(j, "%.*s", n, name);
    if (v.of == AR_J_NO_VARIABLE) return ar__j_fail(j, "'%.*s' is undefined", n, name);
    const char *type = ar__j_type_name((ar_jvalue){.type = (ar_jtype)(v.of - AR_J_NO_MEMBER)});
    return ar__j_fail(j, "'%s object' has no attribute '%.*s'", type, n, name);
}

bool ar__j_truth(ar_jvalue v) {
    switch (v.type) {
    case AR_J_ABSENT:
    case AR_J_UNDEFINED:
    case AR_J_NONE: return false;
    case AR_J_BOOL: return v.b;
    case AR_J_INT: return v.i != 0;
    case AR_J_FLOAT: return v.f != 0;
    case AR_J_STRING: return v.s->size != 0;
    case AR_J_LIST:
    case AR_J_TUPLE: return v.list->count != 0;
    case AR_J_RANGE: return v.range->count != 0;
    case AR_J_DICT: return v.dict->count != 0;
    case AR_J_VIEW: return v.view->dict->count != 0;
    default: return true;
    }
}

/* ---- lists -----------------------------------------------------------------------------------------------------*/

ar_jlist *ar__j_list_new(ar_jinja *j, size_t cap) {
    ar_jlist *l = ar__j_new(j, 1, sizeof *l);
    if (l && cap && !(l->item = ar__j_new(j, cap, sizeof *l->item))) return NULL;
    if (l) l->cap = cap;
    return l;
}

bool ar__j_list_add(ar_jinja *j, ar_jlist *l, ar_jvalue v) {
    ar_jvalue *grown = ar__jpool_grow(&j->pool, l->item, &l->cap, l->count + 1, sizeof *grown);
    if (!grown) return ar__j_fail_memory(j);
    l->item = grown;
    l->item[l->count++] = v;
    return true;
}

ar_jvalue ar__j_list_value(ar_jlist *list, ar_jtype type) { return (ar_jvalue){.type = type, .list = list}; }

/* ---- dicts -----------------------------------------------------------------------------------------------------*/

enum { HASHED_FROM = 12 }; /* smaller dicts are looked through */

bool ar__j_check_key(ar_jinja *j, ar_jvalue v) {
    if (v.type == AR_J_LIST || v.type == AR_J_DICT || v.type == AR_J_VIEW)
        return ar__j_fail(j, "found %s as a key of a dict, wanted what cannot change", ar__j_type_name(v));
    for (size_t i = 0; v.type == AR_J_TUPLE && i < v.list->count; i++)
        if (!ar__j_check_key(j, v.list->item[i])) return false;
    return true;
}

static uint64_t hash_text(const char *s, size_t n) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 1099511628211u;
    return h ^ h >> 29;
}

/* Equal values have equal ones: True, 1 and 1.0. */
static uint64_t hash_of(ar_jvalue v) {
    if (v.type == AR_J_STRING) return hash_text(v.s->data, v.s->size);
    if (ar__j_is_number(v)) {
        double f = ar__j_as_float(v);
        return hash_text((const char *)&f, sizeof f);
    }
    return (uint64_t)v.type; /* rare */
}

/* Its slot, or the free one where it belongs. */
static uint32_t *slot_of(ar_jinja *j, const ar_jdict *d, ar_jvalue key) {
    size_t i = hash_of(key) & (d->slots - 1);
    while (d->slot[i] && !ar__j_equal(j, d->pair[d->slot[i] - 1].key, key)) i = (i + 1) & (d->slots - 1);
    return &d->slot[i];
}

static bool index_pairs(ar_jinja *j, ar_jdict *d) {
    size_t slots = d->slots ? 4 * d->slots : 64;
    d->slot = ar__j_new(j, slots, sizeof *d->slot);
    if (!d->slot) return false;
    d->slots = slots;
    for (size_t i = 0; i < d->count; i++) *slot_of(j, d, d->pair[i].key) = (uint32_t)i + 1;
    return true;
}

/* j NULL: the key is a text. */
static ar_jvalue *find(ar_jinja *j, const ar_jdict *d, ar_jvalue key) {
    if (d->slots) {
        uint32_t i = *slot_of(j, d, key);
        return i ? &d->pair[i - 1].value : NULL;
    }
    for (size_t i = 0; i < d->count; i++)
        if (ar__j_equal(j, d->pair[i].key, key)) return &d->pair[i].value;
    return NULL;
}

ar_jdict *ar__j_dict_new(ar_jinja *j) { return ar__j_new(j, 1, sizeof(ar_jdict)); }

ar_jvalue *ar__j_dict_find(ar_jinja *j, const ar_jdict *d, ar_jvalue key) { return ar__j_check_key(j, key) ? find(j, d, key) : NULL; }

ar_jvalue *ar__j_dict_find_text(const ar_jdict *d, const char *text, size_t n) {
    ar_jstr s = {.data = text, .size = n};
    return find(NULL, d, ar__j_string(&s));
}

bool ar__j_dict_set(ar_jinja *j, ar_jdict *d, ar_jvalue key, ar_jvalue v) {
    ar_jvalue *there = ar__j_dict_find(j, d, key);
    if (j->status) return false;
    if (there) {
        *there = v;
        return true;
    }
    ar_jpair *grown = ar__jpool_grow(&j->pool, d->pair, &d->cap, d->count + 1, sizeof *grown);
    if (!grown || d->count >= UINT32_MAX / 4) return ar__j_fail_memory(j);
    d->pair = grown;
    d->pair[d->count++] = (ar_jpair){key, v};
    if (d->count > HASHED_FROM && 2 * d->count > d->slots) return index_pairs(j, d);
    if (d->slots) *slot_of(j, d, key) = (uint32_t)d->count;
    return true;
}

/* ---- equality and order --------------------------------------------------------------------------------------------*/

static bool equal_lists(ar_jinja *j, const ar_jlist *a, const ar_jlist *b) {
    bool same = a->count == b->count && ar__j_spend(j, a->count / 8);
    for (size_t i = 0; same && i < a->count; i++) same = ar__j_equal(j, a->item[i], b->item[i]);
    return same;
}

static bool equal_dicts(ar_jinja *j, const ar_jdict *a, const ar_jdict *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        const ar_jvalue *v = find(j, b, a->pair[i].key);
        same = v && ar__j_equal(j, a->pair[i].value, *v);
    }
    return same;
}

static bool equal_ranges(const ar_jrange *a, const ar_jrange *b) {
    return a->count == b->count && (a->count < 1 || a->start == b->start) && (a->count < 2 || a->step == b->step);
}

static bool equal_views(ar_jinja *j, const ar_jview *a, const ar_jview *b) {
    if (a == b || a->kind != b->kind || a->kind == AR_J_VALUES) return a == b;
    if (a->kind == AR_J_ITEMS) return equal_dicts(j, a->dict, b->dict);
    bool same = a->dict->count == b->dict->count;
    for (size_t i = 0; same && i < a->dict->count; i++) same = find(j, b->dict, a->dict->pair[i].key);
    return same;
}

static bool equal_inside(ar_jinja *j, ar_jvalue a, ar_jvalue b) {
    switch (a.type) {
    case AR_J_DICT: return equal_dicts(j, a.dict, b.dict);
    case AR_J_VIEW: return equal_views(j, a.view, b.view);
    default: return equal_lists(j, a.list, b.list);
    }
}

/* False, with an error in j, where it takes too long or goes too deep.  j NULL: one of them is a text. */
bool ar__j_equal(ar_jinja *j, ar_jvalue a, ar_jvalue b) {
    if (ar__j_is_number(a) && ar__j_is_number(b)) {
        if (a.type != AR_J_FLOAT && b.type != AR_J_FLOAT) return ar__j_as_int(a) == ar__j_as_int(b);
        return ar__j_as_float(a) == ar__j_as_float(b);
    }
    if (a.type != b.type) return false;
    switch (a.type) {
    case AR_J_ABSENT:
    case AR_J_UNDEFINED:
    case AR_J_NONE: return true;
    case AR_J_STRING: return (!j || a.s->size != b.s->size || ar__j_spend(j, a.s->size / 64)) && ar__j_same(a.s, b.s);
    case AR_J_RANGE: return equal_ranges(a.range, b.range);
    case AR_J_LIST:
    case AR_J_TUPLE:
    case AR_J_DICT:
    case AR_J_VIEW: break;
    default: return a.list == b.list;
    }
    if (a.list == b.list && a.type != AR_J_VIEW) return true;
    if (j->depth >= AR_J_DEPTH) return ar__j_fail(j, "compares what is nested more than %d deep", (int)AR_J_DEPTH);
    if (!ar__j_spend(j, 1)) return false;
    j->depth++;
    bool same = equal_inside(j, a, b);
    j->depth--;
    return same;
}

static int order_text(const ar_jstr *a, const ar_jstr *b) {
    size_t n = a->size < b->size ? a->size : b->size;
    int order = memcmp(a->data, b->data, n); /* UTF-8 sorts as code points do */
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static bool compare_order(bool *out, ar_jop op, int order) {
    *out = op == AR_OP_LT ? order < 0 : op == AR_OP_LE ? order <= 0 : op == AR_OP_GT ? order > 0 : order >= 0;
    return true;
}

static bool compare_numbers(bool *out, ar_jop op, ar_jvalue a, ar_jvalue b) {
    if (a.type != AR_J_FLOAT && b.type != AR_J_FLOAT) {
        int64_t x = ar__j_as_int(a), y = ar__j_as_int(b);
        return compare_order(out, op, (x > y) - (x < y));
    }
    double x = ar__j_as_float(a), y = ar__j_as_float(b);
    *out = op == AR_OP_LT ? x < y : op == AR_OP_LE ? x <= y : op == AR_OP_GT ? x > y : x >= y; /* NaN: false */
    return true;
}

static bool unordered(ar_jinja *j, ar_jop op, ar_jvalue a, ar_jvalue b) {
    static const char *const signs[] = {"<", "<=", ">", ">="};
    if (a.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, a);
    if (b.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, b);
    return ar__j_fail(j, "'%s' does not stand between %s and %s", signs[op - AR_OP_LT], ar__j_type_name(a), ar__j_type_name(b));
}

static bool compare_inside(bool *out, ar_jinja *j, ar_jop op, ar_jvalue a, ar_jvalue b) {
    if (j->depth >= AR_J_DEPTH) return ar__j_fail(j, "compares what is nested more than %d deep", (int)AR_J_DEPTH);
    j->depth++;
    bool ok = ar__j_compare(out, j, op, a, b);
    j->depth--;
    return ok;
}

/* By the first items that differ. */
static bool compare_lists(bool *out, ar_jinja *j, ar_jop op, ar_jvalue a, ar_jvalue b) {
    size_t i = 0;
    while (i < a.list->count && i < b.list->count && ar__j_spend(j, 1) && ar__j_equal(j, a.list->item[i], b.list->item[i])) i++;
    if (j->status) return false;
    if (i < a.list->count && i < b.list->count) return compare_inside(out, j, op, a.list->item[i], b.list->item[i]);
    return compare_order(out, op, (a.list->count > b.list->count) - (a.list->count < b.list->count));
}

bool ar__j_compare(bool *out, ar_jinja *j, ar_jop op, ar_jvalue a, ar_jvalue b) {
    switch (op) {
    case AR_OP_EQ: *out = ar__j_equal(j, a, b); return !j->status;
    case AR_OP_NE: *out = !ar__j_equal(j, a, b); return !j->status;
    case AR_OP_IN: return ar__j_contains(out, j, b, a);
    case AR_OP_NOT_IN:
        if (!ar__j_contains(out, j, b, a)) return false;
        *out = !*out;
        return true;
    default: break;
    }
    if (ar__j_is_number(a) && ar__j_is_number(b)) return compare_numbers(out, op, a, b);
    if (a.type == AR_J_STRING && b.type == AR_J_STRING)
        return ar__j_spend(j, (a.s->size + b.s->size) / 64) && compare_order(out, op, order_text(a.s, b.s));
    if (ar__j_is_sequence(a) && a.type == b.type) return compare_lists(out, j, op, a, b);
    return unordered(j, op, a, b);
}

bool ar__j_contains(bool *out, ar_jinja *j, ar_jvalue where, ar_jvalue what) {
    ar_jwalk w;
    ar_jvalue item;
    *out = false;
    if (where.type == AR_J_STRING) {
        if (what.type != AR_J_STRING) return ar__j_fail(j, "'in <string>' wants a string on the left, found %s", ar__j_type_name(what));
        *out = ar__j_find(where.s, what.s, 0) != SIZE_MAX;
        return ar__j_spend(j, where.s->size / 16);
    }
    if (where.type == AR_J_DICT) {
        *out = ar__j_dict_find(j, where.dict, what) != NULL;
        return !j->status;
    }
    if (!ar__j_walk(&w, j, where)) return false;
    while (!*out && ar__j_next(&item, j, &w)) *out = ar__j_spend(j, 1) && ar__j_equal(j, item, what);
    return !j->status;
}

/* ---- going through -----------------------------------------------------------------------------------------------*/

bool ar__j_can_walk(ar_jvalue v) {
    switch (v.type) {
    case AR_J_UNDEFINED:
    case AR_J_STRING:
    case AR_J_LIST:
    case AR_J_TUPLE:
    case AR_J_STREAM:
    case AR_J_RANGE:
    case AR_J_DICT:
    case AR_J_VIEW: return true;
    default: return false;
    }
}

bool ar__j_walk(ar_jwalk *out, ar_jinja *j, ar_jvalue v) {
    *out = (ar_jwalk){.of = v};
    return ar__j_can_walk(v) || ar__j_fail(j, "'%s' object is not iterable", ar__j_type_name(v));
}

static bool next_point(ar_jvalue *out, ar_jinja *j, ar_jwalk *w) {
    const ar_jstr *s = w->of.s;
    if (w->at >= s->size) return false;
    size_t n = ar__utf8_size(s->data[w->at]);
    ar_jstr *part = ar__j_part(j, s, w->at, w->at + n);
    if (!part) return false;
    w->at += n;
    part->markup = false;
    *out = ar__j_string(part);
    return true;
}

static bool next_streamed(ar_jvalue *out, ar_jinja *j, ar_jlist *l) {
    if (l->read < l->count) {
        *out = l->item[l->read++];
        return true;
    }
    const char *failed = l->failed;
    l->failed = NULL;
    return failed ? ar__j_fail(j, "%s", failed) : false;
}

static bool next_viewed(ar_jvalue *out, ar_jinja *j, const ar_jview *view, size_t i) {
    const ar_jpair *p = &view->dict->pair[i];
    *out = view->kind == AR_J_KEYS ? p->key : p->value;
    if (view->kind != AR_J_ITEMS) return true;
    ar_jlist *both = ar__j_list_new(j, 2);
    if (!both) return false;
    both->item[0] = p->key;
    both->item[1] = p->value;
    both->count = 2;
    *out = ar__j_list_value(both, AR_J_TUPLE);
    return true;
}

bool ar__j_next(ar_jvalue *out, ar_jinja *j, ar_jwalk *w) {
    size_t i = w->at;
    if (!ar__j_spend(j, 1)) return false;
    switch (w->of.type) {
    case AR_J_STRING: return next_point(out, j, w);
    case AR_J_STREAM: return next_streamed(out, j, w->of.list);
    case AR_J_LIST:
    case AR_J_TUPLE:
        if (i >= w->of.list->count) return false;
        *out = w->of.list->item[w->at++];
        return true;
    case AR_J_RANGE:
        if (i >= w->of.range->count) return false;
        *out = ar__j_int(w->of.range->start + (int64_t)w->at++ * w->of.range->step);
        return true;
    case AR_J_DICT:
        if (i >= w->of.dict->count) return false;
        *out = w->of.dict->pair[w->at++].key;
        return true;
    case AR_J_VIEW:
        if (i >= w->of.view->dict->count) return false;
        w->at++;
        return next_viewed(out, j, w->of.view, i);
    default: return false;
    }
}

ar_jlist *ar__j_gather(ar_jinja *j, ar_jvalue v) {
    ar_jwalk w;
    ar_jvalue item;
    ar_jlist *l = ar__j_walk(&w, j, v) ? ar__j_list_new(j, 0) : NULL;
    while (l && ar__j_next(&item, j, &w))
        if (!ar__j_list_add(j, l, item)) return NULL;
    return j->status ? NULL : l;
}

bool ar__j_length(int64_t *out, ar_jinja *j, ar_jvalue v) {
    switch (v.type) {
    case AR_J_UNDEFINED: *out = 0; return true;
    case AR_J_STRING: *out = ar__j_points(v.s); return ar__j_spend(j, v.s->size / 64);
    case AR_J_LIST:
    case AR_J_TUPLE: *out = (int64_t)v.list->count; return true;
    case AR_J_RANGE: *out = (int64_t)v.range->count; return true;
    case AR_J_DICT: *out = (int64_t)v.dict->count; return true;
    case AR_J_VIEW: *out = (int64_t)v.view->dict->count; return true;
    case AR_J_LOOP: {
        ar_jvalue length;
        ar_jstr name = {.data = "length", .size = 6};
        if (!ar__j_loop_member(&length, j, v.loop, &name)) return false;
        *out = length.i;
        return true;
    }
    default: return ar__j_fail(j, "object of type '%s' has no len()", ar__j_type_name(v));
    }
}
