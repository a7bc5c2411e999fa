/* Statements: output, conditions, loops, variables, macros. */
#include <string.h>

#include "text/template/loop.h"

static bool deeper(ar_jinja *j) {
    if (j->depth < AR_J_DEPTH) return ++j->depth;
    return ar__j_fail(j, "goes more than %d deep", (int)AR_J_DEPTH);
}

/* ---- variables -----------------------------------------------------------------------------------------------------*/

/* The scope's own; a new one is ABSENT.  NULL: no memory is left. */
static ar_jvalue *own_variable(ar_jinja *j, uint32_t id) {
    ar_jscope *s = j->scope;
    for (size_t i = 0; i < s->count; i++)
        if (s->var[i].id == id) return &s->var[i].value;
    ar_jvar *grown = ar__jpool_grow(&j->pool, s->var, &s->cap, s->count + 1, sizeof *grown);
    if (!grown) return ar__j_fail_memory(j), NULL;
    s->var = grown;
    s->var[s->count] = (ar_jvar){id, {0}};
    return &s->var[s->count++].value;
}

static bool set_variable(ar_jinja *j, uint32_t id, ar_jvalue v) {
    ar_jvalue *at = own_variable(j, id);
    if (at) *at = v;
    return at != NULL;
}

static bool set_member(ar_jinja *j, const ar_jnode *target, ar_jvalue v) {
    ar_jnode name = {.kind = AR_N_NAME, .id = target->id, .name = j->t->name[target->id]};
    ar_jvalue of;
    if (!ar__j_eval(&of, j, &name)) return false;
    if (of.type != AR_J_NAMESPACE) return ar__j_fail(j, "cannot assign attribute on non-namespace object");
    if (target->name->data[0] == '_') return ar__j_fail(j, "a namespace takes no names that begin with '_'");
    return ar__j_dict_set(j, of.dict, ar__j_string(target->name), v);
}

static bool assign(ar_jinja *j, const ar_jnode *target, ar_jvalue v) {
    ar_jwalk w;
    ar_jvalue item;
    if (target->kind == AR_N_NAME) return set_variable(j, target->id, v);
    if (target->kind == AR_N_NS_ATTR) return set_member(j, target, v);
    if (!ar__j_walk(&w, j, v)) return false;
    for (const ar_jnode *t = target->list; t; t = t->next) {
        if (!ar__j_next(&item, j, &w)) return ar__j_fail(j, "not enough values to unpack");
        if (!assign(j, t, item)) return false;
    }
    return !ar__j_next(&item, j, &w) ? !j->status : ar__j_fail(j, "too many values to unpack");
}

static ar_jscope *scope_new(ar_jinja *j, ar_jscope *parent) {
    ar_jscope *s = ar__j_new(j, 1, sizeof *s);
    if (s) s->parent = parent;
    return s;
}

/* Runs a body with variables of its own. */
static bool run_scoped(ar_jinja *j, const ar_jnode *body) {
    ar_jscope *outer = j->scope;
    if (!(j->scope = scope_new(j, outer))) return false;
    bool ok = ar__j_run(j, body);
    j->scope = outer;
    return ok;
}

/* The text of a body, run with variables of its own. */
static bool capture(ar_jvalue *out, ar_jinja *j, const ar_jnode *body) {
    size_t start = ar__j_here(j);
    if (run_scoped(j, body)) return ar__j_take_value(out, j, start);
    j->out->text.len = j->out->marks.len = start; /* what a break leaves behind is lost */
    return false;
}

/* ---- filters over blocks ---------------------------------------------------------------------------------------------*/

/* A chain of filters whose innermost has no input of its own. */
static bool filter_text(ar_jvalue *v, ar_jinja *j, const ar_jnode *n) {
    ar_jargs args;
    const ar_jfilter *f = n->call;
    if (n->a && !filter_text(v, j, n->a)) return false;
    if (!f) return ar__j_fail(j, "there is no filter '%.*s'", (int)n->name->size, n->name->data);
    return ar__j_eval_args(&args, j, n->list) && f->run(v, j, *v, &args);
}

static bool run_set(ar_jinja *j, const ar_jnode *n) {
    ar_jvalue v;
    if (n->kind == AR_N_SET) {
        if (!ar__j_eval(&v, j, n->b)) return false;
    } else if (!capture(&v, j, n->list) || (n->b && !filter_text(&v, j, n->b))) {
        return false;
    }
    j->line = n->line;
    return assign(j, n->a, v);
}

