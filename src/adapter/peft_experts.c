/* Stacked experts (PEFT's target_parameters): one pair of tensors adapts a parameter of E matrices,
 *
 *     A [E·r, n_in]   row e·r + k           B [n_out, r·E]   column k·E + e           belong to expert e
 *     W_e += s · B[:, e::E] · A[e·r : (e+1)·r]                                        s by r and α of one expert
 *
 * and becomes E pairs, `PATH.gate_up_proj[e]`.  Keys do not name the parameter: where both are adapted, gate_up_proj is
 * PATH.base_layer and down_proj PATH; where one is, it is PATH, and target_parameters tells which.  Without that (Unsloth
 * writes "experts" into target_modules) the shapes decide, or nothing does.
 *
 * A base on disk mostly has its experts apart.  There the pairs are those of its tensors, with A of the whole and B's rows of
 * the half: `PATH.e.gate_proj`, `.up_proj`, `.down_proj`. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "adapter/peft.h"
#include "base/fail.h"
#include "base/mem.h"
#include "weights/base.h"

static const char gate_up[] = "gate_up_proj", gate[] = "gate_proj", up[] = "up_proj", down[] = "down_proj", inner[] = ".base_layer";

/* The length of PATH. */
static size_t path_length(const char *path, bool *is_inner) {
    size_t n = strlen(path), k = sizeof inner - 1;
    *is_inner = n > k && !strcmp(path + n - k, inner);
    return *is_inner ? n - k : n;
}

/* Do target_parameters name it, qualified: with a part of the path before it? */
static bool names_parameter(const ar_adapter_settings *s, const char *path, size_t n, const char *parameter, bool qualified) {
    ar_buf full = {0};
    bool hit = false;
    ar__buf_printf(&full, "%.*s.%s", (int)n, path, parameter);
    for (size_t i = 0; !full.failed && !hit && i < s->parameters.count; i++) {
        const char *name = s->parameters.at[i];
        size_t k = strlen(name);
        if (qualified && !strchr(name, '.')) continue;
        hit = !strcmp(full.data, name) || (full.len > k && full.data[full.len - k - 1] == '.' && !strcmp(full.data + full.len - k, name));
    }
    ar__buf_release(&full);
    return hit;
}

bool ar__peft_targets_parameter(const ar_adapter_settings *s, const char *path, size_t n, const char *parameter) {
    return names_parameter(s, path, n, parameter, false);
}

/* A module of another name than `experts` is one where a qualified name says so: "down_proj" alone, as PEFT writes it for
 * "all-linear", would fit every path of the model. */
bool ar__peft_is_stack(const ar_adapter_settings *s, const char *path) {
    static const char experts[] = ".experts";
    bool is_inner;
    size_t n = path_length(path, &is_inner), k = sizeof experts - 1;
    return is_inner || (n > k && !strncmp(path + n - k, experts, k)) || names_parameter(s, path, n, gate_up, true) ||
           names_parameter(s, path, n, down, true);
}

/* The experts of a parameter as the base has them; count 0: no base, or none there. */
struct in_base {
    int64_t count, rows, columns; /* of one expert's matrix; of gate and up together */
    bool is_apart;                /* each is a tensor of its own, PATH.3.gate_proj, and not part of a stack */
};

static const ar_base_weight *find_single(const ar_read_context *c, const char *path, size_t n, int64_t expert, const char *part) {
    ar_buf full = {0};
    ar__buf_printf(&full, "%.*s.%lld.%s", (int)n, path, (long long)expert, part);
    const ar_base_weight *w = full.failed ? NULL : ar__base_find(c->base, full.data);
    ar__buf_release(&full);
    return w && w->dims == 2 ? w : NULL;
}

static struct in_base find_experts(const ar_read_context *c, const char *path, size_t n, const char *parameter) {
    struct in_base x = {0};
    if (!c->base) return x;
    ar_buf full = {0};
    ar__buf_printf(&full, "%.*s.%s", (int)n, path, parameter);
    const ar_base_weight *w = full.failed ? NULL : ar__base_find(c->base, full.data);
    ar__buf_release(&full);
    if (w && w->dims == 3) return (struct in_base){.count = w->shape[0], .rows = w->shape[1], .columns = w->shape[2]};
    bool two = parameter == gate_up;
    const char *part = two ? gate : down;
    if (!(w = find_single(c, path, n, 0, part)) || w->n_out > INT64_MAX / 2) return x;
    x = (struct in_base){.rows = two ? 2 * w->n_out : w->n_out, .columns = w->n_in, .is_apart = !c->options.keeps_stacks};
    while (find_single(c, path, n, x.count, part)) x.count++;
    return x;
}

