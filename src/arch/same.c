/* Whether two architecture records are one model: the proof that a file written for the one says the same. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "arch/gguf_write.h"
#include "base/fail.h"
#include "base/mem.h"

#define AT(member) #member, offsetof(ar_arch, member)

static const struct {
    const char *name;
    size_t at;
} wholes[] = {{AT(vocab)},    {AT(dim)},           {AT(ff)},         {AT(layers)},        {AT(heads)},         {AT(kv_heads)},
              {AT(head_dim)}, {AT(max_positions)}, {AT(rotary_dim)}, {AT(full_head_dim)}, {AT(full_kv_heads)}, {AT(kv_shared)},
              {AT(ple_dim)},  {AT(ple_vocab)},     {AT(experts)},    {AT(expert_ff)},     {AT(shared_ff)},     {AT(experts_used)},
              {AT(conv_taps)}},
  reals[] = {{AT(embed_scale)}, {AT(residual_scale)}, {AT(attention_scale)}, {AT(logit_scale)}, {AT(score_cap)},
             {AT(logit_cap)},   {AT(clip_qkv)},       {AT(swiglu_alpha)},    {AT(swiglu_limit)}},
  flags[] = {{AT(norm_centred)},    {AT(norm_bias)},    {AT(qk_turned)}, {AT(bias_head)},    {AT(parallel)},    {AT(qkv_by_head)},
             {AT(layer_scaled)},    {AT(learned)},      {AT(tied)},      {AT(bias_qkv)},     {AT(full_k_is_v)}, {AT(shared_wide)},
             {AT(v_norm)},          {AT(layer_scalar)}, {AT(bias_o)},    {AT(bias_mlp)},     {AT(qk_norm)},     {AT(qk_wide)},
             {AT(rope_neighbours)}, {AT(route_of_all)}, {AT(sinks)},     {AT(bias_experts)}, {AT(conv_bias)},   {AT(head_norms)},
             {AT(experts_beside)}};

/* Numbers of a GGUF file are f32. */
static bool close_to(double a, double b) { return fabs(a - b) <= 1e-6 * fmax(fabs(a), fabs(b)); }

/* The record's word, or config.json's where that says the opposite. */
static ar_status differs(const char *place, const char *what, double wanted, double found, ar_error *err) {
    if (!strcmp(what, "route_of_all"))
        return ar__fail(
            err, AR_ERR_UNSUPPORTED,
            "%s: a GGUF file of this family has no place for norm_topk_prob: it would be read as %s, this model's is %s; use the "
            "Hugging Face folder",
            place, found != 0 ? "false" : "true", wanted != 0 ? "false" : "true");
    return ar__fail(err, AR_ERR_UNSUPPORTED,
                    "%s: a GGUF file has no place for this model's %s: it would be read as %.9g, wanted %.9g; use the Hugging Face folder",
                    place, what, found, wanted);
}

static ar_status check_numbers(const ar_arch *a, const ar_arch *b, const char *place, ar_error *err) {
    const char *pa = (const char *)a, *pb = (const char *)b;
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++) {
        int64_t x, y;
        memcpy(&x, pa + wholes[i].at, sizeof x);
        memcpy(&y, pb + wholes[i].at, sizeof y);
        if (x != y) return differs(place, wholes[i].name, (double)x, (double)y, err);
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        double x, y;
        memcpy(&x, pa + reals[i].at, sizeof x);
        memcpy(&y, pb + reals[i].at, sizeof y);
        if (!close_to(x, y)) return differs(place, reals[i].name, x, y, err);
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (pa[flags[i].at] != pb[flags[i].at]) return differs(place, flags[i].name, pa[flags[i].at], pb[flags[i].at], err);
    if (!close_to((double)a->norm_eps, (double)b->norm_eps))
        return differs(place, "norm_eps", (double)a->norm_eps, (double)b->norm_eps, err);
    if (a->activation != b->activation) return differs(place, "activation function", a->activation, b->activation, err);
    return AR_OK;
}

static ar_status check_layers(bool *windowless, const ar_arch *a, const ar_arch *b, const char *place, ar_error *err) {
    *windowless = a->window && !b->window;
    if (!*windowless && a->window != b->window) return differs(place, "window", (double)a->window, (double)b->window, err);
    for (int64_t l = 0; l < a->layers; l++) {
        if (ar__layer_is_dense(a, l) != ar__layer_is_dense(b, l))
            return differs(place, "layers without experts", ar__layer_is_dense(a, l), ar__layer_is_dense(b, l), err);
        if (a->mixer[l] != b->mixer[l]) return differs(place, "layers without attention", a->mixer[l], b->mixer[l], err);
        if (a->unturned[l] != b->unturned[l]) return differs(place, "layers without rotary embedding", a->unturned[l], b->unturned[l], err);
        if (a->window && b->window && a->windowed[l] != b->windowed[l])
            return differs(place, "layers with a window", a->windowed[l], b->windowed[l], err);
    }
    return AR_OK;
}

static ar_status check_rope(const ar_arch *a, const ar_arch *b, int rope, size_t length, const char *place, ar_error *err) {
    size_t n = (size_t)ar__rope_dim(a, rope) / 2;
    float *x = ar__alloc(2 * n, sizeof *x), sa, sb;
    ar_status s = x ? AR_OK : ar__fail_memory(err, place);
    if (x) {
        ar__rope_frequencies(x, &sa, a, rope, length);
        ar__rope_frequencies(x + n, &sb, b, rope, length);
        if (!close_to((double)sa, (double)sb)) s = differs(place, "factor of the rotary embedding", (double)sa, (double)sb, err);
    }
    for (size_t i = 0; !s && i < n; i++)
        if (!close_to((double)x[i], (double)x[n + i]))
            s = differs(place, "frequencies of the rotary embedding", (double)x[i], (double)x[n + i], err);
    free(x);
    return s;
}

ar_status ar__arch_check_same(bool *windowless, const ar_arch *wanted, const ar_arch *found, const char *place, ar_error *err) {
    const size_t lengths[] = {1, (size_t)wanted->max_positions, (size_t)wanted->max_positions + 1};
    ar_status s = check_numbers(wanted, found, place, err);
    if (!s) s = check_layers(windowless, wanted, found, place, err);
    if (!s && wanted->ropes != found->ropes) s = differs(place, "kinds of rotary embedding", wanted->ropes, found->ropes, err);
    for (int i = 0; !s && !wanted->learned && i < wanted->ropes; i++)
        for (size_t k = 0; !s && k < sizeof lengths / sizeof *lengths; k++) s = check_rope(wanted, found, i, lengths[k], place, err);
    double beta = wanted->rope[0].query_beta;
    return s || close_to(beta, found->rope[0].query_beta) ? s
                                                          : differs(place, "llama_4_scaling_beta", beta, found->rope[0].query_beta, err);
}
