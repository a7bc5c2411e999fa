/* How config.json spells rotary embeddings: rope_theta beside rope_scaling (transformers 4), or both in rope_parameters
 * (version 5).  Where a file has them mixed, version 5's rules count, and what version 4 would have done otherwise is
 * told once:
 *
 *   block         rope_scaling where it is there and not empty, else rope_parameters: never both
 *   theta         the block's, else rope_theta, else the family's
 *
 * Families whose layers with a window turn otherwise have a block a kind of layer in rope_parameters; rope_theta and rope_scaling
 * are those of layers without a window.
 *
 *   original      original_max_position_embeddings of config.json before the block's (llama3, yarn), else max_position_embeddings */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "arch/config_fields.h"
#include "base/fail.h"
#include "base/mem.h"
#include "format/json.h"

typedef struct reader {
    const ar_rope_source *source;
    const json_t *config;
    int64_t max_positions;
    const char *place;
    const ar_log *log;
    ar_error *err;
} reader;

static const char *const kinds[] = {"default", "linear", "dynamic", "llama3", "yarn", "longrope", "proportional"};

static ar_status read_kind(ar_rope_config *rope, const json_t *o, const reader *r) {
    const char *type = "default";
    ar_status s = ar__json_get_string(&type, o, "type", r->place, r->err);
    if (!s) s = ar__json_get_string(&type, o, "rope_type", r->place, r->err);
    if (s) return s;
    bool alone = r->source->long_alone;
    if (alone && (!strcmp(type, "su") || !strcmp(type, "yarn"))) type = "longrope";
    for (int i = 0; i <= (int)AR_ROPE_PROPORTIONAL; i++)
        if (!strcmp(type, kinds[i])) {
            rope->kind = (ar_rope_kind)i;
            if (alone && i != AR_ROPE_DEFAULT && i != AR_ROPE_LONG) break;
            return AR_OK;
        }
    return ar__fail(r->err, AR_ERR_UNSUPPORTED, "%s: rope type '%s', wanted %s", r->place, type,
                    alone ? "default or longrope" : "default, linear, dynamic, llama3, yarn, longrope or proportional");
}

static ar_status check(const ar_rope_config *p, const char *place, ar_error *err) {
    if (!(p->theta > 1.0) || !isfinite(p->theta))
        return ar__fail(err, AR_ERR_VALUE, "%s: rope_theta is %g, wanted more than 1", place, p->theta);
    if (p->kind == AR_ROPE_DEFAULT) return AR_OK;
    if (p->kind == AR_ROPE_LONG && p->original_max <= 1.0)
        return ar__fail(err, AR_ERR_VALUE, "%s: original_max_position_embeddings is %g, wanted more than 1", place, p->original_max);
    if (!(p->factor > 0.0) || !isfinite(p->factor))
        return ar__fail(err, AR_ERR_VALUE, "%s: rope factor is %g, wanted more than 0", place, p->factor);
    if (p->kind == AR_ROPE_LLAMA3 && !(p->low_freq > 0.0 && p->high_freq > p->low_freq))
        return ar__fail(err, AR_ERR_VALUE, "%s: low_freq_factor %g and high_freq_factor %g, wanted 0 < low < high", place, p->low_freq,
                        p->high_freq);
    return AR_OK;
}

static ar_status need_keys(const json_t *o, ar_rope_kind kind, const char *place, ar_error *err) {
    bool derived = kind == AR_ROPE_YARN || kind == AR_ROPE_LONG || kind == AR_ROPE_PROPORTIONAL;
    ar_status s = kind == AR_ROPE_DEFAULT || derived ? AR_OK : ar__json_need(o, "factor", place, err);
    if (!s && kind == AR_ROPE_LONG) s = ar__json_need(o, "short_factor", place, err);
    if (!s && kind == AR_ROPE_LONG) s = ar__json_need(o, "long_factor", place, err);
    if (!s && kind == AR_ROPE_LLAMA3) s = ar__json_need(o, "low_freq_factor", place, err);
    if (!s && kind == AR_ROPE_LLAMA3) s = ar__json_need(o, "high_freq_factor", place, err);
    return s;
}

