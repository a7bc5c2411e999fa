/* The tensors of one site → its pair.  Halves must come together, shapes agree, and the configuration say what is there. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "adapter/peft_impl.h"
#include "base/fail.h"
#include "base/mem.h"

static ar_status copy_values(float *out, const ar_peft_reader *r, const ar_tensor *t, ar_error *err) {
    ar__dtype(t->dtype)->to_f32(out, t->data, t->count);
    for (size_t i = 0; i < t->count; i++)
        if (!isfinite(out[i]))
            return ar__fail(err, AR_ERR_NUMERIC, "%s: tensor '%s' holds %s at element %zu, wanted finite numbers", r->place, t->name,
                            isnan(out[i]) ? "NaN" : "infinity", i);
    return AR_OK;
}

static ar_status halves(bool *embedding, const ar_peft_reader *r, const ar_peft_site *site, ar_error *err) {
    const ar_tensor *const *p = site->part;
    static const char *const names[] = {"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"};
    bool linear = p[AR_PEFT_A] || p[AR_PEFT_B];
    *embedding = p[AR_PEFT_EMBEDDING_A] || p[AR_PEFT_EMBEDDING_B];
    if (linear && *embedding)
        return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s' is both a linear layer and an embedding", r->place, site->path);
    int a = *embedding ? AR_PEFT_EMBEDDING_A : AR_PEFT_A, b = a + 1;
    if (!p[a] || !p[b])
        return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s' has no %s; a pair needs both halves", r->place, site->path, names[p[a] ? b : a]);
    return AR_OK;
}

/* The columns of A as a matrix: a convolution's are channels times kernel. */
static int64_t columns(const ar_tensor *a) { return a->shape[0] < 1 ? 0 : (int64_t)a->count / a->shape[0]; }

/* The number of elements of a vector that may carry dimensions of 1 (PEFT's magnitudes did). */
static bool is_vector(const ar_tensor *t, int64_t n) {
    for (int i = 0; i < t->dims; i++)
        if (t->shape[i] != 1 && t->shape[i] != n) return false;
    return t->count == (size_t)n;
}

static ar_status check_shapes(const ar_peft_reader *r, const ar_peft_site *site, const ar_tensor *a, const ar_tensor *b, ar_error *err) {
    if (!a->count || !b->count) return ar__peft_not_gathered(r, a->count ? b : a, err);
    bool conv = a->dims == 4 && b->dims == 4 && b->shape[2] == 1 && b->shape[3] == 1;
    if ((a->dims != 2 || b->dims != 2) && !conv)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%s: site '%s' has factors of %d and %d dimensions, wanted 2, or [r, in, h, w] and [out, r, 1, 1] of a convolution",
                        r->place, site->path, a->dims, b->dims);
    if (a->shape[0] != b->shape[1])
        return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s': A is [%lld, %lld] and B [%lld, %lld], wanted A's rows to be B's columns",
                        r->place, site->path, (long long)a->shape[0], (long long)a->shape[1], (long long)b->shape[0],
                        (long long)b->shape[1]);
    if (a->shape[0] > INT_MAX) return ar__fail(err, AR_ERR_FORMAT, "%s: site '%s': impossible shape", r->place, site->path);
    for (int part = AR_PEFT_MAGNITUDE; part <= AR_PEFT_B_BIAS; part++)
        if (site->part[part] && !is_vector(site->part[part], b->shape[0]))
            return ar__fail(err, AR_ERR_FORMAT, "%s: tensor '%s' has %zu elements, wanted %lld", r->place, site->part[part]->name,
                            site->part[part]->count, (long long)b->shape[0]);
    return AR_OK;
}

/* A vector that the configuration announces must be there, one that it does not would be ignored by PEFT. */
static ar_status check_announced(const ar_peft_reader *r, const ar_peft_site *site, int part, bool on, const char *field, ar_error *err) {
    const ar_tensor *t = site->part[part];
    if (on && !t)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: '%s' is on, but site '%s' has no such tensor in %s", AR_PEFT_CONFIG, field, site->path,
                        r->place);
    if (!on && t)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: tensor '%s' is there, but '%s' is off in %s", r->place, t->name, field, AR_PEFT_CONFIG);
    return AR_OK;
}

/* A pattern means the path, or the key's own spelling of it. */
static ar_status find_pattern(double *out, const ar_peft_reader *r, const ar_pattern_set *set, const ar_peft_site *site, ar_error *err) {
    ar_status s = ar__pattern_set_find(out, set, site->raw, err);
    if (!s && ar__peft_targets_parameter(&r->ad->settings, site->path, strlen(site->path), "weight")) {
        ar_buf full = {0};
        ar__buf_printf(&full, "%s.weight", site->path);
        s = full.failed ? ar__fail_memory(err, site->path) : ar__pattern_set_find(out, set, full.data, err);
        ar__buf_release(&full);
    }
    return s ? s : ar__pattern_set_find(out, set, site->path, err);
}

