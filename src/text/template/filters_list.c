/* Filters of lists and dicts.  What is a generator in Python is a stream here: made at once, read once; an error in the middle is met by
 * who reads that far. */
#include <math.h>
#include <string.h>

#include "text/template/filters.h"
#include "text/template/letters.h"

/* ---- keys ------------------------------------------------------------------------------------------------------------*/

/* Lower case for text, which sorts and compares so; everything else as it is. */
static bool ignore_case(ar_jvalue *v, ar_jinja *j) {
    if (v->type != AR_J_STRING) return true;
    size_t start = ar__j_here(j);
    ar__j_put_case(j, v->s, 0, v->s->size, AR_CASE_LOWER);
    return ar__j_take_value(v, j, start);
}

/* "a.0.b": the member of the member; digits are indices.  def: what stands for undefined ones on the way, ABSENT: nothing. */
static bool member_of(ar_jvalue *out, ar_jinja *j, ar_jvalue of, ar_jvalue path, ar_jvalue def) {
    *out = of;
    if (path.type == AR_J_ABSENT || path.type == AR_J_NONE) return true;
    if (path.type != AR_J_STRING) return ar__j_item(out, j, of, path);
    for (size_t from = 0; from <= path.s->size;) {
        const char *dot = memchr(path.s->data + from, '.', path.s->size - from);
        size_t to = dot ? (size_t)(dot - path.s->data) : path.s->size;
        ar_jstr *name = ar__j_part(j, path.s, from, to);
        if (!name) return false;
        bool index = ar__j_are(name, AR_ARE_DECIMAL) && name->size < 18;
        int64_t i = 0;
        for (size_t k = 0; index && k < name->size; k++) i = 10 * i + (name->data[k] - '0');
        if (!ar__j_item(out, j, *out, index ? ar__j_int(i) : ar__j_string(name))) return false;
        if (out->type == AR_J_UNDEFINED && def.type != AR_J_ABSENT && def.type != AR_J_NONE) *out = def;
        from = to + 1;
    }
    return true;
}

static bool key_of(ar_jvalue *out, ar_jinja *j, ar_jvalue of, ar_jvalue path, bool cased) {
    return member_of(out, j, of, path, (ar_jvalue){0}) && (cased || ignore_case(out, j));
}

/* Merge sort of items by keys; stable, also in reverse. */
static bool merge(ar_jinja *j, ar_jvalue *item, ar_jvalue *key, ar_jvalue *spare, size_t n, bool reverse) {
    size_t half = n / 2, a = 0, b = half;
    if (n < 2) return true;
    if (!merge(j, item, key, spare, half, reverse) || !merge(j, item + half, key + half, spare, n - half, reverse)) return false;
    ar_jvalue *items = spare, *keys = spare + n;
    for (size_t k = 0; k < n; k++) {
        bool second = a == half;
        if (a < half && b < n) {
            if (!ar__j_spend(j, 1) || !ar__j_compare(&second, j, AR_OP_LT, reverse ? key[a] : key[b], reverse ? key[b] : key[a]))
                return false;
        }
        size_t from = second ? b++ : a++;
        items[k] = item[from];
        keys[k] = key[from];
    }
    memcpy(item, items, n * sizeof *item);
    memcpy(key, keys, n * sizeof *key);
    return true;
}

bool ar__j_sort(ar_jinja *j, ar_jlist *items, const ar_jlist *keys, bool reverse) {
    size_t n = items->count;
    ar_jvalue *spare = ar__j_new(j, 2 * n + 1, sizeof *spare), *key = ar__j_new(j, n + 1, sizeof *key);
    if (!spare || !key) return false;
    if (n) memcpy(key, keys->item, n * sizeof *key);
    return merge(j, items->item, key, spare, n, reverse);
}

