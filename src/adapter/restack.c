/* Experts that other formats have apart, as PEFT's stacks: of expert e
 *
 *     PATH.down_proj[e]       the pair of PATH.e.down_proj
 *     PATH.gate_up_proj[e]    A = A_gate = A_up,    B = [B_gate ; B_up]            where gate and up share A, as PEFT's do
 *                             A = [A_gate ; A_up],  B = [B_gate, 0 ; 0, B_up]      otherwise
 *
 * (of gpt_oss gate's and up's rows in turn) and the other way round, where A is both's and B is parted.
 *
 * One pair of tensors holds a stack, so all of its experts have one rank and one s; where gate's and up's differ, B of the
 * other takes the quotient. */
#include "adapter/restack.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/map.h"
#include "base/mem.h"

enum { GATE, UP, DOWN, PARTS };
static const char *const parts[] = {"gate_proj", "up_proj", "down_proj"};

/* PATH.3.gate_proj → the length of PATH, and which part; 0: none. */
static size_t path_of(const char *site, int *part) {
    const char *dot = strrchr(site, '.'), *number = dot;
    for (*part = 0; dot && *part < PARTS && strcmp(dot + 1, parts[*part]) != 0; ++*part) continue;
    while (number > site && number[-1] != '.') number--;
    return dot && number > site && *part < PARTS ? (size_t)(number - 1 - site) : 0;
}

typedef struct restacker {
    const ar_adapter *ad;
    ar_adapter *out;
    ar_map by_site; /* place among ad's pairs */
    ar_map done;    /* "PATH.part" of stacks */
    bool in_turn;   /* rows of gate and up take turns in stacks */
    ar_error *err;
} restacker;

/* The pairs of one parameter: `part` and, of gate, up. */
typedef struct stack {
    const ar_pair *first; /* any of them */
    size_t path;
    int part;
    bool shared;  /* gate and up have one A, in all experts */
    double scale; /* of the stack */
} stack;

static const ar_pair *find(const restacker *r, const stack *st, int expert, int part) {
    ar_buf name = {0};
    ar__buf_printf(&name, "%.*s.%d.%s", (int)st->path, st->first->site, expert, parts[part]);
    size_t at = name.failed ? AR_MAP_NONE : ar__map_find_str(&r->by_site, name.data);
    ar__buf_release(&name);
    return at != AR_MAP_NONE && r->ad->pair[at].is_apart ? &r->ad->pair[at] : NULL;
}

static ar_status compare_a(bool *same, const restacker *r, const ar_pair *gate, const ar_pair *up) {
    size_t n = (size_t)gate->rank * (size_t)gate->n_in;
    float *x = ar__alloc(2 * n, sizeof *x);
    ar_status s = x ? ar__factor_read(x, r->ad, gate, AR_FACTOR_A, r->err) : ar__fail_memory(r->err, gate->site);
    if (!s) s = ar__factor_read(x + n, r->ad, up, AR_FACTOR_A, r->err);
    *same = !s && !memcmp(x, x + n, n * sizeof *x);
    free(x);
    return s;
}

/* B of `from` times the factor into each step-th row from `row` and columns from `column` on of p's. */
static ar_status put_b(ar_pair *p, const restacker *r, const ar_pair *from, size_t row, size_t step, size_t column, double factor) {
    size_t rows = (size_t)from->n_out, rank = (size_t)from->rank, all = (size_t)p->rank;
    float *x = ar__alloc(rows * rank, sizeof *x);
    ar_status s = x ? ar__factor_read(x, r->ad, from, AR_FACTOR_B, r->err) : ar__fail_memory(r->err, from->site);
    for (size_t i = 0; !s && i < rows; i++)
        for (size_t k = 0; k < rank; k++) p->b[(row + i * step) * all + column + k] = (float)(factor * (double)x[i * rank + k]);
    free(x);
    return s;
}

static ar_status unlike(const ar_pair *p, ar_error *err) {
    return ar__fail(
        err, AR_ERR_UNSUPPORTED,
        "site '%s': of %d stacked experts, which PEFT's format holds in one pair of tensors: all of them there, of one rank and "
        "without DoRA and lora_bias; merge the adapter into its base instead (alphar merge)",
        p->site, p->experts);
}

