/* Calls: arguments to their places, and the functions that every template has. */
#include <stdlib.h>
#include <string.h>

#include "text/template/markup.h"
#include "text/template/run.h"

/* ---- arguments -----------------------------------------------------------------------------------------------------*/

/* The place of a name in "width,first,blank", -1 where it is none of them. */
static int place_of(const char *names, const ar_jstr *name) {
    int place = 0;
    for (const char *at = names; *at; place++) {
        size_t n = strcspn(at, ",");
        if (n == name->size && !memcmp(at, name->data, n)) return place;
        at += n + (at[n] == ',');
    }
    return -1;
}

static size_t count_names(const char *names) {
    size_t n = *names != 0;
    for (; *names; names++) n += *names == ',';
    return n;
}

bool ar__j_bind(ar_jvalue *out, ar_jinja *j, const char *what, const ar_jargs *args, const char *names, size_t needed) {
    size_t count = count_names(names);
    for (size_t i = 0; i < count; i++) out[i] = i < args->count ? args->plain[i] : (ar_jvalue){0};
    if (args->count > count) return ar__j_fail(j, "%s: found %zu arguments, wanted at most %zu", what, args->count, count);
    for (size_t i = 0; i < args->named_count; i++) {
        const ar_jstr *key = args->named[i].key.s;
        int place = place_of(names, key);
        if (place < 0) return ar__j_fail(j, "%s: no argument '%.*s'", what, (int)key->size, key->data);
        if (out[place].type != AR_J_ABSENT) return ar__j_fail(j, "%s: argument '%.*s' twice", what, (int)key->size, key->data);
        out[place] = args->named[i].value;
    }
    for (size_t i = 0; i < needed; i++)
        if (out[i].type == AR_J_ABSENT) return ar__j_fail(j, "%s: found too few arguments, wanted %zu", what, needed);
    return true;
}

bool ar__j_arg_int(int64_t *out, ar_jinja *j, const char *what, ar_jvalue v) {
    if (v.type == AR_J_ABSENT) return true;
    if (v.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, v);
    if (!ar__j_is_integer(v)) return ar__j_fail(j, "%s: found %s, wanted an integer", what, ar__j_type_name(v));
    *out = ar__j_as_int(v);
    return true;
}

bool ar__j_arg_str(ar_jstr **out, ar_jinja *j, const char *what, ar_jvalue v) {
    if (v.type == AR_J_ABSENT) return true;
    if (v.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, v);
    if (v.type != AR_J_STRING) return ar__j_fail(j, "%s: found %s, wanted a string", what, ar__j_type_name(v));
    *out = v.s;
    return true;
}

/* ---- functions -----------------------------------------------------------------------------------------------------*/

static bool raise_exception(ar_jvalue *out, ar_jinja *j, const ar_jargs *args) {
    ar_jvalue message;
    (void)out;
    if (!ar__j_bind(&message, j, "raise_exception", args, "message", 1)) return false;
    ar_jstr *s = ar__j_str(j, message);
    return s ? ar__j_fail(j, "the template refuses: %.*s", (int)(s->size < 300 ? s->size : 300), s->data) : false;
}

static bool strftime_now(ar_jvalue *out, ar_jinja *j, const ar_jargs *args) {
    char text[512], format[256];
    ar_jvalue v;
    ar_jstr *s = NULL;
    struct tm now;
    if (!ar__j_bind(&v, j, "strftime_now", args, "format", 1) || !ar__j_arg_str(&s, j, "strftime_now", v) || !s) return false;
    if (s->size * 3 >= sizeof format) return ar__j_fail(j, "strftime_now: found a format of %zu bytes", s->size);
    size_t k = 0;
    for (size_t i = 0; i < s->size; i++) { /* a time without a zone, to the second */
        char next = s->data[i] == '%' && i + 1 < s->size ? s->data[i + 1] : 0;
        if (next == 'f') memcpy(format + k, "000000", 6), k += 6;
        if (next != 'f' && next != 'z' && next != 'Z') format[k++] = s->data[i];
        if (next == '%') format[k++] = next;
        i += next == 'f' || next == 'z' || next == 'Z' || next == '%';
    }
    format[k] = 0;
    localtime_r(&j->now, &now);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(text, sizeof text, format, &now);
#pragma GCC diagnostic pop
    ar_jstr *made = ar__j_text(j, text, n);
    if (made) *out = ar__j_string(made);
    return made != NULL;
}

