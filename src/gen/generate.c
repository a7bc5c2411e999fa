/* Generation: prefill once, then one token at a time over the key/value cache; text comes out as soon as it is final. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "gen/sampler.h"
#include "gen/session.h"

typedef struct generation {
    ar_session *s;
    const ar_generate_options *o;
    ar_generate_result *r;
    ar_pass *prefill, *pass;
    ar_kv_cache *cache;
    float *logits;
    int32_t *targets; /* of the prompt: a mark on its last token, whose logits are wanted */
    uint8_t *seen;
    ar_candidate *room;
    size_t sent; /* bytes of text given to on_text */
    int limit;   /* tokens to make at most: asked for, and within the positions that the base was made for */
} generation;

void ar_generate_options_init(ar_generate_options *o) {
    *o = (ar_generate_options){.max_tokens = 128, .top_p = 1.0, .repeat_penalty = 1.0, .seed = 1};
}

void ar_generate_result_release(ar_generate_result *r) {
    ar_ids_release(&r->prompt_ids);
    ar_ids_release(&r->ids);
    free(r->text);
    *r = (ar_generate_result){0};
}

static ar_status check(const ar_session *s, const ar_generate_options *o, size_t prompt, ar_error *err) {
    if (o->max_tokens < 0) return ar__fail(err, AR_ERR_VALUE, "max-tokens: found %d, wanted 0 or more", o->max_tokens);
    if (!(o->temperature >= 0.0) || !isfinite(o->temperature))
        return ar__fail(err, AR_ERR_VALUE, "temperature: found %g, wanted 0 or more", o->temperature);
    if (!(o->top_p > 0.0 && o->top_p <= 1.0)) return ar__fail(err, AR_ERR_VALUE, "top-p: found %g, wanted above 0 and up to 1", o->top_p);
    if (!(o->min_p >= 0.0 && o->min_p <= 1.0)) return ar__fail(err, AR_ERR_VALUE, "min-p: found %g, wanted 0 to 1", o->min_p);
    if (o->top_k < 0) return ar__fail(err, AR_ERR_VALUE, "top-k: found %d, wanted 0 (off) or more", o->top_k);
    if (!(o->repeat_penalty > 0.0) || !isfinite(o->repeat_penalty))
        return ar__fail(err, AR_ERR_VALUE, "repeat-penalty: found %g, wanted above 0", o->repeat_penalty);
    for (int i = 0; i < o->stop_count; i++)
        if (!*o->stops[i]) return ar__fail(err, AR_ERR_VALUE, "stop: an empty string would stop at once");
    if (prompt == 0) return ar__fail(err, AR_ERR_VALUE, "prompt: no tokens, and the tokenizer adds no BOS; give at least a character");
    const ar_arch *a = &s->model->arch;
    if (a->rope.kind == AR_ROPE_DYNAMIC && (int64_t)(prompt + (size_t)o->max_tokens) > a->max_positions)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%zu tokens of prompt and %d more pass the original maximum of %lld under RoPE 'dynamic', whose frequencies change "
                        "with the length; use a base with yarn or linear, or --max-tokens",
                        prompt, o->max_tokens, (long long)a->max_positions);
    return AR_OK;
}

/* One batch of ids through the model; logits of the last. */
static void advance(generation *g, ar_pass *p, const int32_t *ids, size_t n) {
    size_t start[2] = {0, n}, last = n - 1;
    ar_segment seg = ar__session_segment(g->s, 1);
    ar_batch b = {.rows = {.count = n, .samples = 1, .start = start, .segments = &seg, .segment_count = 1, .decoding = true},
                  .ids = ids,
                  .targets = n > 1 ? g->targets : NULL};
    ar__pass_forward(p, &b, g->cache);
    ar__pass_logits(p, g->logits, &b, &last, 1);
}

/* Length of the longest tail of text that could still become a stop string or the rest of a character. */
static size_t held_back(const char *text, size_t n, const ar_generate_options *o) {
    size_t hold = 0;
    for (int i = 0; i < o->stop_count; i++) {
        size_t len = strlen(o->stops[i]);
        for (size_t k = len - 1; k > hold; k--)
            if (k <= n && !memcmp(text + n - k, o->stops[i], k)) hold = k;
    }
    size_t broken = n >= 3 && !memcmp(text + n - 3, "\xef\xbf\xbd", 3) ? 3 : 0; /* U+FFFD: perhaps half a character */
    while (broken && n >= broken + 3 && !memcmp(text + n - broken - 3, "\xef\xbf\xbd", 3)) broken += 3;
    return hold > broken ? hold : broken;
}

static size_t find_stop(const char *text, size_t n, const ar_generate_options *o) {
    size_t at = n;
    for (int i = 0; i < o->stop_count; i++) {
        const char *hit = strstr(text, o->stops[i]);
        if (hit && (size_t)(hit - text) < at) at = (size_t)(hit - text);
    }
    return at;
}