/* Every expert has what the first has, and of gate and up the widths that fit. */
static ar_status check(const restacker *r, stack *st) {
    const ar_pair *like[2] = {NULL, NULL};
    ar_status s = AR_OK;
    st->shared = st->part == GATE;
    for (int e = 0; !s && e < st->first->experts; e++) {
        const ar_pair *of[2] = {find(r, st, e, st->part), st->part == GATE ? find(r, st, e, UP) : NULL};
        for (int i = 0; i < 2; i++) {
            const ar_pair *p = of[i], *q = e ? like[i] : p;
            if (!p != !q) return unlike(st->first, r->err);
            if (!p) continue;
            if (p->rank != q->rank || p->n_in != q->n_in || p->n_out != q->n_out || p->experts != q->experts || p->magnitude || p->b_bias)
                return unlike(p, r->err);
            if (st->scale == 0) st->scale = p->scale;
            like[i] = p;
        }
        bool both = of[0] && of[1];
        if (!of[0] && !of[1]) return unlike(st->first, r->err);
        if (both && (of[0]->n_in != of[1]->n_in || of[0]->n_out != of[1]->n_out)) return unlike(of[1], r->err);
        st->shared = st->shared && both && of[0]->rank == of[1]->rank;
        if (st->shared) s = compare_a(&st->shared, r, of[0], of[1]);
    }
    return s;
}

/* Numbers that did not change stay as narrow in the file as they were. */
static void keep_type(ar_pair *to, const ar_pair *from, ar_factor f) {
    if (from->stored[f].is_there && to->stored[f].is_there && ar__dtype_is_float(from->stored[f].type))
        to->stored[f].type = from->stored[f].type;
}

static ar_status add_expert(const restacker *r, const stack *st, int e) {
    const ar_pair *of[2] = {find(r, st, e, st->part), st->part == GATE ? find(r, st, e, UP) : NULL}, *one = of[0] ? of[0] : of[1];
    if (!one) return unlike(st->first, r->err);
    bool beside = of[0] && of[1] && !st->shared;
    ar_buf site = {0};
    ar__buf_printf(&site, "%.*s.%s[%d]", (int)st->path, st->first->site, st->part == DOWN ? "down_proj" : "gate_up_proj", e);
    ar_pair_shape shape = {.site = site.data, .n_in = one->n_in, .n_out = one->n_out * (st->part == DOWN ? 1 : 2), .expert = e};
    shape.rank = one->rank + (beside ? of[1]->rank : 0);
    shape.experts = one->experts;
    shape.policy = one->policy;
    shape.alpha = ar__policy_alpha(shape.policy, st->scale, shape.rank);
    ar_pair *p = NULL;
    ar_status s = site.failed ? ar__fail_memory(r->err, one->site) : ar__adapter_add_pair(&p, r->out, &shape, r->err);
    ar__buf_release(&site);
    if (s) return s;
    p->scale = st->scale;
    s = ar__factor_read(p->a, r->ad, one, AR_FACTOR_A, r->err);
    if (!s && beside) s = ar__factor_read(p->a + (size_t)one->rank * (size_t)one->n_in, r->ad, of[1], AR_FACTOR_A, r->err);
    for (int i = 0; !s && i < 2; i++) {
        double factor = of[i] && st->scale != 0 ? of[i]->scale / st->scale : 1;
        bool turns = r->in_turn && st->part != DOWN;
        size_t row = turns ? (size_t)i : i ? (size_t)one->n_out : 0;
        if (of[i]) s = put_b(p, r, of[i], row, turns ? 2 : 1, i && beside ? (size_t)one->rank : 0, factor);
    }
    if (!s) s = ar__pair_settle(r->out, p, r->err);
    if (!s) keep_type(p, one, AR_FACTOR_A);
    if (!s && one->scale == st->scale && (!of[0] || !of[1] || of[0]->scale == of[1]->scale)) keep_type(p, one, AR_FACTOR_B);
    return s;
}

static ar_status copy_pair(const restacker *r, const ar_pair *p) {
    ar_pair *q;
    ar_pair_shape shape = ar__pair_shape_of(p);
    ar_status s = ar__adapter_add_pair(&q, r->out, &shape, r->err);
    if (s) return s;
    q->scale = p->scale;
    if ((s = ar__factor_read(q->a, r->ad, p, AR_FACTOR_A, r->err)) || (s = ar__factor_read(q->b, r->ad, p, AR_FACTOR_B, r->err))) return s;
    if (p->magnitude) memcpy(q->magnitude, p->magnitude, (size_t)p->n_out * sizeof *p->magnitude);
    if (p->b_bias) memcpy(q->b_bias, p->b_bias, (size_t)p->n_out * sizeof *p->b_bias);
    if ((s = ar__pair_settle(r->out, q, r->err))) return s;
    keep_type(q, p, AR_FACTOR_A);
    keep_type(q, p, AR_FACTOR_B);
    return AR_OK;
}

/* The whole stack, with the first of its pairs. */
static ar_status add_stack(restacker *r, const ar_pair *p) {
    stack st = {.first = p};
    ar_buf key = {0};
    st.path = path_of(p->site, &st.part);
    if (!st.path) return unlike(p, r->err);
    if (st.part == UP) st.part = GATE;
    ar__buf_printf(&key, "%.*s.%d", (int)st.path, p->site, st.part);
    ar_status s = key.failed ? ar__fail_memory(r->err, p->site) : AR_OK;
    bool known = !s && ar__map_find_str(&r->done, key.data) != AR_MAP_NONE;
    if (!s && !known && !ar__map_put(&r->done, key.data, key.len, 0)) s = ar__fail_memory(r->err, p->site);
    if (!s && !known) s = check(r, &st);
    for (int e = 0; !s && !known && e < p->experts; e++) s = add_expert(r, &st, e);
    ar__buf_release(&key);
    return s;
}