/* The key of each, by one path or by several with commas between them (then a tuple). */
static ar_jlist *keys_of(ar_jinja *j, const ar_jlist *items, ar_jvalue path, bool cased) {
    ar_jlist *keys = ar__j_list_new(j, items->count);
    for (size_t i = 0; keys && i < items->count; i++) {
        ar_jlist *parts = ar__j_list_new(j, 1);
        size_t from = 0;
        do {
            ar_jvalue key, one = path;
            size_t to = from;
            if (path.type == AR_J_STRING) {
                const char *comma = memchr(path.s->data + from, ',', path.s->size - from);
                to = comma ? (size_t)(comma - path.s->data) : path.s->size;
                one = ar__j_string(ar__j_part(j, path.s, from, to));
            }
            if (!parts || !key_of(&key, j, items->item[i], one, cased) || !ar__j_list_add(j, parts, key)) return NULL;
            from = to + 1;
        } while (path.type == AR_J_STRING && from <= path.s->size);
        keys->item[keys->count++] = ar__j_list_value(parts, AR_J_LIST);
    }
    return keys;
}

AR_J_FILTER(sort) {
    ar_jvalue v[3];
    if (!ar__j_bind(v, j, "sort", args, "reverse,case_sensitive,attribute", 0)) return false;
    int64_t reverse = 0;
    ar_jlist *items = ar__j_gather(j, in), *keys = items ? keys_of(j, items, v[2], ar__j_truth(v[1])) : NULL;
    if (!keys || !ar__j_arg_int(&reverse, j, "sort: reverse", v[0]) || !ar__j_sort(j, items, keys, reverse != 0)) return false;
    *out = ar__j_list_value(items, AR_J_LIST);
    return true;
}

AR_J_FILTER(dictsort) {
    ar_jvalue v[3];
    ar_jstr *by = NULL;
    if (!ar__j_bind(v, j, "dictsort", args, "case_sensitive,by,reverse", 0) || !ar__j_arg_str(&by, j, "dictsort", v[1])) return false;
    bool value = by && ar__j_is(by, "value");
    if (by && !value && !ar__j_is(by, "key")) return ar__j_fail(j, "dictsort: you can only sort by either 'key' or 'value'");
    if (in.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, in);
    if (in.type != AR_J_DICT) return ar__j_fail(j, "dictsort: found %s, wanted a dict", ar__j_type_name(in));
    ar_jview *view = ar__j_new(j, 1, sizeof *view);
    ar_jlist *items, *keys;
    int64_t reverse = 0;
    if (!view || !ar__j_arg_int(&reverse, j, "dictsort: reverse", v[2])) return false;
    *view = (ar_jview){in.dict, AR_J_ITEMS};
    if (!(items = ar__j_gather(j, (ar_jvalue){.type = AR_J_VIEW, .view = view})) || !(keys = ar__j_list_new(j, items->count))) return false;
    for (size_t i = 0; i < items->count; i++) {
        ar_jvalue key = items->item[i].list->item[value];
        if (!ar__j_truth(v[0]) && !ignore_case(&key, j)) return false;
        keys->item[keys->count++] = key;
    }
    *out = ar__j_list_value(items, AR_J_LIST);
    return ar__j_sort(j, items, keys, reverse != 0);
}

/* ---- streams -----------------------------------------------------------------------------------------------------------*/

static bool stream(ar_jvalue *out, ar_jlist *l) {
    if (l) *out = ar__j_list_value(l, AR_J_STREAM);
    return l != NULL;
}

/* An error on the way is put off until the stream is read that far; not those of bounds. */
static bool put_off(ar_jlist *l, ar_jinja *j, size_t start) {
    if (j->status != AR_ERR_VALUE || !j->steps || j->pool.exhausted) return !j->status;
    const char *text = strchr(j->error.message, ':');
    text = text ? text + 2 : j->error.message;
    size_t n = strlen(text) + 1;
    char *kept = ar__j_new(j, n, 1);
    if (!kept) return false;
    memcpy(kept, text, n);
    l->failed = kept;
    j->status = AR_OK;
    j->out->text.len = j->out->marks.len = start;
    return true;
}

