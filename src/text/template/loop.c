#include "text/template/loop.h"

#include <string.h>

ar_jloop *ar__j_loop_new(ar_jinja *j, const ar_jnode *n, ar_jvalue over, unsigned depth) {
    ar_jloop *loop = ar__j_new(j, 1, sizeof *loop);
    if (!loop) return NULL;
    *loop = (ar_jloop){.node = n, .scope = j->scope, .depth = depth, .ready = ar__j_list_new(j, 0)};
    return loop->ready && ar__j_walk(&loop->walk, j, over) ? loop : NULL;
}

static bool assign_filtered(ar_jinja *j, ar_jscope *scope, const ar_jnode *target, ar_jvalue v) {
    ar_jwalk w;
    ar_jvalue item;
    if (target->kind == AR_N_NAME) {
        ar_jvar *grown = ar__jpool_grow(&j->pool, scope->var, &scope->cap, scope->count + 1, sizeof *grown);
        if (!grown) return ar__j_fail_memory(j);
        scope->var = grown;
        scope->var[scope->count++] = (ar_jvar){target->id, v};
        return true;
    }
    if (!ar__j_walk(&w, j, v)) return false;
    for (const ar_jnode *t = target->list; t; t = t->next)
        if (!ar__j_next(&item, j, &w) || !assign_filtered(j, scope, t, item)) return ar__j_fail(j, "not enough values to unpack");
    return !ar__j_next(&item, j, &w) ? !j->status : ar__j_fail(j, "too many values to unpack");
}

/* The item again: what its names are bound to, in tuples.  Behind an `if` a loop does not see the pair itself. */
static bool rebuild(ar_jvalue *out, ar_jinja *j, const ar_jscope *scope, const ar_jnode *target) {
    *out = (ar_jvalue){0};
    if (target->kind == AR_N_NAME) {
        for (size_t i = 0; i < scope->count; i++)
            if (scope->var[i].id == target->id) *out = scope->var[i].value; /* a name that is there twice: the last one */
        return true;
    }
    ar_jlist *l = ar__j_list_new(j, 2);
    ar_jvalue item;
    for (const ar_jnode *t = target->list; l && t; t = t->next)
        if (!rebuild(&item, j, scope, t) || !ar__j_list_add(j, l, item)) return false;
    if (l) *out = ar__j_list_value(l, AR_J_TUPLE);
    return l != NULL;
}

/* Whether the item passes `if` of the loop, which sees the item, but no `loop`. */
static bool passes(bool *out, ar_jinja *j, ar_jloop *loop, ar_jvalue *item) {
    static ar_jstr name = {.data = "loop", .size = 4, .points = 4};
    ar_jscope *outer = j->scope, scope = {.parent = loop->scope, .kept = true};
    ar_jvar first[4] = {{AR_NAME_LOOP, ar__j_undefined(&name, AR_J_NO_VARIABLE)}};
    ar_jvalue v;
    *out = true;
    if (!loop->node->c) return true;
    scope.var = first;
    scope.cap = sizeof first / sizeof *first;
    scope.count = 1;
    bool ok = assign_filtered(j, &scope, loop->node->a, *item);
    j->scope = &scope;
    ok = ok && ar__j_eval(&v, j, loop->node->c);
    j->scope = outer;
    *out = ok && ar__j_truth(v);
    return ok && (!*out || rebuild(item, j, &scope, loop->node->a));
}

/* Finds items until there are so many, or all. */
static bool make_ready(ar_jinja *j, ar_jloop *loop, size_t count) {
    ar_jvalue item;
    bool pass;
    while (loop->ready->count < count && ar__j_next(&item, j, &loop->walk))
        if (!passes(&pass, j, loop, &item) || (pass && !ar__j_list_add(j, loop->ready, item))) return false;
    return !j->status;
}

bool ar__j_loop_advance(ar_jvalue *out, ar_jinja *j, ar_jloop *loop) {
    if (!make_ready(j, loop, loop->done + 1) || loop->ready->count == loop->done) return false;
    *out = loop->ready->item[loop->done++];
    return true;
}

/* ---- its members -----------------------------------------------------------------------------------------------------*/

static bool cycle(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args) {
    if (!args->count) return ar__j_fail(j, "no items for cycling given");
    *out = args->plain[(self.loop->done - 1) % args->count];
    return true;
}

static bool changed(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args) {
    ar_jlist *l = ar__j_list_new(j, args->count);
    if (!l) return false;
    if (args->count) memcpy(l->item, args->plain, args->count * sizeof *l->item);
    l->count = args->count;
    ar_jvalue now = ar__j_list_value(l, AR_J_TUPLE);
    *out = ar__j_bool(self.loop->changed.type == AR_J_ABSENT || !ar__j_equal(j, self.loop->changed, now));
    self.loop->changed = now;
    return true;
}

static bool method(ar_jvalue *out, ar_jinja *j, ar_jloop *loop, const char *name,
                   bool (*run)(ar_jvalue *, ar_jinja *, ar_jvalue, const ar_jargs *)) {
    ar_jmethod *m = ar__j_new(j, 1, sizeof *m);
    if (!m) return false;
    *m = (ar_jmethod){{.type = AR_J_LOOP, .loop = loop}, name, run};
    *out = (ar_jvalue){.type = AR_J_METHOD, .method = m};
    return true;
}

static bool neighbour(ar_jvalue *out, ar_jinja *j, ar_jloop *loop, bool next) {
    static ar_jstr none[] = {{.data = "there is no previous item", .size = 25, .points = 25},
                             {.data = "there is no next item", .size = 21, .points = 21}};
    size_t at = next ? loop->done : loop->done - 2;
    if (next && !make_ready(j, loop, loop->done + 1)) return false;
    bool there = next ? at < loop->ready->count : loop->done > 1;
    *out = there ? loop->ready->item[at] : ar__j_undefined(&none[next], AR_J_SAYS);
    return true;
}

bool ar__j_loop_member(ar_jvalue *out, ar_jinja *j, ar_jloop *loop, const ar_jstr *name) {
    int64_t done = (int64_t)loop->done;
    if (ar__j_is(name, "index")) *out = ar__j_int(done);
    if (ar__j_is(name, "index0")) *out = ar__j_int(done - 1);
    if (ar__j_is(name, "first")) *out = ar__j_bool(done == 1);
    if (ar__j_is(name, "depth")) *out = ar__j_int(loop->depth + 1);
    if (ar__j_is(name, "depth0")) *out = ar__j_int(loop->depth);
    if (ar__j_is(name, "cycle")) return method(out, j, loop, "cycle", cycle);
    if (ar__j_is(name, "changed")) return method(out, j, loop, "changed", changed);
    if (ar__j_is(name, "previtem") || ar__j_is(name, "nextitem")) return neighbour(out, j, loop, name->data[0] == 'n');
    bool last = ar__j_is(name, "last"), length = ar__j_is(name, "length");
    bool back = ar__j_is(name, "revindex"), back0 = ar__j_is(name, "revindex0");
    if (!last && !length && !back && !back0) return true;
    if (!make_ready(j, loop, last ? loop->done + 1 : SIZE_MAX)) return false;
    int64_t all = (int64_t)loop->ready->count;
    *out = last ? ar__j_bool(all == done) : ar__j_int(length ? all : back ? all - done + 1 : all - done);
    return true;
}