/* What a block was made into has to be text. */
static bool put_made(ar_jinja *j, ar_jvalue v) {
    if (v.type != AR_J_STRING) return ar__j_fail(j, "a block was made into %s, wanted text", ar__j_type_name(v));
    return ar__j_put_value(j, v);
}

static bool run_filter_block(ar_jinja *j, const ar_jnode *n) {
    ar_jvalue v;
    return capture(&v, j, n->list) && filter_text(&v, j, n->a) && put_made(j, v);
}

/* The values are those outside. */
static bool run_with(ar_jinja *j, const ar_jnode *n) {
    ar_jscope *outer = j->scope, *inner = scope_new(j, outer);
    bool ok = inner != NULL;
    for (const ar_jnode *i = n->other; ok && i; i = i->next) {
        ar_jvalue v;
        ok = ar__j_eval(&v, j, i->b);
        j->scope = inner;
        ok = ok && assign(j, i->a, v);
        j->scope = outer;
    }
    j->scope = inner;
    ok = ok && ar__j_run(j, n->list);
    j->scope = outer;
    return ok;
}

static bool run_generation(ar_jinja *j, const ar_jnode *n) {
    uint8_t was = j->generation;
    j->generation = AR_LEARNED;
    bool ok = run_scoped(j, n->list);
    j->generation = was;
    return ok;
}

/* ---- macros ----------------------------------------------------------------------------------------------------------*/

static bool macro_new(ar_jvalue *out, ar_jinja *j, const ar_jnode *n) {
    ar_jmacro *m = ar__j_new(j, 1, sizeof *m);
    if (!m) return false;
    *m = (ar_jmacro){n, j->scope};
    for (ar_jscope *s = j->scope; s && !s->kept; s = s->parent) s->kept = true;
    *out = (ar_jvalue){.type = AR_J_MACRO, .macro = m};
    return true;
}

static bool run_macro(ar_jinja *j, const ar_jnode *n) {
    ar_jvalue m;
    return macro_new(&m, j, n) && set_variable(j, n->id, m);
}

static bool run_call_block(ar_jinja *j, const ar_jnode *n) {
    ar_jvalue callee, caller, v;
    ar_jargs args;
    if (!macro_new(&caller, j, n) || !ar__j_eval(&callee, j, n->a->a) || !ar__j_eval_args(&args, j, n->a->list)) return false;
    ar_jpair *named = ar__j_new(j, args.named_count + 1, sizeof *named);
    if (!named) return false;
    if (args.named_count) memcpy(named, args.named, args.named_count * sizeof *named);
    named[args.named_count++] = (ar_jpair){ar__j_string(j->t->name[AR_NAME_CALLER]), caller};
    args.named = named;
    j->line = n->line;
    return ar__j_call(&v, j, callee, &args) && put_made(j, v);
}

/* The named argument, which is marked as used; ABSENT: it was not given. */
static ar_jvalue take_named(const ar_jargs *args, bool *used, const ar_jstr *name) {
    for (size_t i = 0; i < args->named_count; i++)
        if (!used[i] && ar__j_same(args->named[i].key.s, name)) {
            used[i] = true;
            return args->named[i].value;
        }
    return (ar_jvalue){0};
}

/* What was given, then the defaults in their order: one sees all parameters, those that have no value yet as undefined. */
static bool bind_params(ar_jinja *j, const ar_jmacro *m, const ar_jargs *args, bool *used, size_t *count) {
    *count = 0;
    for (const ar_jnode *p = m->node->other; p; p = p->next, (*count)++)
        if (!set_variable(j, p->id, *count < args->count ? args->plain[*count] : take_named(args, used, p->name))) return false;
    for (const ar_jnode *p = m->node->other; p; p = p->next) {
        ar_jvalue *at = own_variable(j, p->id), v;
        if (!at || at->type != AR_J_ABSENT) continue;
        if (p->a && !ar__j_eval(&v, j, p->a)) return false;
        if (!set_variable(j, p->id, p->a ? v : ar__j_undefined(p->name, AR_J_NO_VARIABLE))) return false;
    }
    return true;
}