/* Whether the pair fits the experts, either way round. */
static bool fits(const struct in_base *x, int64_t n_in, int64_t n_out) {
    return x->count && ((x->rows == n_out && x->columns == n_in) || (x->rows == n_in && x->columns == n_out));
}

static ar_status undecided(const ar_peft_stack *x, const char *why, ar_error *err) {
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "%s: site '%s' adapts stacked experts, and %s: write target_parameters into " AR_PEFT_CONFIG
                    " (as [\"mlp.experts.gate_up_proj\", \"mlp.experts.down_proj\"]), or give --model",
                    x->place, x->path, why);
}

/* Both levels are there: is the inner one gate_up_proj?  It maps the width to twice the experts', and the outer one back. */
static bool is_gate_and_down(const ar_peft_stack *x) {
    int64_t width = x->a->shape[1], twice = x->b->shape[0], half = x->other_a->shape[1], back = x->other_b->shape[0];
    return width == back && twice == 2 * half;
}

/* Which parameter the tensors of x adapt. */
static ar_status find_parameter(const char **out, const ar_adapter *ad, const ar_read_context *c, const ar_peft_stack *x, ar_error *err) {
    bool is_inner;
    size_t n = path_length(x->path, &is_inner);
    bool first = ar__peft_targets_parameter(&ad->settings, x->path, n, gate_up);
    bool second = ar__peft_targets_parameter(&ad->settings, x->path, n, down);
    *out = is_inner ? gate_up : down;
    if (is_inner && !x->other_a) return undecided(x, "its keys have the inner of two levels alone", err);
    if (first || second) {
        if (first != second) *out = first ? gate_up : down;
        bool two = x->other_a;
        if (two == (first && second)) return AR_OK;
        return ar__fail(err, AR_ERR_MISMATCH, "%s: site '%s': target_parameters names %s of gate_up_proj and down_proj, the file has %s",
                        x->place, x->path, two ? "one" : "both", two ? "both" : "one");
    }
    if (ad->settings.parameters.count)
        return ar__fail(err, AR_ERR_MISMATCH,
                        "%s: site '%s' adapts stacked experts, and target_parameters ('%s'%s) names none of its parameters, so that PEFT "
                        "would leave the pair out: correct " AR_PEFT_CONFIG " (\"mlp.experts.gate_up_proj\", \"mlp.experts.down_proj\")",
                        x->place, x->path, ad->settings.parameters.at[0], ad->settings.parameters.count > 1 ? ", …" : "");
    if (x->other_a) {
        ar_peft_stack turned = *x;
        if (!is_inner) turned = (ar_peft_stack){.a = x->other_a, .b = x->other_b, .other_a = x->a, .other_b = x->b};
        return is_gate_and_down(&turned) ? AR_OK : undecided(x, "the shapes do not tell gate_up_proj from down_proj", err);
    }
    int64_t n_in = x->a->shape[1], n_out = x->b->shape[0];
    struct in_base firsts = find_experts(c, x->path, n, gate_up), seconds = find_experts(c, x->path, n, down);
    bool a = fits(&firsts, n_in, n_out), b = fits(&seconds, n_in, n_out);
    if (a == b) return undecided(x, "nothing says which of gate_up_proj and down_proj", err);
    *out = a ? gate_up : down;
    return AR_OK;
}

static ar_status check_settings(const ar_adapter_settings *s, const ar_peft_stack *x, ar_error *err) {
    if (!s->dora && !s->lora_bias) return AR_OK;
    return ar__fail(err, AR_ERR_UNSUPPORTED, "%s: site '%s': %s on stacked experts, which PEFT refuses too", x->place, x->path,
                    s->dora ? "use_dora" : "lora_bias");
}

/* E: of the base where it is there, else by the rank; *rank is one expert's. */
static ar_status count_experts(int64_t *experts, double *rank, const struct in_base *base, const ar_peft_stack *x, ar_error *err) {
    int64_t rows = x->a->shape[0], n_in = x->a->shape[1], n_out = x->b->shape[0];
    if (base->count && !fits(base, n_in, n_out))
        return ar__fail(err, AR_ERR_MISMATCH, "%s: site '%s': the pairs are for experts of [%lld, %lld], the base's are [%lld, %lld]",
                        x->place, x->path, (long long)n_out, (long long)n_in, (long long)base->rows, (long long)base->columns);
    if (*rank < 1 && base->count) *rank = floor((double)rows / (double)base->count);
    *experts = *rank >= 1 ? (int64_t)((double)rows / *rank) : 0;
    bool whole = *experts > 0 && (double)*experts * *rank == (double)rows;
    if (whole && *experts > 1 && *experts <= INT_MAX && (!base->count || base->count == *experts)) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: site '%s' adapts stacked experts with %lld rows of A, and the configuration's rank %g makes that %lld of them%s: "
                    "'r' and rank_pattern are those of one expert; correct the configuration",
                    x->place, x->path, (long long)rows, *rank, (long long)*experts, base->count ? ", which the base has not" : "");
}