typedef bool (*each)(ar_jvalue *out, bool *keep, ar_jinja *j, ar_jvalue item, void *user);

/* The stream of what `one` makes of each item. */
static bool stream_of(ar_jvalue *out, ar_jinja *j, ar_jvalue in, each one, void *user) {
    ar_jlist *l = ar__j_list_new(j, 0);
    ar_jwalk w;
    ar_jvalue item, made;
    size_t start = ar__j_here(j);
    if (!l) return false;
    if (ar__j_truth(in) && ar__j_walk(&w, j, in))
        while (ar__j_next(&item, j, &w)) {
            bool keep = true;
            if (!one(&made, &keep, j, item, user)) break;
            if (keep && !ar__j_list_add(j, l, made)) return false;
        }
    return put_off(l, j, start) && stream(out, l);
}

typedef struct mapping {
    ar_jvalue path, def;      /* attribute=… */
    const ar_jfilter *filter; /* or the filter named */
    ar_jargs args;            /* of it */
} mapping;

static bool map_one(ar_jvalue *out, bool *keep, ar_jinja *j, ar_jvalue item, void *user) {
    const mapping *m = user;
    (void)keep;
    if (m->filter) return m->filter->run(out, j, item, &m->args);
    return member_of(out, j, item, m->path, m->def);
}

/* The arguments behind the first n. */
static ar_jargs rest_of(const ar_jargs *args, size_t n) {
    return (ar_jargs){args->plain + n, args->count - n, args->named, args->named_count};
}

/* A stream that fails when it is read, if it has anything to read. */
static bool failing_stream(ar_jvalue *out, ar_jinja *j, ar_jvalue in, const char *what) {
    if (in.type == AR_J_NONE || !ar__j_truth(in)) return stream(out, ar__j_list_new(j, 0));
    ar_jlist *l = ar__j_list_new(j, 1);
    ar_jstr *kept = ar__j_text(j, what, strlen(what));
    if (!l || !kept) return false;
    l->failed = kept->data;
    return stream(out, l);
}

AR_J_FILTER(map) {
    mapping m = {0};
    if (args->count) {
        const ar_jvalue name = args->plain[0];
        m.filter = name.type == AR_J_STRING ? ar__j_filter_find(name.s->data, name.s->size) : NULL;
        m.args = rest_of(args, 1);
        if (!m.filter) return failing_stream(out, j, in, "map: there is no such filter");
        return stream_of(out, j, in, map_one, &m);
    }
    bool attribute = false;
    for (size_t i = 0; i < args->named_count; i++) {
        const ar_jpair *p = &args->named[i];
        if (ar__j_is(p->key.s, "attribute")) {
            m.path = p->value;
            attribute = true;
        } else if (ar__j_is(p->key.s, "default")) {
            m.def = p->value;
        } else {
            return failing_stream(out, j, in, "map: unexpected keyword argument");
        }
    }
    if (!attribute) return failing_stream(out, j, in, "map requires a filter argument");
    return stream_of(out, j, in, map_one, &m);
}

typedef struct selection {
    bool by_member, rejects;
    ar_jvalue path;
    const ar_jtest *test; /* NULL: truth */
    ar_jargs args;
} selection;

static bool select_one(ar_jvalue *out, bool *keep, ar_jinja *j, ar_jvalue item, void *user) {
    const selection *s = user;
    ar_jvalue v = item;
    *out = item;
    if (s->by_member && !member_of(&v, j, item, s->path, (ar_jvalue){0})) return false;
    *keep = ar__j_truth(v);
    if (s->test && !s->test->run(keep, j, v, &s->args)) return false;
    *keep = *keep != s->rejects;
    return true;
}

static bool select_(ar_jvalue *out, ar_jinja *j, ar_jvalue in, const ar_jargs *args, bool by_member, bool rejects) {
    selection s = {.by_member = by_member, .rejects = rejects};
    size_t at = by_member;
    if (args->count < at) return failing_stream(out, j, in, "missing parameter for attribute name");
    if (by_member) s.path = args->plain[0];
    if (args->count > at) {
        const ar_jvalue name = args->plain[at];
        s.test = name.type == AR_J_STRING ? ar__j_test_find(name.s->data, name.s->size) : NULL;
        s.args = rest_of(args, at + 1);
        if (!s.test) return failing_stream(out, j, in, "select: there is no such test");
    }
    return stream_of(out, j, in, select_one, &s);
}