static ar_status check_rank(const ar_peft_reader *r, const ar_peft_site *site, int rank, ar_error *err) {
    double wanted = r->ad->settings.rank;
    ar_status s = find_pattern(&wanted, r, &r->ranks, site, err);
    if (s || wanted == 0 || wanted == rank) return s;
    return ar__fail(err, AR_ERR_MISMATCH, "%s: site '%s' has rank %d, %s says %g ('r' or 'rank_pattern'): correct the configuration",
                    r->place, site->path, rank, AR_PEFT_CONFIG, wanted);
}

static ar_status check_site(const ar_peft_reader *r, const ar_peft_site *site, const ar_tensor *a, const ar_tensor *b, ar_error *err) {
    const ar_adapter_settings *set = &r->ad->settings;
    ar_status s;
    if ((s = check_shapes(r, site, a, b, err)) || (s = check_announced(r, site, AR_PEFT_MAGNITUDE, set->dora, "use_dora", err)) ||
        (s = check_announced(r, site, AR_PEFT_B_BIAS, set->lora_bias, "lora_bias", err)))
        return s;
    return check_rank(r, site, (int)a->shape[0], err);
}

/* The other level of the same experts: with `.base_layer` behind the path, or without. */
static const ar_peft_site *other_level(const ar_peft_reader *r, const ar_peft_site *site) {
    static const char inner[] = ".base_layer";
    size_t n = strlen(site->path), k = sizeof inner - 1;
    bool is_inner = n > k && !strcmp(site->path + n - k, inner);
    for (size_t i = 0; i < r->count; i++) {
        const char *path = r->site[i].path;
        size_t m = strlen(path);
        const char *longer = is_inner ? site->path : path, *shorter = is_inner ? path : site->path;
        size_t length = is_inner ? m : n;
        if ((is_inner ? m + k == n : n + k == m) && !strncmp(longer, shorter, length) && !strcmp(longer + length, inner))
            return &r->site[i];
    }
    return NULL;
}

static ar_status read_stack(ar_peft_reader *r, const ar_peft_site *site, ar_error *err) {
    const ar_peft_site *other = other_level(r, site);
    bool embedding;
    ar_status s = other ? halves(&embedding, r, other, err) : AR_OK;
    const ar_tensor *a = site->part[AR_PEFT_A], *b = site->part[AR_PEFT_B];
    if (!s) s = check_shapes(r, site, a, b, err);
    if (!s && (a->dims != 2 || (other && (embedding || other->part[AR_PEFT_A]->dims != 2 || other->part[AR_PEFT_B]->dims != 2))))
        s = ar__fail(err, AR_ERR_FORMAT, "%s: site '%s': stacked experts with factors that are no matrices", r->place, site->path);
    if (s) return s;
    ar_peft_stack x = {.place = r->place, .path = site->path, .a = a, .b = b, .ranks = &r->ranks, .alphas = &r->alphas};
    x.other_a = other ? other->part[AR_PEFT_A] : NULL;
    x.other_b = other ? other->part[AR_PEFT_B] : NULL;
    return ar__peft_read_stack(r->ad, r->c, &x, err);
}

ar_status ar__peft_read_pair(ar_peft_reader *r, const ar_peft_site *site, ar_error *err) {
    const ar_adapter_settings *set = &r->ad->settings;
    bool embedding;
    double alpha = set->alpha;
    ar_pair *pair;
    ar_status s = halves(&embedding, r, site, err);
    if (s) return s;
    if (!embedding && ar__peft_is_stack(set, site->path)) return read_stack(r, site, err);
    const ar_tensor *a = site->part[embedding ? AR_PEFT_EMBEDDING_A : AR_PEFT_A],
                    *b = site->part[embedding ? AR_PEFT_EMBEDDING_B : AR_PEFT_B];
    if ((s = check_site(r, site, a, b, err)) || (s = find_pattern(&alpha, r, &r->alphas, site, err))) return s;
    ar_pair_shape shape = {.site = site->path, .n_in = columns(a), .n_out = b->shape[0], .rank = (int)a->shape[0], .alpha = alpha};
    if (a->dims == 4) memcpy(shape.kernel, &a->shape[2], sizeof shape.kernel);
    shape.policy = set->policy;
    shape.is_embedding = embedding;
    shape.dora = set->dora;
    shape.b_bias = set->lora_bias;
    if ((s = ar__adapter_add_stored(&pair, r->ad, &shape, err))) return s;
    pair->stored[AR_FACTOR_A] = ar__peft_stored(a);
    pair->stored[AR_FACTOR_B] = ar__peft_stored(b);
    if (pair->magnitude && (s = copy_values(pair->magnitude, r, site->part[AR_PEFT_MAGNITUDE], err))) return s;
    return pair->b_bias ? copy_values(pair->b_bias, r, site->part[AR_PEFT_B_BIAS], err) : AR_OK;
}
