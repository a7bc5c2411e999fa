/* Stacked experts (PEFT's target_parameters): one pair of tensors adapts a parameter of E matrices,
 *
 *     A [E·r, n_in]   row e·r + k           B [n_out, r·E]   column k·E + e           belong to expert e
 *     W_e += s · B[:, e::E] · A[e·r : (e+1)·r]                                        s by r and α of one expert
 *
 * and becomes E pairs, `PATH.gate_up_proj[e]`.  Keys do not name the parameter: where both are adapted, gate_up_proj is
 * PATH.base_layer and down_proj PATH; where one is, it is PATH, and target_parameters tells which.  Without that (Unsloth
 * writes "experts" into target_modules) the shapes decide, or nothing does. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "adapter/base_weights.h"
#include "adapter/peft.h"
#include "base/fail.h"
#include "base/mem.h"

static const char gate_up[] = "gate_up_proj", down[] = "down_proj", inner[] = ".base_layer";

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

/* The base's weight of a parameter; NULL: no base, or none there. */
static const ar_base_weight *find_weight(const ar_read_context *c, const char *path, size_t n, const char *parameter) {
    ar_buf full = {0};
    ar__buf_printf(&full, "%.*s.%s", (int)n, path, parameter);
    const ar_base_weight *w = c->base && !full.failed ? ar__base_find(c->base, full.data) : NULL;
    ar__buf_release(&full);
    return w && w->dims == 3 ? w : NULL;
}

/* Whether the pair fits the stack, either way round. */
static bool fits(const ar_base_weight *w, int64_t n_in, int64_t n_out) {
    return w && ((w->shape[1] == n_out && w->shape[2] == n_in) || (w->shape[1] == n_in && w->shape[2] == n_out));
}

static ar_status undecided(const ar_peft_stack *x, const char *why, ar_error *err) {
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "%s: site '%s' adapts stacked experts, and %s: write target_parameters into " AR_PEFT_CONFIG
                    " (as [\"mlp.experts.gate_up_proj\", \"mlp.experts.down_proj\"]), or give --model with its experts stacked",
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
    if (x->other_a) {
        ar_peft_stack turned = *x;
        if (!is_inner) turned = (ar_peft_stack){.a = x->other_a, .b = x->other_b, .other_a = x->a, .other_b = x->b};
        return is_gate_and_down(&turned) ? AR_OK : undecided(x, "the shapes do not tell gate_up_proj from down_proj", err);
    }
    int64_t n_in = x->a->shape[1], n_out = x->b->shape[0];
    bool a = fits(find_weight(c, x->path, n, gate_up), n_in, n_out), b = fits(find_weight(c, x->path, n, down), n_in, n_out);
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
static ar_status count_experts(int64_t *experts, double *rank, const ar_read_context *c, const ar_peft_stack *x, const char *parameter,
                               ar_error *err) {
    bool is_inner;
    int64_t rows = x->a->shape[0], n_in = x->a->shape[1], n_out = x->b->shape[0];
    const ar_base_weight *w = find_weight(c, x->path, path_length(x->path, &is_inner), parameter);
    if (w && !fits(w, n_in, n_out))
        return ar__fail(err, AR_ERR_MISMATCH, "%s: site '%s': the pairs are for experts of [%lld, %lld], the base's are [%lld, %lld]",
                        x->place, x->path, (long long)n_out, (long long)n_in, (long long)w->shape[1], (long long)w->shape[2]);
    if (*rank < 1 && w && w->shape[0] > 0) *rank = floor((double)rows / (double)w->shape[0]);
    *experts = *rank >= 1 ? (int64_t)((double)rows / *rank) : 0;
    bool whole = *experts > 0 && (double)*experts * *rank == (double)rows;
    if (whole && *experts > 1 && *experts <= INT_MAX && (!w || w->shape[0] == *experts)) return AR_OK;
    return ar__fail(err, AR_ERR_MISMATCH,
                    "%s: site '%s' adapts stacked experts with %lld rows of A, and the configuration's rank %g makes that %lld of them%s: "
                    "'r' and rank_pattern are those of one expert; correct the configuration",
                    x->place, x->path, (long long)rows, *rank, (long long)*experts, w ? ", which the base has not" : "");
}

static ar_status add_expert(ar_adapter *ad, const ar_peft_stack *x, ar_pair_shape shape, ar_error *err) {
    const ar_dtype_info *type = ar__dtype(x->a->dtype);
    size_t rank = (size_t)shape.rank, e = (size_t)shape.expert, count = (size_t)shape.experts;
    ar_pair *p;
    ar_status s = ar__adapter_add_stored(&p, ad, &shape, err);
    if (s) return s;
    const char *rows = (const char *)x->a->data + e * rank * (size_t)shape.n_in * type->bytes;
    p->stored[AR_FACTOR_A] = (ar_stored){.name = x->a->name, .bytes = rows, .type = x->a->dtype, .is_there = true};
    p->stored[AR_FACTOR_B] =
        (ar_stored){.name = x->b->name, .bytes = x->b->data, .type = x->b->dtype, .is_there = true, .first = e, .step = count};
    return AR_OK;
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
    int n = (int)path_length(x->path, &is_inner);
    ar__buf_printf(&site, "%.*s.%s", n, x->path, parameter);
    s = site.failed ? ar__fail_memory(err, x->path) : ar__pattern_set_find(&rank, x->ranks, site.data, err);
    if (!s) s = ar__pattern_set_find(&alpha, x->alphas, site.data, err);
    if (!s) s = count_experts(&experts, &rank, c, x, parameter, err);
    for (int64_t e = 0; !s && e < experts; e++) {
        ar__buf_clear(&site);
        ar__buf_printf(&site, "%.*s.%s[%lld]", n, x->path, parameter, (long long)e);
        if (site.failed) s = ar__fail_memory(err, x->path);
        ar_pair_shape shape = {.site = site.data, .n_in = x->a->shape[1], .n_out = x->b->shape[0], .rank = (int)rank, .alpha = alpha};
        shape.policy = set->policy;
        shape.expert = (int)e;
        shape.experts = (int)experts;
        if (!s) s = add_expert(ad, x, shape, err);
    }
    ar__buf_release(&site);
    return s;
}
