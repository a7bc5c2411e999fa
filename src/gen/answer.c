#include "gen/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

int ar__answer_limit(const ar_session *s, const ar_generate_options *o, size_t prompt) {
    size_t positions = (size_t)s->model->arch.max_positions, left = positions > prompt ? positions - prompt : 0;
    return left && (size_t)o->max_tokens > left ? (int)left : o->max_tokens;
}

ar_status ar__answer_begin(ar_answer *out, const ar_session *s, const ar_generate_options *o, size_t index, bool turn,
                           ar_generate_result *r, ar_error *err) {
    *out = (ar_answer){.s = s, .o = *o, .r = r, .index = index, .turn = turn, .limit = ar__answer_limit(s, o, r->prompt_ids.count)};
    out->o.seed += index;
    out->done = out->limit == 0;
    r->stopped = AR_STOPPED_LENGTH;
    out->seen = ar__alloc((size_t)s->model->arch.vocab, sizeof *out->seen);
    if (!out->seen) return ar__fail_memory(err, "generate");
    for (size_t i = 0; i < r->prompt_ids.count; i++) out->seen[r->prompt_ids.id[i]] = 1;
    return AR_OK;
}

void ar__answer_release(ar_answer *a) {
    free(a->seen);
    a->seen = NULL;
}

/* The i-th text that ends an answer: the caller's, then what the template writes behind a turn.  NULL: no more. */
static const char *stop_at(const ar_answer *a, int i) {
    if (i < a->o.stop_count) return a->o.stops[i];
    return i == a->o.stop_count && a->turn ? a->s->turn_end : NULL;
}

/* Length of the longest tail of text that could still become a stop string or the rest of a character. */
static size_t held_back(const char *text, size_t n, const ar_answer *a) {
    const char *stop;
    size_t hold = 0;
    for (int i = 0; (stop = stop_at(a, i)); i++)
        for (size_t k = strlen(stop) - 1; k > hold; k--)
            if (k <= n && !memcmp(text + n - k, stop, k)) hold = k;
    size_t broken = n >= 3 && !memcmp(text + n - 3, "\xef\xbf\xbd", 3) ? 3 : 0; /* U+FFFD: perhaps half a character */
    while (broken && n >= broken + 3 && !memcmp(text + n - broken - 3, "\xef\xbf\xbd", 3)) broken += 3;
    return hold > broken ? hold : broken;
}

static size_t find_stop(const char *text, size_t n, const ar_answer *a) {
    const char *stop;
    size_t at = n;
    for (int i = 0; (stop = stop_at(a, i)); i++) {
        const char *hit = strstr(text, stop);
        if (hit && (size_t)(hit - text) < at) at = (size_t)(hit - text);
    }
    return at;
}

/* Decodes what there is, sends what is final.  A stop string, or a listener that wants no more, ends the answer. */
static ar_status update_text(ar_answer *a, bool last, ar_error *err) {
    ar_generate_result *r = a->r;
    size_t n;
    free(r->text);
    r->text = NULL;
    ar_status s = ar_tokenizer_decode(&r->text, &n, a->s->tokenizer, r->ids.id, r->ids.count, true, err);
    if (s) return s;
    size_t stop = find_stop(r->text, n, a);
    if (stop < n) {
        r->text[stop] = '\0';
        r->stopped = AR_STOPPED_STOP;
        a->done = last = true;
        n = stop;
    }
    size_t ready = last ? n : n - held_back(r->text, n, a);
    if (a->o.on_text && ready > a->sent && !a->refused) {
        a->refused = !a->o.on_text(a->o.user, r->text + a->sent, ready - a->sent);
        a->done |= a->refused;
        a->sent = ready;
    }
    return AR_OK;
}

ar_status ar__answer_end(ar_answer *a, ar_error *err) { return update_text(a, true, err); }

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

ar_status ar__answer_draw(ar_answer *a, float *logits, ar_candidate *room, ar_error *err) {
    ar_ids *ids = &a->r->ids;
    size_t vocab = (size_t)a->s->model->arch.vocab;
    if (!all_finite(logits, vocab))
        return ar__fail(err, AR_ERR_NUMERIC, "the logits of token %zu are no numbers; is the base damaged, or alpha far too large?",
                        ids->count);
    int32_t id = ar__sample(logits, vocab, a->seen, room, &a->o, ids->count);
    if (is_eos(a->s, id) || (a->turn && id == a->s->turn_end_id)) {
        a->r->stopped = AR_STOPPED_EOS;
        a->done = true;
        return AR_OK;
    }
    if (!append(ids, id)) return ar__fail_memory(err, "generate");
    a->seen[id] = 1;
    a->done = ids->count == (size_t)a->limit;
    return a->o.on_text || stop_at(a, 0) ? update_text(a, false, err) : AR_OK; /* else once, at the end */
}