/* The numbers that this kind reads; the block's others would be in nobody's way, but have been told by name. */
static ar_status read_numbers(ar_rope_config *p, const json_t *o, const reader *r) {
    const struct {
        const char *key;
        double *to;
    } numbers[] = {
        {"rope_theta", &p->theta},
        {"factor", &p->factor},
        {"low_freq_factor", &p->low_freq},
        {"high_freq_factor", &p->high_freq},
        {"original_max_position_embeddings", &p->original_max},
        {"beta_fast", &p->beta_fast},
        {"beta_slow", &p->beta_slow},
        {"attention_factor", &p->attention_factor},
        {"mscale", &p->mscale},
        {"mscale_all_dim", &p->mscale_all_dim},
        {"llama_4_scaling_beta", &p->query_beta},
        {"partial_rotary_factor", &p->partial},
        {"alpha", &p->alpha},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        ar_status s = ar__json_get_double(numbers[i].to, o, numbers[i].key, r->place, r->err);
        if (s) return s;
    }
    if (p->beta_fast == 0.0) p->beta_fast = 32.0; /* 0 counts as absent */
    if (p->beta_slow == 0.0) p->beta_slow = 1.0;
    return ar__json_get_bool(&p->truncate, o, "truncate", r->place, r->err);
}

/* A list of longrope's, all above 0. */
static ar_status read_factors(double **out, size_t *count, const json_t *o, const char *key, const reader *r) {
    const json_t *list = json_object_get(o, key);
    size_t n = json_array_size(list);
    *out = ar__alloc(n ? n : 1, sizeof **out);
    if (!*out) return ar__fail_memory(r->err, "rope factors");
    if (*count && n != *count)
        return ar__fail(r->err, AR_ERR_MISMATCH, "%s: %s holds %zu numbers, short_factor %zu", r->place, key, n, *count);
    *count = n;
    for (size_t i = 0; i < n; i++)
        if (!ar__json_as_double(&(*out)[i], json_array_get(list, i)) || !((*out)[i] > 0.0))
            return ar__fail(r->err, AR_ERR_VALUE, "%s: %s[%zu] is no number above 0", r->place, key, i);
    return AR_OK;
}

void ar__rope_release(ar_rope_config *p) {
    free(p->short_factor);
    free(p->long_factor);
    p->short_factor = p->long_factor = NULL;
}

static ar_status read_block(ar_rope_config *p, const json_t *o, const reader *r) {
    ar_status s;
    *p = (ar_rope_config){.theta = r->source->theta, .low_freq = 1, .high_freq = 4, .beta_fast = 32, .beta_slow = 1, .truncate = true};
    p->original_max = (double)r->max_positions;
    if (!r->source->own_theta && (s = ar__json_get_double(&p->theta, r->config, "rope_theta", r->place, r->err))) return s;
    if ((s = read_kind(p, o, r)) || (s = ar__rope_fields_check(o, p->kind, kinds[p->kind], r->place, r->log, r->err)) ||
        (s = need_keys(o, p->kind, r->place, r->err)) || (s = read_numbers(p, o, r)))
        return s;
    if (r->source->original > 0.0) p->original_max = r->source->original;
    if ((s = ar__json_get_double(&p->original_max, r->config, "original_max_position_embeddings", r->place, r->err))) return s;
    if (p->kind == AR_ROPE_LONG && ((s = read_factors(&p->short_factor, &p->factors, o, "short_factor", r)) ||
                                    (s = read_factors(&p->long_factor, &p->factors, o, "long_factor", r))))
        return s;
    bool derived = p->kind == AR_ROPE_YARN || p->kind == AR_ROPE_LONG;
    if (p->kind == AR_ROPE_PROPORTIONAL && !ar__json_has(o, "factor")) p->factor = 1.0;
    if (p->kind == AR_ROPE_PROPORTIONAL && !ar__json_has(o, "partial_rotary_factor")) p->partial = 1.0;
    if (derived && !ar__json_has(o, "factor")) p->factor = (double)r->max_positions / p->original_max;
    return check(p, r->place, r->err);
}

/* Do two records rotate alike? */
static bool alike(const ar_rope_config *a, const ar_rope_config *b) {
    size_t bytes = a->factors * sizeof *a->short_factor;
    if (a->factors != b->factors ||
        (bytes && (memcmp(a->short_factor, b->short_factor, bytes) || memcmp(a->long_factor, b->long_factor, bytes))))
        return false;
    bool scaled = a->kind != AR_ROPE_DEFAULT, llama3 = a->kind == AR_ROPE_LLAMA3, yarn = a->kind == AR_ROPE_YARN;
    if (a->kind != b->kind || a->theta != b->theta || a->partial != b->partial || a->alpha != b->alpha ||
        (scaled && a->factor != b->factor))
        return false;
    if ((llama3 || yarn || bytes) && a->original_max != b->original_max) return false;
    if (llama3) return a->low_freq == b->low_freq && a->high_freq == b->high_freq;
    return !yarn || (a->beta_fast == b->beta_fast && a->beta_slow == b->beta_slow && a->attention_factor == b->attention_factor &&
                     a->mscale == b->mscale && a->mscale_all_dim == b->mscale_all_dim && a->truncate == b->truncate);
}

