/* Expressions. */
#include <string.h>

#include "text/template/run.h"

/* ---- names ---------------------------------------------------------------------------------------------------------*/

static ar_jvalue *find_variable(const ar_jinja *j, uint32_t id) {
    for (const ar_jscope *s = j->scope; s; s = s->parent)
        for (size_t i = s->count; i-- > 0;)
            if (s->var[i].id == id) return &s->var[i].value;
    return &j->global[id];
}

static bool eval_name(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    *out = *find_variable(j, n->id);
    if (out->type == AR_J_ABSENT) *out = ar__j_undefined(n->name, AR_J_NO_VARIABLE);
    return true;
}

/* ---- calls -----------------------------------------------------------------------------------------------------------*/

static bool add_plain(ar_jargs *out, size_t *cap, ar_jinja *j, ar_jvalue v) {
    ar_jvalue *grown = ar__jpool_grow(&j->pool, out->plain, cap, out->count + 1, sizeof *grown);
    if (!grown) return ar__j_fail_memory(j);
    out->plain = grown;
    out->plain[out->count++] = v;
    return true;
}

static bool add_named(ar_jargs *out, size_t *cap, ar_jinja *j, ar_jvalue key, ar_jvalue v) {
    if (key.type != AR_J_STRING) return ar__j_fail(j, "keywords must be strings");
    for (size_t i = 0; i < out->named_count; i++)
        if (ar__j_same(out->named[i].key.s, key.s)) return ar__j_fail(j, "keyword argument repeated: %.*s", (int)key.s->size, key.s->data);
    ar_jpair *grown = ar__jpool_grow(&j->pool, out->named, cap, out->named_count + 1, sizeof *grown);
    if (!grown) return ar__j_fail_memory(j);
    out->named = grown;
    out->named[out->named_count++] = (ar_jpair){key, v};
    return true;
}

static bool add_dict(ar_jargs *out, size_t *cap, ar_jinja *j, ar_jvalue v) {
    if (v.type != AR_J_DICT) return ar__j_fail(j, "argument after ** must be a mapping, not %s", ar__j_type_name(v));
    for (size_t i = 0; i < v.dict->count; i++)
        if (!add_named(out, cap, j, v.dict->pair[i].key, v.dict->pair[i].value)) return false;
    return true;
}

bool ar__j_eval_args(ar_jargs *out, ar_jinja *j, const ar_jnode *list) {
    size_t cap = 0, named_cap = 0;
    *out = (ar_jargs){0};
    for (const ar_jnode *n = list; n; n = n->next) {
        ar_jvalue v, item;
        ar_jwalk w;
        bool ok = ar__j_eval(&v, j, n->a);
        if (ok && n->op == AR_ARG_PLAIN) ok = add_plain(out, &cap, j, v);
        if (ok && n->op == AR_ARG_KEY) ok = add_named(out, &named_cap, j, ar__j_string(n->name), v);
        if (ok && n->op == AR_ARG_DICT) ok = add_dict(out, &named_cap, j, v);
        if (ok && n->op == AR_ARG_LIST) {
            ok = ar__j_walk(&w, j, v);
            while (ok && ar__j_next(&item, j, &w)) ok = add_plain(out, &cap, j, item);
            ok = ok && !j->status;
        }
        if (!ok) return false;
    }
    return true;
}

static bool eval_filter(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    const ar_jfilter *f = n->call;
    ar_jargs args;
    ar_jvalue in;
    if (!f) return ar__j_fail(j, "there is no filter '%.*s'", (int)n->name->size, n->name->data);
    if (!ar__j_eval(&in, j, n->a) || !ar__j_eval_args(&args, j, n->list)) return false;
    j->line = n->line;
    return ar__j_spend_on(j, in) && f->run(out, j, in, &args);
}

static bool eval_test(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    const ar_jtest *t = n->call;
    ar_jargs args;
    ar_jvalue in;
    bool result = false;
    if (!t) return ar__j_fail(j, "there is no test '%.*s'", (int)n->name->size, n->name->data);
    if (!ar__j_eval(&in, j, n->a) || !ar__j_eval_args(&args, j, n->list)) return false;
    j->line = n->line;
    if (!ar__j_spend_on(j, in) || !t->run(&result, j, in, &args)) return false;
    *out = ar__j_bool(result);
    return true;
}

static bool eval_call(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    ar_jargs args;
    ar_jvalue callee;
    if (!ar__j_eval(&callee, j, n->a) || !ar__j_eval_args(&args, j, n->list)) return false;
    j->line = n->line;
    return ar__j_call(out, j, callee, &args);
}

/* ---- operators -------------------------------------------------------------------------------------------------------*/

static bool eval_list(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    ar_jlist *l = ar__j_list_new(j, 0);
    for (const ar_jnode *i = n->list; l && i; i = i->next) {
        ar_jvalue v;
        if (!ar__j_eval(&v, j, i) || !ar__j_list_add(j, l, v)) return false;
    }
    if (l) *out = ar__j_list_value(l, n->kind == AR_N_LIST ? AR_J_LIST : AR_J_TUPLE);
    return l != NULL;
}