static bool range(ar_jvalue *out, ar_jinja *j, const ar_jargs *args) {
    ar_jvalue v[3];
    ar_jrange *r = ar__j_new(j, 1, sizeof *r);
    if (!r || !ar__j_bind(v, j, "range", args, ",,", 1)) return false;
    int64_t start = 0, stop = 0, step = 1;
    bool one = v[1].type == AR_J_ABSENT;
    if (!ar__j_arg_int(one ? &stop : &start, j, "range", v[0]) || !ar__j_arg_int(&stop, j, "range", v[1]) ||
        !ar__j_arg_int(&step, j, "range", v[2]))
        return false;
    if (!step) return ar__j_fail(j, "range: the step is 0");
    if (step == INT64_MIN) step++;
    uint64_t span =
        step > 0 ? (start < stop ? (uint64_t)stop - (uint64_t)start : 0) : (start > stop ? (uint64_t)start - (uint64_t)stop : 0);
    uint64_t count = span ? (span - 1) / (uint64_t)(step > 0 ? step : -step) + 1 : 0;
    if (count > AR_J_LONGEST_RANGE)
        return ar__j_fail(j, "range: found %llu numbers, wanted at most %d", (unsigned long long)count, (int)AR_J_LONGEST_RANGE);
    *r = (ar_jrange){start, stop, step, (size_t)count};
    *out = (ar_jvalue){.type = AR_J_RANGE, .range = r};
    return true;
}

static bool set_pair(ar_jinja *j, ar_jdict *d, ar_jvalue pair) {
    ar_jlist *both = ar__j_gather(j, pair);
    if (!both) return false;
    if (both->count != 2) return ar__j_fail(j, "dict: found %zu values, wanted a key with its value", both->count);
    return ar__j_dict_set(j, d, both->item[0], both->item[1]);
}

/* What dict(…) and namespace(…) are made of: a mapping or pairs, and keywords. */
static ar_jdict *dict_of(ar_jinja *j, const ar_jargs *args) {
    ar_jdict *d = ar__j_dict_new(j);
    ar_jvalue item;
    ar_jwalk w;
    if (args->count > 1) ar__j_fail(j, "dict: found %zu arguments, wanted at most 1", args->count);
    if (args->count == 1 && args->plain[0].type == AR_J_UNDEFINED) ar__j_fail_undefined(j, args->plain[0]);
    if (d && args->count == 1 && args->plain[0].type == AR_J_DICT) {
        const ar_jdict *from = args->plain[0].dict;
        for (size_t i = 0; i < from->count; i++)
            if (!ar__j_dict_set(j, d, from->pair[i].key, from->pair[i].value)) return NULL;
    } else if (d && args->count == 1 && ar__j_walk(&w, j, args->plain[0])) {
        while (ar__j_next(&item, j, &w))
            if (!set_pair(j, d, item)) return NULL;
    }
    for (size_t i = 0; d && !j->status && i < args->named_count; i++) ar__j_dict_set(j, d, args->named[i].key, args->named[i].value);
    return j->status ? NULL : d;
}

static bool dict(ar_jvalue *out, ar_jinja *j, const ar_jargs *args) {
    *out = (ar_jvalue){.type = AR_J_DICT, .dict = dict_of(j, args)};
    return out->dict != NULL;
}