static bool has_caller_param(const ar_jmacro *m) {
    for (const ar_jnode *p = m->node->other; p; p = p->next)
        if (p->id == AR_NAME_CALLER) return true;
    return false;
}

/* What is left over goes to varargs and kwargs, where the macro reads them. */
static bool bind_rest(ar_jinja *j, const ar_jmacro *m, const ar_jargs *args, bool *used, size_t count) {
    int uses = m->node->op;
    if ((uses & AR_J_USES_CALLER) && !has_caller_param(m)) {
        ar_jvalue caller = take_named(args, used, j->t->name[AR_NAME_CALLER]);
        if (caller.type == AR_J_ABSENT) caller = ar__j_undefined(j->t->name[AR_NAME_CALLER], AR_J_NO_VARIABLE);
        if (!set_variable(j, AR_NAME_CALLER, caller)) return false;
    }
    ar_jdict *kwargs = ar__j_dict_new(j);
    ar_jlist *varargs = ar__j_list_new(j, 0);
    if (!kwargs || !varargs) return false;
    for (size_t i = 0; i < args->named_count; i++) {
        const ar_jstr *key = args->named[i].key.s;
        if (used[i]) continue;
        if (!(uses & AR_J_USES_KWARGS)) return ar__j_fail(j, "a macro takes no keyword argument '%.*s'", (int)key->size, key->data);
        if (!ar__j_dict_set(j, kwargs, args->named[i].key, args->named[i].value)) return false;
    }
    if (args->count > count && !(uses & AR_J_USES_VARARGS)) return ar__j_fail(j, "a macro takes not more than %zu arguments", count);
    for (size_t i = count; i < args->count; i++)
        if (!ar__j_list_add(j, varargs, args->plain[i])) return false;
    if ((uses & AR_J_USES_KWARGS) && !set_variable(j, AR_NAME_KWARGS, (ar_jvalue){.type = AR_J_DICT, .dict = kwargs})) return false;
    return !(uses & AR_J_USES_VARARGS) || set_variable(j, AR_NAME_VARARGS, ar__j_list_value(varargs, AR_J_TUPLE));
}

bool ar__j_call_macro(ar_jvalue *out, ar_jinja *j, const ar_jmacro *m, const ar_jargs *args) {
    ar_jscope *outer = j->scope;
    bool *used = ar__j_new(j, args->named_count + 1, sizeof *used), ok;
    size_t count, start = ar__j_here(j);
    if (!used || !deeper(j)) return false;
    j->scope = scope_new(j, m->scope);
    ok = j->scope && bind_params(j, m, args, used, &count) && bind_rest(j, m, args, used, count) && ar__j_run(j, m->node->list) &&
         ar__j_take_value(out, j, start);
    j->scope = outer;
    j->depth--;
    return ok;
}

/* ---- loops -----------------------------------------------------------------------------------------------------------*/

/* One round with the item; false when the loop ends early.  A round that break or continue ends does not count. */
static bool run_round(ar_jinja *j, const ar_jnode *n, ar_jloop *loop, ar_jscope *scope, ar_jvalue item, size_t *rounds) {
    j->scope = scope;
    bool ok = assign(j, n->a, item) && set_variable(j, AR_NAME_LOOP, (ar_jvalue){.type = AR_J_LOOP, .loop = loop}) && ar__j_run(j, n->list);
    *rounds += ok;
    if (ok || j->status || !j->leaving) return ok;
    ok = j->leaving == AR_N_CONTINUE;
    j->leaving = 0;
    return ok;
}

static bool run_rounds(ar_jinja *j, const ar_jnode *n, ar_jloop *loop, size_t *rounds) {
    ar_jscope *outer = j->scope, *scope = NULL;
    ar_jvalue item;
    bool ok = true;
    *rounds = 0;
    while (ok && ar__j_loop_advance(&item, j, loop)) {
        if (!scope || scope->kept) scope = scope_new(j, outer);
        if (!scope) break;
        scope->count = 0;
        ok = run_round(j, n, loop, scope, item, rounds);
        j->scope = outer;
    }
    j->scope = outer;
    return !j->status;
}

static bool run_loop(ar_jinja *j, const ar_jnode *n, ar_jvalue over, unsigned depth) {
    ar_jloop *loop = ar__j_loop_new(j, n, over, depth);
    size_t rounds;
    if (!loop || !deeper(j)) return false;
    bool ok = run_rounds(j, n, loop, &rounds);
    if (ok && !rounds && n->other) ok = run_scoped(j, n->other);
    j->depth--;
    return ok;
}