static bool eval_dict(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    ar_jdict *d = ar__j_dict_new(j);
    for (const ar_jnode *i = n->list; d && i; i = i->next) {
        ar_jvalue key, v;
        if (!ar__j_eval(&key, j, i->a) || !ar__j_eval(&v, j, i->b) || !ar__j_dict_set(j, d, key, v)) return false;
    }
    *out = (ar_jvalue){.type = AR_J_DICT, .dict = d};
    return d != NULL;
}

/* a ~ b ~ c: the text of each, also where one is Markup. */
static bool eval_concat(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    ar_jlist *parts = ar__j_list_new(j, 0);
    for (const ar_jnode *i = n->list; parts && i; i = i->next) {
        ar_jvalue v;
        if (!ar__j_eval(&v, j, i) || !ar__j_list_add(j, parts, v)) return false;
    }
    size_t start = ar__j_here(j);
    for (size_t i = 0; parts && i < parts->count; i++)
        if (!ar__j_put_value(j, parts->item[i])) return false;
    return parts && ar__j_take_value(out, j, start);
}

static bool eval_compare(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    ar_jvalue left, right;
    bool holds = true;
    if (!ar__j_eval(&left, j, n->a)) return false;
    for (const ar_jnode *i = n->list; holds && i; i = i->next) {
        if (!ar__j_eval(&right, j, i->a)) return false;
        j->line = n->line;
        if (!ar__j_compare(&holds, j, (ar_jop)i->op, left, right)) return false;
        left = right;
    }
    *out = ar__j_bool(holds);
    return true;
}

static bool eval_binary(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    ar_jvalue a, b;
    if (!ar__j_eval(&a, j, n->a) || !ar__j_eval(&b, j, n->b)) return false;
    j->line = n->line;
    return ar__j_binary(out, j, (ar_jop)n->op, a, b);
}

static bool eval_conditional(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    static ar_jstr without = {
        .data = "the inline if-expression evaluated to false and no else section was defined.", .size = 76, .points = 76};
    ar_jvalue test;
    if (!ar__j_eval(&test, j, n->a)) return false;
    if (ar__j_truth(test)) return ar__j_eval(out, j, n->b);
    if (n->c) return ar__j_eval(out, j, n->c);
    *out = ar__j_undefined(&without, AR_J_SAYS);
    return true;
}

static bool eval_item(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    ar_jvalue of, key, part[3] = {{0}};
    if (!ar__j_eval(&of, j, n->a)) return false;
    if (n->b->kind != AR_N_SLICE) {
        if (!ar__j_eval(&key, j, n->b)) return false;
        j->line = n->line;
        return ar__j_item(out, j, of, key);
    }
    const ar_jnode *const parts[3] = {n->b->a, n->b->b, n->b->c};
    for (int i = 0; i < 3; i++)
        if (parts[i] && !ar__j_eval(&part[i], j, parts[i])) return false;
    j->line = n->line;
    bool sliced = of.type == AR_J_STRING || ar__j_is_sequence(of) || of.type == AR_J_RANGE;
    if (sliced || of.type == AR_J_UNDEFINED || !j->folding) return ar__j_slice(out, j, of, part);
    *out = ar__j_undefined(NULL, AR_J_SAYS); /* as Jinja2 does beforehand */
    return true;
}

static bool eval_attribute(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    ar_jvalue of;
    if (!ar__j_eval(&of, j, n->a)) return false;
    j->line = n->line;
    return ar__j_attribute(out, j, of, n->name);
}

/* and, or: the value that decided. */
static bool eval_logic(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    if (!ar__j_eval(out, j, n->a)) return false;
    return ar__j_truth(*out) == (n->kind == AR_N_OR) || ar__j_eval(out, j, n->b);
}

static bool eval_not(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    if (!ar__j_eval(out, j, n->a)) return false;
    *out = ar__j_bool(!ar__j_truth(*out));
    return true;
}

static bool eval_sign(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    ar_jvalue v;
    return ar__j_eval(&v, j, n->a) && ar__j_negate(out, j, v, n->kind == AR_N_NEG);
}

bool ar__j_eval(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    if (!ar__j_spend(j, 1)) return false;
    switch (n->kind) {
    case AR_N_CONST: *out = n->value; return true;
    case AR_N_NAME: return eval_name(out, j, n);
    case AR_N_TUPLE:
    case AR_N_LIST: return eval_list(out, j, n);
    case AR_N_DICT: return eval_dict(out, j, n);
    case AR_N_NOT: return eval_not(out, j, n);
    case AR_N_NEG:
    case AR_N_POS: return eval_sign(out, j, n);
    case AR_N_AND:
    case AR_N_OR: return eval_logic(out, j, n);
    case AR_N_BINARY: return eval_binary(out, j, n);
    case AR_N_CONCAT: return eval_concat(out, j, n);
    case AR_N_COMPARE: return eval_compare(out, j, n);
    case AR_N_COND: return eval_conditional(out, j, n);
    case AR_N_FILTER: return eval_filter(out, j, n);
    case AR_N_TEST: return eval_test(out, j, n);
    case AR_N_CALL: return eval_call(out, j, n);
    case AR_N_ATTR: return eval_attribute(out, j, n);
    case AR_N_ITEM: return eval_item(out, j, n);
    default: return ar__j_fail(j, "a slice stands where no slice can be");
    }
}