static bool namespace_(ar_jvalue *out, ar_jinja *j, const ar_jargs *args) {
    ar_jdict *d = dict_of(j, args);
    for (size_t i = 0; d && i < d->count; i++)
        if (d->pair[i].key.type == AR_J_STRING && d->pair[i].key.s->size && d->pair[i].key.s->data[0] == '_')
            return ar__j_fail(j, "a namespace takes no names that begin with '_'");
    *out = (ar_jvalue){.type = AR_J_NAMESPACE, .dict = d};
    return d != NULL;
}

static bool cycler(ar_jvalue *out, ar_jinja *j, const ar_jargs *args) {
    ar_jcycler *c = ar__j_new(j, 1, sizeof *c);
    if (!args->count || args->named_count) return ar__j_fail(j, "cycler: at least one item has to be provided");
    if (!c || !(c->item = ar__j_new(j, args->count, sizeof *c->item))) return false;
    memcpy(c->item, args->plain, args->count * sizeof *c->item);
    c->count = args->count;
    *out = (ar_jvalue){.type = AR_J_CYCLER, .cycler = c};
    return true;
}

static bool joiner(ar_jvalue *out, ar_jinja *j, const ar_jargs *args) {
    ar_jcycler *c = ar__j_new(j, 1, sizeof *c);
    ar_jstr *comma = ar__j_text(j, ", ", 2);
    if (!c || !comma || !(c->item = ar__j_new(j, 1, sizeof *c->item)) || !ar__j_bind(c->item, j, "joiner", args, "sep", 0)) return false;
    if (c->item->type == AR_J_ABSENT) *c->item = ar__j_string(comma);
    *out = (ar_jvalue){.type = AR_J_JOINER, .cycler = c};
    return true;
}

const ar_jfunction *ar__j_function_find(const ar_jstr *name) {
    static const ar_jfunction functions[] = {{"raise_exception", raise_exception},
                                             {"strftime_now", strftime_now},
                                             {"range", range},
                                             {"dict", dict},
                                             {"namespace", namespace_},
                                             {"cycler", cycler},
                                             {"joiner", joiner}};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (ar__j_is(name, functions[i].name)) return &functions[i];
    return NULL;
}

/* ---- calling ---------------------------------------------------------------------------------------------------------*/

static bool call_joiner(ar_jvalue *out, ar_jinja *j, ar_jcycler *c) {
    if (c->at) {
        *out = c->item[0];
        return true;
    }
    c->at = 1;
    ar_jstr *nothing = ar__j_text(j, "", 0);
    if (nothing) *out = ar__j_string(nothing);
    return nothing != NULL;
}

/* What a method of Markup makes of it is Markup. */
static bool keep_markup(ar_jvalue *v, ar_jinja *j) {
    if (v->type == AR_J_STRING) return ar__j_mark_safe(v, j, v->s);
    for (size_t i = 0; ar__j_is_sequence(*v) && i < v->list->count; i++)
        if (!keep_markup(&v->list->item[i], j)) return false;
    return true;
}

static bool call_method(ar_jvalue *out, ar_jinja *j, const ar_jmethod *m, const ar_jargs *args) {
    if (!ar__j_spend_on(j, m->self) || !m->run(out, j, m->self, args)) return false;
    return m->self.type != AR_J_STRING || !m->self.s->markup || keep_markup(out, j);
}

bool ar__j_call(ar_jvalue *out, ar_jinja *j, ar_jvalue callee, const ar_jargs *args) {
    switch (callee.type) {
    case AR_J_UNDEFINED: return ar__j_fail_undefined(j, callee);
    case AR_J_FUNCTION: return callee.function->run(out, j, args);
    case AR_J_METHOD: return call_method(out, j, callee.method, args);
    case AR_J_MACRO: return ar__j_call_macro(out, j, callee.macro, args);
    case AR_J_LOOP: return ar__j_call_loop(out, j, callee.loop, args);
    case AR_J_JOINER:
        if (args->count || args->named_count) return ar__j_fail(j, "joiner: found arguments, wanted none");
        return call_joiner(out, j, callee.cycler);
    default: return ar__j_fail(j, "'%s' object is not callable", ar__j_type_name(callee));
    }
}