/* Decodes what there is, sends what is final.  *done: a stop string came, or the listener wants no more. */
static ar_status update_text(generation *g, bool last, bool *done, ar_error *err) {
    ar_generate_result *r = g->r;
    size_t n;
    free(r->text);
    r->text = NULL;
    ar_status s = ar_tokenizer_decode(&r->text, &n, g->s->tokenizer, r->ids.id, r->ids.count, true, err);
    if (s) return s;
    size_t stop = find_stop(r->text, n, g->o);
    if (stop < n) {
        r->text[stop] = '\0';
        r->stopped = AR_STOPPED_STOP;
        *done = last = true;
        n = stop;
    }
    size_t ready = last ? n : n - held_back(r->text, n, g->o);
    if (g->o->on_text && ready > g->sent) {
        if (!g->o->on_text(g->o->user, r->text + g->sent, ready - g->sent)) *done = true;
        g->sent = ready;
    }
    return AR_OK;
}

static bool is_eos(const ar_session *s, int32_t id) {
    for (int i = 0; i < s->eos_count; i++)
        if (s->eos[i] == id) return true;
    return false;
}

static bool append(ar_ids *ids, int32_t id) {
    int32_t *list = ar__grow(ids->id, &ids->cap, ids->count + 1, sizeof *list);
    if (!list) return false;
    ids->id = list;
    list[ids->count++] = id;
    return true;
}

static bool all_finite(const float *x, size_t n) {
    float sum = 0; /* NaN and infinity survive multiplication by 0 */
    for (size_t i = 0; i < n; i++) sum += x[i] * 0.0F;
    return sum == 0;
}

static ar_status decode_loop(generation *g, ar_error *err) {
    ar_generate_result *r = g->r;
    size_t vocab = (size_t)g->s->model->arch.vocab;
    bool done = false;
    ar_status s = AR_OK;
    r->stopped = AR_STOPPED_LENGTH;
    for (int i = 0; i < g->limit && !done && !s; i++) {
        if (!all_finite(g->logits, vocab))
            return ar__fail(err, AR_ERR_NUMERIC, "the logits of token %d are no numbers; is the base damaged, or alpha far too large?", i);
        int32_t id = ar__sample(g->logits, vocab, g->seen, g->room, g->o, (uint64_t)i);
        if (is_eos(g->s, id)) {
            r->stopped = AR_STOPPED_EOS;
            break;
        }
        if (!append(&r->ids, id)) return ar__fail_memory(err, "generate");
        g->seen[id] = 1;
        s = update_text(g, false, &done, err);
        if (!s && !done && i + 1 < g->limit) advance(g, g->pass, &id, 1);
    }
    bool ignored = false;
    return s ? s : update_text(g, true, &ignored, err);
}

static ar_status prepare(generation *g, ar_error *err) {
    ar_session *s = g->s;
    size_t n = g->r->prompt_ids.count, vocab = (size_t)s->model->arch.vocab, positions = (size_t)s->model->arch.max_positions;
    size_t left = positions > n ? positions - n : 0;
    g->limit = g->o->max_tokens;
    if (left && (size_t)g->limit > left) {
        g->limit = (int)left;
        ar__log_warn(&s->rt->log, "max-tokens: the base was made for %zu positions, so that %d tokens are left behind this prompt",
                     positions, g->limit);
    }
    size_t length = n + (size_t)g->limit;
    g->logits = ar__alloc(vocab, sizeof *g->logits);
    g->seen = ar__alloc(vocab, sizeof *g->seen);
    g->room = ar__alloc(vocab, sizeof *g->room);
    g->targets = ar__alloc(n, sizeof *g->targets);
    if (!g->logits || !g->seen || !g->room || !g->targets) return ar__fail_memory(err, "generate");
    ar_status st = ar__kv_new(&g->cache, s->model, length, err);
    if (!st) st = ar__session_pass(&g->prefill, s, n, 1, length, err);
    if (!st) st = ar__session_pass(&g->pass, s, 1, 1, length, err);
    for (size_t i = 0; i < n; i++) g->targets[i] = i + 1 < n ? -1 : 0;
    for (size_t i = 0; !st && i < n; i++) g->seen[g->r->prompt_ids.id[i]] = 1;
    return st;
}

ar_status ar_generate(ar_generate_result *result, ar_session *s, const char *prompt, const ar_generate_options *o, ar_error *err) {
    generation g = {.s = s, .o = o, .r = result};
    *result = (ar_generate_result){0};
    ar_status st = ar_session_need_tokenizer(s, err);
    if (!st) st = ar_tokenizer_encode(&result->prompt_ids, s->tokenizer, prompt, strlen(prompt), AR_TOKENIZE_SPECIAL, err);
    if (!st) st = check(s, o, result->prompt_ids.count, err);
    if (!st) st = ar__session_check_ids(s, result->prompt_ids.id, result->prompt_ids.count, err);
    if (!st) st = prepare(&g, err);
    if (!st) {
        advance(&g, g.prefill, result->prompt_ids.id, result->prompt_ids.count);
        ar__pass_free(g.prefill);
        g.prefill = NULL;
        st = decode_loop(&g, err);
    }
    ar__pass_free(g.prefill);
    ar__pass_free(g.pass);
    ar__kv_free(g.cache, s->model);
    free(g.logits);
    free(g.targets);
    free(g.seen);
    free(g.room);
    return st;
}