AR_J_FILTER(select) { return select_(out, j, in, args, false, false); }
AR_J_FILTER(reject) { return select_(out, j, in, args, false, true); }
AR_J_FILTER(selectattr) { return select_(out, j, in, args, true, false); }
AR_J_FILTER(rejectattr) { return select_(out, j, in, args, true, true); }

typedef struct uniqueness {
    ar_jvalue path;
    bool cased;
    ar_jdict *seen;
} uniqueness;

static bool unique_one(ar_jvalue *out, bool *keep, ar_jinja *j, ar_jvalue item, void *user) {
    uniqueness *u = user;
    ar_jvalue key;
    *out = item;
    if (!key_of(&key, j, item, u->path, u->cased)) return false;
    *keep = !ar__j_dict_find(j, u->seen, key);
    return !j->status && (!*keep || ar__j_dict_set(j, u->seen, key, ar__j_none()));
}

AR_J_FILTER(unique) {
    ar_jvalue v[2];
    if (!ar__j_bind(v, j, "unique", args, "case_sensitive,attribute", 0)) return false;
    uniqueness u = {v[1], ar__j_truth(v[0]), ar__j_dict_new(j)};
    if (!ar__j_can_walk(in)) return failing_stream(out, j, ar__j_bool(true), "unique: the value is not iterable");
    return u.seen && stream_of(out, j, in, unique_one, &u);
}

AR_J_FILTER(items) {
    ar_jview *view = ar__j_new(j, 1, sizeof *view);
    if (!view || !ar__j_bind(NULL, j, "items", args, "", 0)) return false;
    if (in.type == AR_J_UNDEFINED) return stream(out, ar__j_list_new(j, 0));
    if (in.type != AR_J_DICT) return failing_stream(out, j, ar__j_bool(true), "items: can only get item pairs from a mapping");
    *view = (ar_jview){in.dict, AR_J_ITEMS};
    return stream(out, ar__j_gather(j, (ar_jvalue){.type = AR_J_VIEW, .view = view}));
}

/* ---- parts -------------------------------------------------------------------------------------------------------------*/

static ar_jlist *part_of(ar_jinja *j, const ar_jlist *l, size_t from, size_t count, size_t room) {
    ar_jlist *part = ar__j_list_new(j, count + room);
    if (part && count) memcpy(part->item, l->item + from, count * sizeof *part->item);
    if (part) part->count = count;
    return part;
}

AR_J_FILTER(batch) {
    ar_jvalue v[2];
    int64_t size = 0;
    if (!ar__j_bind(v, j, "batch", args, "linecount,fill_with", 1)) return false;
    ar_jlist *all = ar__j_gather(j, in), *batches = all ? ar__j_list_new(j, 0) : NULL;
    if (!batches || !ar__j_arg_int(&size, j, "batch", v[0])) return false;
    bool fills = v[1].type != AR_J_ABSENT && v[1].type != AR_J_NONE;
    if (size <= 0) { /* as in Python: no batch is ever full; at 0 an empty one comes first */
        if (!size && all->count && !ar__j_list_add(j, batches, ar__j_list_value(ar__j_list_new(j, 0), AR_J_LIST))) return false;
        size = (int64_t)all->count;
        fills = false;
    }
    for (size_t at = 0; at < all->count; at += (size_t)size) {
        size_t n = all->count - at < (size_t)size ? all->count - at : (size_t)size;
        size_t missing = fills ? (size_t)size - n : 0;
        if (!ar__j_spend(j, missing)) return false;
        ar_jlist *one = part_of(j, all, at, n, missing);
        while (one && one->count < n + missing) one->item[one->count++] = v[1];
        if (!one || !ar__j_list_add(j, batches, ar__j_list_value(one, AR_J_LIST))) return false;
    }
    return stream(out, batches);
}

