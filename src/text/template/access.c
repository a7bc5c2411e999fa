/* x.name, x[key], x[from:to:step]. */
#include <string.h>

#include "text/template/run.h"
#include "text/utf8.h"

static uint32_t no_member(ar_jvalue of) { return AR_J_NO_MEMBER + (uint32_t)of.type; }

/* What a sandbox keeps from templates: _names, and methods that change lists and dicts. */
static bool is_unsafe(ar_jvalue of, const ar_jstr *name) {
    static const char *const lists[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};
    static const char *const dicts[] = {"clear", "pop", "popitem", "setdefault", "update"};
    for (size_t i = 0; of.type == AR_J_LIST && i < sizeof lists / sizeof *lists; i++)
        if (ar__j_is(name, lists[i])) return true;
    for (size_t i = 0; of.type == AR_J_DICT && i < sizeof dicts / sizeof *dicts; i++)
        if (ar__j_is(name, dicts[i])) return true;
    return false;
}

static bool unsafe_member(ar_jvalue *out, ar_jinja *j, ar_jvalue of, const ar_jstr *name) {
    size_t start = ar__j_here(j);
    ar__j_puts(j, "access to attribute '");
    ar__j_put_str(j, name);
    ar__j_puts(j, "' of '");
    ar__j_puts(j, ar__j_type_name(of));
    ar__j_puts(j, "' object is unsafe.");
    ar_jstr *says = ar__j_take(j, start);
    *out = ar__j_undefined(says, AR_J_SAYS);
    return says != NULL;
}

static bool macro_member(ar_jvalue *out, ar_jinja *j, const ar_jmacro *m, const ar_jstr *name) {
    if (ar__j_is(name, "name")) *out = m->node->name ? ar__j_string(m->node->name) : ar__j_none();
    if (ar__j_is(name, "catch_varargs")) *out = ar__j_bool(m->node->op & AR_J_USES_VARARGS);
    if (ar__j_is(name, "catch_kwargs")) *out = ar__j_bool(m->node->op & AR_J_USES_KWARGS);
    if (ar__j_is(name, "caller")) *out = ar__j_bool(m->node->op & AR_J_USES_CALLER);
    if (!ar__j_is(name, "arguments")) return true;
    ar_jlist *l = ar__j_list_new(j, 0);
    for (const ar_jnode *p = m->node->other; l && p; p = p->next)
        if (!ar__j_list_add(j, l, ar__j_string(p->name))) return false;
    *out = ar__j_list_value(l, AR_J_TUPLE);
    return l != NULL;
}

/* getattr of Python; *out stays ABSENT where there is none. */
static bool own_attribute(ar_jvalue *out, ar_jinja *j, ar_jvalue of, const ar_jstr *name) {
    ar_jvalue *v;
    switch (of.type) {
    case AR_J_NAMESPACE:
        v = ar__j_dict_find_text(of.dict, name->data, name->size);
        if (v) *out = *v;
        return true;
    case AR_J_LOOP: return ar__j_loop_member(out, j, of.loop, name);
    case AR_J_MACRO: return macro_member(out, j, of.macro, name);
    case AR_J_TUPLE:
        if (of.list->grouped && ar__j_is(name, "grouper")) *out = of.list->item[0];
        if (of.list->grouped && ar__j_is(name, "list")) *out = of.list->item[1];
        return out->type != AR_J_ABSENT || ar__j_method(out, j, of, name);
    case AR_J_CYCLER:
        if (ar__j_is(name, "current")) *out = of.cycler->item[of.cycler->at];
        return ar__j_method(out, j, of, name);
    default: return ar__j_method(out, j, of, name);
    }
}

/* The index of a sequence of n; false where there is none. */
static bool index_of(size_t *out, ar_jvalue key, size_t n) {
    if (!ar__j_is_integer(key)) return false;
    int64_t i = ar__j_as_int(key);
    if (i < 0) i += (int64_t)n;
    *out = (size_t)i;
    return i >= 0 && i < (int64_t)n;
}

/* x[key] of Python; *out stays ABSENT where there is none. */
static bool own_item(ar_jvalue *out, ar_jinja *j, ar_jvalue of, ar_jvalue key) {
    size_t i;
    ar_jvalue *v;
    switch (of.type) {
    case AR_J_DICT:
        if (key.type == AR_J_LIST || key.type == AR_J_DICT) return true;
        v = ar__j_dict_find(j, of.dict, key);
        if (v) *out = *v;
        return !j->status;
    case AR_J_LIST:
    case AR_J_TUPLE:
        if (index_of(&i, key, of.list->count)) *out = of.list->item[i];
        return true;
    case AR_J_RANGE:
        if (index_of(&i, key, of.range->count)) *out = ar__j_int(of.range->start + (int64_t)i * of.range->step);
        return true;
    case AR_J_STRING:
        if (!index_of(&i, key, (size_t)ar__j_points(of.s))) return true;
        i = ar__j_offset(of.s, (int64_t)i);
        *out = ar__j_string(ar__j_part(j, of.s, i, i + ar__utf8_size(of.s->data[i])));
        return out->s && ar__j_spend(j, of.s->size / 64);
    default: return true;
    }
}

bool ar__j_attribute(ar_jvalue *out, ar_jinja *j, ar_jvalue of, ar_jstr *name) {
    *out = (ar_jvalue){0};
    if (of.type == AR_J_UNDEFINED && !ar__j_is(name, "__class__")) return ar__j_fail_undefined(j, of);
    if (is_unsafe(of, name) || (name->size > 1 && name->data[0] == '_' && name->data[1] == '_')) return unsafe_member(out, j, of, name);
    if (!own_attribute(out, j, of, name)) return false;
    if (out->type == AR_J_ABSENT && !own_item(out, j, of, ar__j_string(name))) return false;
    if (out->type == AR_J_ABSENT) *out = ar__j_undefined(name, no_member(of));
    return true;
}