static ar_status restack(restacker *r) {
    const ar_adapter *ad = r->ad;
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < ad->pair_count; i++)
        if (!ar__map_put(&r->by_site, ad->pair[i].site, strlen(ad->pair[i].site), i)) s = ar__fail_memory(r->err, ad->pair[i].site);
    for (size_t i = 0; !s && i < ad->pair_count; i++) s = ad->pair[i].is_apart ? add_stack(r, &ad->pair[i]) : copy_pair(r, &ad->pair[i]);
    return s;
}

bool ar__adapter_has_apart(const ar_adapter *ad) {
    for (size_t i = 0; i < ad->pair_count; i++)
        if (ad->pair[i].is_apart) return true;
    return false;
}

/* PATH.gate_up_proj[3] → PATH.3.gate_proj with the rows of B that are its own. */
static ar_status add_apart(const restacker *r, const ar_pair *p, int part) {
    const char *bracket = strrchr(p->site, '['), *dot = bracket;
    while (dot > p->site && *dot != '.') dot--;
    size_t whole = (size_t)p->n_out, rows = part == DOWN ? whole : whole / 2, rank = (size_t)p->rank;
    size_t first = part != UP ? 0 : r->in_turn ? 1 : rows, step = part != DOWN && r->in_turn ? 2 : 1;
    ar_buf site = {0};
    ar__buf_printf(&site, "%.*s.%d.%s", (int)(dot - p->site), p->site, p->expert, parts[part]);
    ar_pair_shape shape = ar__pair_shape_of(p);
    shape.site = site.data;
    shape.n_out = (int64_t)rows;
    shape.is_apart = true;
    ar_pair *q = NULL;
    float *b = ar__alloc(whole * rank, sizeof *b);
    ar_status s = site.failed || !b ? ar__fail_memory(r->err, p->site) : ar__adapter_add_pair(&q, r->out, &shape, r->err);
    ar__buf_release(&site);
    if (!s) q->scale = p->scale;
    if (!s) s = ar__factor_read(q->a, r->ad, p, AR_FACTOR_A, r->err);
    if (!s) s = ar__factor_read(b, r->ad, p, AR_FACTOR_B, r->err);
    for (size_t i = 0; !s && i < rows; i++) memcpy(q->b + i * rank, b + (first + i * step) * rank, rank * sizeof *b);
    free(b);
    if (!s) s = ar__pair_settle(r->out, q, r->err);
    if (!s) keep_type(q, p, AR_FACTOR_A);
    if (!s) keep_type(q, p, AR_FACTOR_B);
    return s;
}

static ar_status unstack(restacker *r) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && i < r->ad->pair_count; i++) {
        const ar_pair *p = &r->ad->pair[i];
        bool stacked = ar__pair_in_stack(p), both = stacked && strstr(p->site, ".gate_up_proj[");
        if (!stacked) s = copy_pair(r, p);
        for (int part = both ? GATE : DOWN; !s && stacked && part <= (both ? UP : DOWN); part++) s = add_apart(r, p, part);
    }
    return s;
}

bool ar__adapter_has_stacks(const ar_adapter *ad) {
    for (size_t i = 0; i < ad->pair_count; i++)
        if (ar__pair_in_stack(&ad->pair[i])) return true;
    return false;
}

static ar_status make(ar_adapter **out, ar_status (*fill)(restacker *), restacker r, const char *dir) {
    *out = NULL;
    ar_status s = ar__adapter_new(&r.out, r.err);
    if (!s) s = ar__adapter_copy_settings(r.out, r.ad, r.err);
    if (!s) s = ar__adapter_use_spool(r.out, dir, r.err);
    if (!s) s = fill(&r);
    if (!s) s = ar__adapter_copy_wholes(r.out, r.ad, r.err);
    ar__map_release(&r.by_site);
    ar__map_release(&r.done);
    if (s)
        ar_adapter_free(r.out);
    else
        *out = r.out;
    return s;
}

ar_status ar__adapter_unstacked(ar_adapter **out, const ar_adapter *ad, bool in_turn, const char *dir, ar_error *err) {
    return make(out, unstack, (restacker){.ad = ad, .in_turn = in_turn, .err = err}, dir);
}

ar_status ar__adapter_restacked(ar_adapter **out, const ar_adapter *ad, bool in_turn, const char *dir, ar_error *err) {
    return make(out, restack, (restacker){.ad = ad, .in_turn = in_turn, .err = err}, dir);
}