static bool run_for(ar_jinja *j, const ar_jnode *n) {
    ar_jvalue over;
    if (!ar__j_eval(&over, j, n->b)) return false;
    j->line = n->line;
    return run_loop(j, n, over, 0);
}

/* loop(children) of a recursive loop: the text of the same loop over them. */
bool ar__j_call_loop(ar_jvalue *out, ar_jinja *j, ar_jloop *loop, const ar_jargs *args) {
    ar_jscope *outer = j->scope;
    size_t start = ar__j_here(j);
    ar_jvalue over;
    if (!loop->node->op) return ar__j_fail(j, "the loop must have the 'recursive' marker to be called recursively");
    if (!ar__j_bind(&over, j, "loop", args, "iterable", 1)) return false;
    j->scope = loop->scope;
    bool ok = run_loop(j, loop->node, over, loop->depth + 1) && ar__j_take_value(out, j, start);
    j->scope = outer;
    return ok;
}

/* ---- all of them -----------------------------------------------------------------------------------------------------*/

static bool run_if(ar_jinja *j, const ar_jnode *n) {
    for (;;) {
        ar_jvalue test;
        if (!ar__j_eval(&test, j, n->a)) return false;
        if (ar__j_truth(test)) return ar__j_run(j, n->list);
        if (!n->other || n->other->kind != AR_N_IF || n->other->next) break;
        n = n->other; /* elif */
    }
    return ar__j_run(j, n->other);
}

static bool run_one(ar_jinja *j, const ar_jnode *n) {
    ar_jvalue v;
    switch (n->kind) {
    case AR_N_DATA: ar__j_put_str(j, n->value.s); return !j->status;
    case AR_N_PRINT: j->folding = n->op; return ar__j_eval(&v, j, n->a) && ar__j_put_value(j, v);
    case AR_N_IF: return run_if(j, n);
    case AR_N_FOR: return run_for(j, n);
    case AR_N_SET:
    case AR_N_SET_BLOCK: return run_set(j, n);
    case AR_N_MACRO: return run_macro(j, n);
    case AR_N_CALL_BLOCK: return run_call_block(j, n);
    case AR_N_FILTER_BLOCK: return run_filter_block(j, n);
    case AR_N_WITH: return run_with(j, n);
    case AR_N_GENERATION: return run_generation(j, n);
    case AR_N_SCOPE: return run_scoped(j, n->list);
    default: j->leaving = (int)n->kind; return false;
    }
}

bool ar__j_run(ar_jinja *j, const ar_jnode *body) {
    for (const ar_jnode *n = body; n; n = n->next) {
        j->line = n->line;
        if (!ar__j_spend(j, 1) || !run_one(j, n)) return false;
    }
    return true;
}

/* ---- a rendering ---------------------------------------------------------------------------------------------------*/

static bool render(ar_jinja *j, const json_t *values) {
    ar_jscope root = {.kept = true};
    j->global = ar__j_new(j, j->t->name_count, sizeof *j->global);
    if (!j->global || !ar__j_take_values(j, values)) return false;
    j->scope = &root;
    for (size_t i = 0; i < j->t->late_count; i++)
        if (!set_variable(j, j->t->late[i], (ar_jvalue){0})) return false;
    bool ok = ar__j_run(j, j->t->body);
    j->scope = NULL;
    if (!ok && !j->status) ar__j_fail(j, "break or continue outside a loop");
    if (j->out->text.failed || j->out->marks.failed) ar__j_fail_memory(j);
    return !j->status;
}

ar_status ar__template_render(ar_rendered *out, const ar_template *t, const json_t *values, time_t now, ar_error *err) {
    ar_jinja j = {.t = t, .out = out, .now = now, .steps = AR_J_STEPS, .line = 1, .pool.limit = AR_J_MEMORY};
    ar__buf_clear(&out->text);
    ar__buf_clear(&out->marks);
    if (!render(&j, values) && err) *err = j.error;
    ar__jpool_release(&j.pool);
    return j.status;
}

void ar__rendered_release(ar_rendered *r) {
    ar__buf_release(&r->text);
    ar__buf_release(&r->marks);
}