AR_J_FILTER(slice) {
    ar_jvalue v[2];
    int64_t slices = 0;
    if (!ar__j_bind(v, j, "slice", args, "slices,fill_with", 1)) return false;
    ar_jlist *all = ar__j_gather(j, in), *parts = all ? ar__j_list_new(j, 0) : NULL;
    if (!parts || !ar__j_arg_int(&slices, j, "slice", v[0])) return false;
    if (!slices) return failing_stream(out, j, ar__j_bool(true), "slice: division by zero");
    size_t n = slices > 0 ? (size_t)slices : 0, each_ = n ? all->count / n : 0, extra = n ? all->count % n : 0, at = 0;
    bool fills = v[1].type != AR_J_ABSENT && v[1].type != AR_J_NONE;
    for (size_t i = 0; i < n; i++) {
        size_t count = each_ + (i < extra);
        ar_jlist *one = ar__j_spend(j, 1) ? part_of(j, all, at, count, 1) : NULL;
        if (one && fills && i >= extra) one->item[one->count++] = v[1];
        if (!one || !ar__j_list_add(j, parts, ar__j_list_value(one, AR_J_LIST))) return false;
        at += count;
    }
    return stream(out, parts);
}

AR_J_FILTER(list) {
    ar_jlist *l = ar__j_bind(NULL, j, "list", args, "", 0) ? ar__j_gather(j, in) : NULL;
    if (l) *out = ar__j_list_value(l, AR_J_LIST);
    return l != NULL;
}

static bool none_left(ar_jvalue *out, ar_jinja *j, const char *what) {
    ar_jstr *says = ar__j_text(j, what, strlen(what));
    *out = ar__j_undefined(says, AR_J_SAYS);
    return says != NULL;
}

AR_J_FILTER(first) {
    ar_jwalk w;
    if (!ar__j_bind(NULL, j, "first", args, "", 0) || !ar__j_walk(&w, j, in)) return false;
    if (ar__j_next(out, j, &w)) return true;
    return !j->status && none_left(out, j, "No first item, sequence was empty.");
}

AR_J_FILTER(last) {
    if (!ar__j_bind(NULL, j, "last", args, "", 0)) return false;
    if (in.type == AR_J_STREAM) return ar__j_fail(j, "last: 'generator' object is not reversible");
    ar_jlist *l = ar__j_gather(j, in);
    if (!l) return false;
    if (!l->count) return none_left(out, j, "No last item, sequence was empty.");
    *out = l->item[l->count - 1];
    return true;
}

AR_J_FILTER(reverse) {
    if (!ar__j_bind(NULL, j, "reverse", args, "", 0)) return false;
    ar_jvalue part[3] = {{0}, {0}, ar__j_int(-1)};
    if (in.type == AR_J_STRING) return ar__j_slice(out, j, in, part);
    ar_jlist *l = ar__j_gather(j, in);
    if (!l) return false;
    for (size_t i = 0, k = l->count; i + 1 < k; i++) {
        ar_jvalue v = l->item[i];
        l->item[i] = l->item[--k];
        l->item[k] = v;
    }
    *out = ar__j_list_value(l, in.type == AR_J_STREAM ? AR_J_LIST : AR_J_STREAM);
    return true;
}

/* ---- folds -------------------------------------------------------------------------------------------------------------*/

AR_J_FILTER(join) {
    ar_jvalue v[2], item;
    ar_jstr *by = NULL;
    ar_jwalk w;
    bool any = false;
    if (!ar__j_bind(v, j, "join", args, "d,attribute", 0)) return false;
    if (v[0].type != AR_J_ABSENT && !(by = ar__j_str(j, v[0]))) return false;
    if (!ar__j_walk(&w, j, in)) return false;
    size_t start = ar__j_here(j);
    for (; ar__j_next(&item, j, &w); any = true) {
        if (any && by) ar__j_put_str(j, by);
        if (!member_of(&item, j, item, v[1], (ar_jvalue){0}) || !ar__j_put_value(j, item)) return false;
    }
    return !j->status && ar__j_take_value(out, j, start);
}