bool ar__j_item(ar_jvalue *out, ar_jinja *j, ar_jvalue of, ar_jvalue key) {
    *out = (ar_jvalue){0};
    if (of.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, of);
    if (!own_item(out, j, of, key)) return false;
    if (out->type != AR_J_ABSENT) return true;
    if (key.type == AR_J_STRING) {
        if (is_unsafe(of, key.s)) return unsafe_member(out, j, of, key.s);
        if (!own_attribute(out, j, of, key.s)) return false;
    }
    if (out->type == AR_J_ABSENT) *out = ar__j_undefined(ar__j_str(j, key), no_member(of));
    return !j->status;
}

/* ---- slices ----------------------------------------------------------------------------------------------------------*/

typedef struct cut {
    int64_t from, to, step;
    size_t count;
} cut;

static bool bound(int64_t *out, ar_jinja *j, ar_jvalue v, int64_t absent, int64_t n, bool backwards) {
    *out = absent;
    if (v.type == AR_J_ABSENT || v.type == AR_J_NONE) return true;
    if (!ar__j_is_integer(v)) return ar__j_fail(j, "slice indices must be integers, found %s", ar__j_type_name(v));
    int64_t i = ar__j_as_int(v);
    if (i < 0) i = i < -n ? -1 : i + n;
    if (i < 0) i = backwards ? -1 : 0;
    if (i >= n) i = backwards ? n - 1 : n;
    *out = i;
    return true;
}

/* As slice.indices: which items of n. */
static bool read_cut(cut *out, ar_jinja *j, const ar_jvalue part[3], int64_t n) {
    int64_t step = 1, from, to;
    if (part[2].type != AR_J_ABSENT && part[2].type != AR_J_NONE) {
        if (!ar__j_is_integer(part[2])) return ar__j_fail(j, "slice indices must be integers, found %s", ar__j_type_name(part[2]));
        step = ar__j_as_int(part[2]);
    }
    if (!step) return ar__j_fail(j, "slice step cannot be zero");
    bool back = step < 0;
    if (step < -INT64_MAX) step = -INT64_MAX;
    if (!bound(&from, j, part[0], back ? n - 1 : 0, n, back) || !bound(&to, j, part[1], back ? -1 : n, n, back)) return false;
    int64_t span = back ? from - to : to - from, stride = back ? -step : step;
    *out = (cut){from, to, step, span > 0 ? (size_t)((span - 1) / stride + 1) : 0};
    return true;
}

static bool cut_text(ar_jvalue *out, ar_jinja *j, ar_jstr *s, const cut *c) {
    if (!ar__j_spend(j, s->size / 16)) return false;
    if (c->step == 1 || !c->count) {
        size_t from = c->count ? ar__j_offset(s, c->from) : 0, to = from;
        if (c->count) to = ar__j_offset(s, c->from + (int64_t)c->count);
        *out = ar__j_string(ar__j_part(j, s, from, to));
        return out->s != NULL;
    }
    size_t points = (size_t)ar__j_points(s), start = ar__j_here(j), *at = ar__j_new(j, points + 1, sizeof *at);
    if (!at) return false;
    for (size_t i = 0, byte = 0; i < points; i++) {
        at[i] = byte;
        byte += ar__utf8_size(s->data[byte]);
    }
    at[points] = s->size;
    for (size_t k = 0; k < c->count; k++) {
        size_t i = (size_t)(c->from + (int64_t)k * c->step);
        ar__j_put_part(j, s, at[i], at[i + 1]);
    }
    if (!ar__j_take_value(out, j, start)) return false;
    out->s->markup = s->markup;
    return true;
}

static bool cut_list(ar_jvalue *out, ar_jinja *j, ar_jvalue of, const cut *c) {
    ar_jlist *l = ar__j_list_new(j, c->count);
    if (!l || !ar__j_spend(j, c->count)) return false;
    for (size_t k = 0; k < c->count; k++) l->item[l->count++] = of.list->item[c->from + (int64_t)k * c->step];
    *out = ar__j_list_value(l, of.type);
    return true;
}

static bool cut_range(ar_jvalue *out, ar_jinja *j, const ar_jrange *r, const cut *c) {
    ar_jrange *part = ar__j_new(j, 1, sizeof *part);
    if (!part) return false;
    int64_t start = r->start + c->from * r->step, step = r->step * c->step;
    *part = (ar_jrange){start, r->start + c->to * r->step, step, c->count};
    *out = (ar_jvalue){.type = AR_J_RANGE, .range = part};
    return true;
}

bool ar__j_slice(ar_jvalue *out, ar_jinja *j, ar_jvalue of, const ar_jvalue part[3]) {
    cut c = {0};
    int64_t n = 0;
    if (of.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, of);
    if (of.type != AR_J_STRING && !ar__j_is_sequence(of) && of.type != AR_J_RANGE)
        return ar__j_fail(j, "'%s' object cannot be sliced", ar__j_type_name(of));
    if (!ar__j_length(&n, j, of)) return false;
    if (!read_cut(&c, j, part, n)) return false;
    if (of.type == AR_J_STRING) return cut_text(out, j, of.s, &c);
    return of.type == AR_J_RANGE ? cut_range(out, j, of.range, &c) : cut_list(out, j, of, &c);
}