/* The factor whose element [i, k] is element first + i·row_step + k·column_step of the tensor. */
static ar_stored part_of(const ar_tensor *t, size_t first, size_t row_step, size_t column_step) {
    const char *bytes = (const char *)t->data + first * ar__dtype(t->dtype)->bytes;
    return (ar_stored){
        .name = t->name, .bytes = bytes, .type = t->dtype, .is_there = true, .row_step = row_step, .column_step = column_step};
}

/* The pair of a matrix that is the rows from `first` of the expert's.  Where the base has it the other way round than the
 * file, (BA)ᵀ = Aᵀ Bᵀ is meant, and the factors change places. */
static ar_status add_pair(ar_adapter *ad, const ar_peft_stack *x, ar_pair_shape shape, size_t first, bool turned, ar_error *err) {
    size_t rank = (size_t)shape.rank, e = (size_t)shape.expert, count = (size_t)shape.experts, n_in = (size_t)x->a->shape[1];
    ar_pair *p;
    ar_status s = ar__adapter_add_stored(&p, ad, &shape, err);
    if (s) return s;
    if (turned) {
        p->stored[AR_FACTOR_A] = part_of(x->b, e, count, rank * count);
        p->stored[AR_FACTOR_B] = part_of(x->a, e * rank * n_in + first, 1, n_in);
    } else {
        p->stored[AR_FACTOR_A] = part_of(x->a, e * rank * n_in, n_in, 1);
        p->stored[AR_FACTOR_B] = part_of(x->b, first * rank * count + e, rank * count, count);
    }
    return AR_OK;
}

/* In a stack of the base one pair, `PATH.gate_up_proj[3]`; of experts apart one for each of their tensors, `PATH.3.gate_proj`
 * of the upper half of the rows and `PATH.3.up_proj` of the lower. */
static ar_status add_expert(ar_adapter *ad, const ar_peft_stack *x, ar_pair_shape shape, const struct in_base *base, const char *parameter,
                            ar_error *err) {
    static const char *const halves[] = {gate, up};
    bool is_inner, two = base->is_apart && parameter == gate_up;
    bool turned = base->is_apart && (base->rows != shape.n_out || base->columns != shape.n_in);
    int n = (int)path_length(x->path, &is_inner);
    ar_status s = AR_OK;
    shape.n_out = turned ? base->rows : shape.n_out;
    shape.n_in = turned ? base->columns : shape.n_in;
    shape.n_out /= 1 + two;
    shape.is_apart = base->is_apart;
    for (int i = 0; !s && i <= two; i++) {
        ar_buf site = {0};
        if (base->is_apart)
            ar__buf_printf(&site, "%.*s.%d.%s", n, x->path, shape.expert, two ? halves[i] : parameter);
        else
            ar__buf_printf(&site, "%.*s.%s[%d]", n, x->path, parameter, shape.expert);
        shape.site = site.data;
        s = site.failed ? ar__fail_memory(err, x->path) : add_pair(ad, x, shape, (size_t)i * (size_t)shape.n_out, turned, err);
        ar__buf_release(&site);
    }
    return s;
}

ar_status ar__peft_read_stack(ar_adapter *ad, const ar_read_context *c, const ar_peft_stack *x, ar_error *err) {
    const ar_adapter_settings *set = &ad->settings;
    const char *parameter;
    double rank = set->rank, alpha = set->alpha;
    int64_t experts = 0;
    bool is_inner;
    ar_buf site = {0};
    ar_status s = check_settings(set, x, err);
    if (!s) s = find_parameter(&parameter, ad, c, x, err);
    if (s) return s;
    size_t n = path_length(x->path, &is_inner);
    struct in_base base = find_experts(c, x->path, n, parameter);
    ar__buf_printf(&site, "%.*s.%s", (int)n, x->path, parameter);
    s = site.failed ? ar__fail_memory(err, x->path) : ar__pattern_set_find(&rank, x->ranks, site.data, err);
    if (!s) s = ar__pattern_set_find(&alpha, x->alphas, site.data, err);
    ar__buf_release(&site);
    if (!s) s = count_experts(&experts, &rank, &base, x, err);
    ar_pair_shape shape = {.n_in = x->a->shape[1], .n_out = x->b->shape[0], .rank = (int)rank, .alpha = alpha, .policy = set->policy};
    shape.experts = (int)experts;
    for (; !s && shape.expert < experts; shape.expert++) s = add_expert(ad, x, shape, &base, parameter, err);
    return s;
}