AR_J_FILTER(sum) {
    ar_jvalue v[2], item;
    ar_jwalk w;
    if (!ar__j_bind(v, j, "sum", args, "attribute,start", 0) || !ar__j_walk(&w, j, in)) return false;
    ar_jvalue total = v[1].type == AR_J_ABSENT ? ar__j_int(0) : v[1];
    if (total.type == AR_J_STRING) return ar__j_fail(j, "sum: cannot sum strings, use join");
    while (ar__j_next(&item, j, &w))
        if (!member_of(&item, j, item, v[0], (ar_jvalue){0}) || !ar__j_binary(&total, j, AR_OP_ADD, total, item)) return false;
    *out = total;
    return !j->status;
}

static bool extreme(ar_jvalue *out, ar_jinja *j, ar_jvalue in, const ar_jargs *args, const char *name, ar_jop op) {
    ar_jvalue v[2], item, key, best;
    ar_jwalk w;
    bool any = false, better = true;
    if (!ar__j_bind(v, j, name, args, "case_sensitive,attribute", 0) || !ar__j_walk(&w, j, in)) return false;
    for (; ar__j_next(&item, j, &w); any = true) {
        if (!key_of(&key, j, item, v[1], ar__j_truth(v[0]))) return false;
        if (any && !ar__j_compare(&better, j, op, key, best)) return false;
        if (!better) continue;
        best = key;
        *out = item;
    }
    if (!any && !j->status) return none_left(out, j, "No aggregated item, sequence was empty.");
    return !j->status;
}

AR_J_FILTER(min) { return extreme(out, j, in, args, "min", AR_OP_LT); }
AR_J_FILTER(max) { return extreme(out, j, in, args, "max", AR_OP_GT); }

/* (grouper, list): also by these names in Python. */
static bool add_group(ar_jinja *j, ar_jlist *groups, ar_jvalue grouper, ar_jlist *items) {
    ar_jlist *both = ar__j_list_new(j, 2);
    if (!both) return false;
    both->item[0] = grouper;
    both->item[1] = ar__j_list_value(items, AR_J_LIST);
    both->count = 2;
    both->grouped = true;
    return ar__j_list_add(j, groups, ar__j_list_value(both, AR_J_TUPLE));
}

AR_J_FILTER(groupby) {
    ar_jvalue v[3];
    if (!ar__j_bind(v, j, "groupby", args, "attribute,default,case_sensitive", 1)) return false;
    bool cased = ar__j_truth(v[2]);
    ar_jlist *items = ar__j_gather(j, in), *keys = items ? ar__j_list_new(j, items->count) : NULL, *groups = ar__j_list_new(j, 0);
    for (size_t i = 0; keys && i < items->count; i++) {
        ar_jvalue *key = &keys->item[keys->count++];
        if (!member_of(key, j, items->item[i], v[0], v[1]) || (!cased && !ignore_case(key, j))) return false;
    }
    if (!keys || !groups || !ar__j_sort(j, items, keys, false)) return false;
    ar_jvalue last = {0};
    for (size_t i = 0; i < items->count; i++) {
        ar_jvalue grouper, key;
        if (!member_of(&grouper, j, items->item[i], v[0], v[1])) return false;
        key = grouper;
        if (!cased && !ignore_case(&key, j)) return false;
        if (!i || !ar__j_equal(j, key, last)) {
            ar_jlist *group = ar__j_list_new(j, 1);
            if (!group || !add_group(j, groups, grouper, group)) return false;
        }
        last = key;
        if (!ar__j_list_add(j, groups->item[groups->count - 1].list->item[1].list, items->item[i])) return false;
    }
    *out = ar__j_list_value(groups, AR_J_LIST);
    return true;
}