/* transformers 5 puts the block behind a rope_type of its own, "default", where a family has two: what "type" says is lost there. */
static ar_status check_type(const json_t *scaling, const reader *r) {
    if (!r->source->layers || !ar__json_has(scaling, "type") || ar__json_has(scaling, "rope_type")) return AR_OK;
    return ar__fail(
        r->err, AR_ERR_UNSUPPORTED,
        "%s: rope_scaling names its kind 'type': this family's code wants rope_type (transformers 5 does not scale then); write that",
        r->place);
}

static void tell_differences(const ar_rope_config *p, const json_t *block, const json_t *other, const reader *r) {
    double theta = 0.0, top = 0.0, inside = 0.0;
    ar_rope_config unused = {0};
    reader quiet = *r;
    quiet.log = NULL;
    quiet.err = NULL;
    if (other && (read_block(&unused, other, &quiet) || !alike(p, &unused)))
        ar__log_warn(
            r->log,
            "%s: rope_scaling stands beside rope_parameters, which says otherwise: as in transformers 5 rope_scaling alone counts, "
            "with rope_theta %g%s",
            r->place, p->theta, ar__json_has(block, "rope_theta") || ar__json_has(r->config, "rope_theta") ? "" : " because it names none");
    ar__rope_release(&unused);
    if (!r->source->own_theta && ar__json_has(block, "rope_theta") &&
        ar__json_as_double(&theta, json_object_get(r->config, "rope_theta")) && theta != p->theta)
        ar__log_warn(r->log,
                     "%s: rope_theta is %g, and %g inside the block of rope parameters, which counts (transformers 4 takes the first)",
                     r->place, theta, p->theta);
    bool reads = p->kind == AR_ROPE_LLAMA3 || p->kind == AR_ROPE_YARN;
    if (reads && ar__json_as_double(&top, json_object_get(r->config, "original_max_position_embeddings")) &&
        ar__json_as_double(&inside, json_object_get(block, "original_max_position_embeddings")) && top != inside)
        ar__log_warn(r->log,
                     "%s: original_max_position_embeddings is %g, which counts, and %g inside the block of rope parameters (transformers 4 "
                     "takes the second)",
                     r->place, top, inside);
}

/* The block of these layers in rope_parameters. */
static ar_status find_parameters(const json_t **out, const reader *r) {
    const json_t *all = json_object_get(r->config, "rope_parameters");
    const char *key;
    json_t *value;
    *out = ar__json_is_off(all) ? NULL : all;
    if (!*out || !r->source->layers) return AR_OK;
    json_object_foreach((json_t *)(uintptr_t)all, key, value) {
        bool known = !strcmp(key, "full_attention") || !strcmp(key, "sliding_attention");
        if (!known && !ar__json_is_off(value))
            return ar__fail(r->err, AR_ERR_UNSUPPORTED,
                            "%s: rope_parameters holds '%s', wanted a block for full_attention and one for sliding_attention", r->place,
                            key);
    }
    const json_t *block = json_object_get(all, r->source->layers);
    if (block && !ar__json_is_off(block) && !json_is_object(block))
        return ar__fail(r->err, AR_ERR_FORMAT, "%s: '%s' of rope_parameters is %s, wanted an object", r->place, r->source->layers,
                        ar__json_type(block));
    *out = ar__json_is_off(block) ? NULL : block;
    return AR_OK;
}

ar_status ar__rope_read(ar_rope_config *out, const ar_rope_source *source, const json_t *config, int64_t max_positions, const char *place,
                        const ar_log *log, ar_error *err) {
    reader r = {source, config, max_positions, place, log, err};
    const json_t *scaling = source->unscaled ? NULL : json_object_get(config, "rope_scaling"), *parameters;
    ar_status s = find_parameters(&parameters, &r);
    if (s) return s;
    if (ar__json_is_off(scaling)) scaling = NULL;
    const json_t *block = scaling ? scaling : parameters;
    if (scaling && (s = check_type(scaling, &r))) return s;
    s = read_block(out, block, &r);
    if (!s) tell_differences(out, block, scaling ? parameters : NULL, &r);
    return s;
}
