/* Generation: a prompt goes through the model at once, then one token at a time over the key/value cache.
 *
 * Several prompts are answered together, so that the base's weights are read once for a token of each:
 *
 *     sequences of the cache   0: prompt 4   1: prompt 1   2: free   3: prompt 2     order  0 1 3 | 2
 *     a step                   one row of each at work -> logits -> one token each   active 3
 *
 * An answer that ends leaves its sequence to the next prompt.  No row's bits depend on its neighbours', so neither does a text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/proc.h"
#include "data/chat.h"
#include "data/parts.h"
#include "data/wrap.h"
#include "gen/answer.h"
#include "model/mirror.h"
#include "ops/device.h"

enum { MAX_TOGETHER = 16, PREFILL = 512 }; /* prompts at work; tokens of several prompts in one pass */

typedef struct generation {
    ar_session *s;
    ar_generate_options o;
    ar_generate_result *results;
    size_t count, begun, told; /* prompts: given, taken up, of which on_result was told */
    bool *ended;               /* [count] */
    bool stop;                 /* the listener wants no more */
    size_t together, active;
    size_t order[MAX_TOGETHER]; /* sequences: those at work, then the free ones */
    ar_answer answer[MAX_TOGETHER];
    size_t room_tokens; /* of the prefill */
    ar_pass *prefill, *pass;
    ar_kv_cache *cache;
    float *logits;          /* [together, vocab] */
    ar_candidate *room;     /* [2 * vocab] */
    int32_t *ids, *targets; /* [room_tokens] of a prefill; a mark on each prompt's last token, whose logits are wanted */
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

static ar_status check_options(const ar_generate_options *o, ar_error *err) {
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
    return AR_OK;
}

static ar_status check_prompt(const ar_session *s, const ar_generate_options *o, const ar_ids *prompt, ar_error *err) {
    const ar_arch *a = &s->model->arch;
    if (prompt->count == 0)
        return ar__fail(err, AR_ERR_VALUE, "prompt: no tokens, and the tokenizer adds no BOS; give at least a character");
    if (ar__rope_is_dynamic(a) && (int64_t)(prompt->count + (size_t)o->max_tokens) > a->max_positions)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "%zu tokens of prompt and %d more pass the original maximum of %lld under RoPE 'dynamic', whose frequencies change "
                        "with the length; use a base with yarn or linear, or --max-tokens",
                        prompt->count, o->max_tokens, (long long)a->max_positions);
    return ar__session_check_ids(s, prompt->id, prompt->count, err);
}

/* Says which prompt an error is about, where there are several. */
static ar_status about(const generation *g, size_t index, ar_status s, ar_error *err) {
    char place[40];
    if (!s || g->count == 1) return s;
    snprintf(place, sizeof place, "prompt %zu", index + 1);
    return ar__fail_at(err, s, place);
}

static const char *form_text(ar_data_kind kind) {
    if (kind == AR_DATA_MESSAGES) return "as what a user says, written by the chat template";
    return kind == AR_DATA_ALPACA ? "in Alpaca's text (instruction rows)" : "with a newline behind (question rows)";
}

/* Says what is done with prompts, where anything is or could be expected. */
static void tell_form(const generation *g, ar_data_kind kind, size_t wrapped) {
    const ar_trained *t = &g->s->trained;
    const ar_log *log = &g->s->rt->log;
    if (wrapped && !g->o.system) ar__log_info(log, "prompts are put as in training, %s; --raw sends them as they stand", form_text(kind));
    if (t->forms.count > 1)
        ar__log_warn(log, "the adapters were trained on rows of different forms (%s, %s): prompts go as they stand", t->forms.at[0],
                     t->forms.at[1]);
    if (t->map && strstr(t->map, "context="))
        ar__log_info(log, "training had a context before the prompt (--map %s): write it in front, an empty line behind it", t->map);
}

/* The prompt as it is sent: the caller's, or one in `made`. */
static const char *put_in_form(ar_buf *made, bool *wrapped, ar_data_kind kind, const char *prompt) {
    size_t n = strlen(prompt);
    *wrapped = (kind == AR_DATA_ANSWER || kind == AR_DATA_ALPACA) && !ar__is_wrapped(kind, prompt, n);
    if (!*wrapped) return prompt;
    ar__buf_clear(made);
    ar__wrap(made, kind, prompt, n, "", 0);
    return made->failed ? NULL : made->data;
}

static ar_status encode_one(generation *g, size_t i, const char *text, size_t *own_bos, ar_error *err) {
    ar_ids *ids = &g->results[i].prompt_ids;
    unsigned own;
    if (!text) return ar__fail_memory(err, "prompt");
    ar_status st = ar_tokenizer_encode_whole(ids, &own, g->s->tokenizer, text, strlen(text), err);
    *own_bos += own & AR_TOKENIZE_OWN_BOS;
    return st ? st : check_prompt(g->s, &g->o, ids, err);
}

/* Writes a conversation, up to the place where an answer begins, and encodes it. */
static ar_status encode_conversation(generation *g, size_t i, const ar_conversation *c, ar_error *err) {
    const ar_session *s = g->s;
    ar_ids *ids = &g->results[i].prompt_ids;
    ar_rendered r = {0};
    ar_buf learned = {0};
    if (!s->chat)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "the base has no chat template, and the adapter brings none: --template FILE or chatml names one");
    ar_status st = ar__chat_render(&r, s->chat, c, c->count, true, err);
    if (!st)
        st = ar__tokenizer_encode_marked(ids, &learned, s->tokenizer, r.text.len ? r.text.data : "", (const uint8_t *)r.marks.data,
                                         r.text.len, &ar__chat_choose(s->chat, c)->control, err);
    ar__rendered_release(&r);
    ar__buf_release(&learned);
    return st ? st : check_prompt(s, &g->o, ids, err);
}

/* The caller's system message goes in front of a conversation that has none of its own. */
static ar_status add_system(const generation *g, ar_conversation *c, ar_error *err) {
    bool own = ar__message_is_from(json_array_get(c->messages, 0), "system");
    if (!g->o.system || !*g->o.system || own) return AR_OK;
    json_t *m = json_pack("{s:s, s:s}", "role", "system", "content", g->o.system);
    if (!m || json_array_insert_new(c->messages, 0, m)) return ar__fail_memory(err, "conversation");
    c->count++;
    return AR_OK;
}

/* A list of messages, or a row of training data, whose last answer is what is asked for. */
static ar_status read_conversation(ar_parts *out, const char *text, ar_error *err) {
    ar_form form;
    ar_buf row = {0};
    bool list = text[strspn(text, " \t\r\n")] == '[';
    ar__buf_printf(&row, list ? "{\"messages\": %s}" : "%s", text);
    ar_status st = row.failed ? ar__fail_memory(err, "conversation") : ar__form_read(&form, NULL, NULL, err);
    if (!st) st = ar__parts_read_prompt(out, &(ar_line){.text = row.data, .size = row.len, .number = 1}, &form, err);
    if (!st && out->kind != AR_DATA_MESSAGES) {
        ar__parts_release(out);
        st = ar__fail(err, AR_ERR_FORMAT, "found a row of plain text, wanted messages");
    }
    if (!row.failed) ar__form_release(&form);
    ar__buf_release(&row);
    return st;
}

static ar_status encode_json(generation *g, size_t i, const char *text, ar_error *err) {
    ar_parts parts;
    ar_status st = read_conversation(&parts, text, err);
    if (st) return st;
    ar_conversation *c = &parts.conversation;
    while (c->count && ar__message_is_from(json_array_get(c->messages, c->count - 1), "assistant"))
        json_array_remove(c->messages, --c->count);
    st = c->count ? add_system(g, c, err) : ar__fail(err, AR_ERR_VALUE, "found nothing that an assistant could answer");
    if (!st) st = encode_conversation(g, i, c, err);
    ar__parts_release(&parts);
    return st;
}

/* What a user says, behind a system message where there is one. */
static ar_status encode_said(generation *g, size_t i, const char *text, ar_error *err) {
    ar_conversation c = {0};
    const char *system = g->o.system && *g->o.system ? g->o.system : NULL;
    json_t *list = system ? json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "system", "content", system, "role", "user", "content", text)
                          : json_pack("[{s:s, s:s}]", "role", "user", "content", text);
    ar_status st = list ? ar__conversation_from(&c, list, NULL, err) : ar__fail(err, AR_ERR_VALUE, "the prompt is not UTF-8");
    if (!st) st = encode_conversation(g, i, &c, err);
    ar__conversation_release(&c);
    json_decref(list);
    return st;
}

/* Whether prompt i is written as a turn of a conversation. */
static bool is_turn(const generation *g, size_t i) {
    bool given = g->o.conversations && g->o.conversations[i];
    return given || g->o.system || (!g->o.raw && ar__trained_kind(&g->s->trained) == AR_DATA_MESSAGES);
}

static ar_status encode(generation *g, const char *const *prompts, ar_error *err) {
    ar_status st = ar_session_need_tokenizer(g->s, err);
    ar_data_kind kind = g->o.raw ? AR_DATA_KINDS : ar__trained_kind(&g->s->trained);
    ar_buf made = {0};
    size_t own_bos = 0, count = 0;
    if (!st) st = check_options(&g->o, err);
    for (size_t i = 0; !st && i < g->count; i++) {
        bool wrapped = is_turn(g, i);
        if (g->o.conversations && g->o.conversations[i]) {
            st = about(g, i, encode_json(g, i, prompts[i], err), err);
            continue;
        }
        if (wrapped) {
            st = about(g, i, encode_said(g, i, prompts[i], err), err);
        } else {
            const char *text = put_in_form(&made, &wrapped, kind, prompts[i]);
            st = about(g, i, encode_one(g, i, text, &own_bos, err), err);
        }
        count += wrapped;
    }
    ar__buf_release(&made);
    if (!st && !g->o.raw) tell_form(g, kind, count);
    if (!st && own_bos)
        ar__log_info(&g->s->rt->log, "%zu of %zu prompt%s with the tokenizer's BOS; no second one is added", own_bos, g->count,
                     g->count == 1 ? " begins" : "s begin");
    return st;
}

/* `fewer` prompts leave no positions for all the tokens asked for, one of them but `least`. */
static void warn_limit(const generation *g, size_t fewer, int least) {
    size_t positions = (size_t)g->s->model->arch.max_positions;
    if (g->count == 1)
        ar__log_warn(&g->s->rt->log, "max-tokens: the base was made for %zu positions, so that %d tokens are left behind this prompt",
                     positions, least);
    else
        ar__log_warn(&g->s->rt->log,
                     "max-tokens: the base was made for %zu positions, so that fewer are left behind %zu prompt%s, %d at least", positions,
                     fewer, fewer == 1 ? "" : "s", least);
}

/* Bytes that a cache may be of; negative: not known. */
static int64_t memory_left(const ar_runtime *rt) {
    if (rt->ops->memory->is_host) return ar__memory_available();
    ar_device_info info = ar__device_info(rt);
    return info.memory_bytes ? (int64_t)info.free_bytes : -1;
}

/* As many sequences as have room in half of the memory that there is; what they say does not depend on it. */
static size_t choose_together(const generation *g, size_t length) {
    int64_t available = memory_left(g->s->rt);
    size_t most = g->count < MAX_TOGETHER ? g->count : MAX_TOGETHER, bytes = ar__kv_bytes(g->s->model, length);
    if (available < 0) return most;
    size_t fit = (size_t)available / 2 / bytes;
    return fit < 1 ? 1 : fit < most ? fit : most;
}

static ar_status prepare(generation *g, ar_error *err) {
    ar_session *s = g->s;
    size_t vocab = (size_t)s->model->arch.vocab, longest = 0, length = 0, sum = 0, fewer = 0;
    int least = g->o.max_tokens;
    ar_status mirrored = ar__model_mirror(s->model, err);
    if (mirrored) return mirrored;
    for (size_t i = 0; i < g->count; i++) {
        size_t n = g->results[i].prompt_ids.count;
        int limit = ar__answer_limit(s, &g->o, n);
        ar_status st = ar__session_check_length(s, n, err);
        if (st) return st;
        size_t whole = n + (size_t)limit;
        if (limit < g->o.max_tokens) fewer++;
        if (limit < least) least = limit;
        if (n > longest) longest = n;
        if (whole > length) length = whole;
        if (sum < PREFILL) sum += n;
    }
    if (fewer && !g->o.may_be_fewer) warn_limit(g, fewer, least);
    g->room_tokens = longest > PREFILL ? longest : sum < PREFILL ? sum : PREFILL;
    g->together = choose_together(g, length);
    for (size_t i = 0; i < g->together; i++) g->order[i] = i;
    size_t logits;
    g->logits = ar__mul(&logits, g->together, vocab) ? ar__alloc(logits, sizeof *g->logits) : NULL;
    g->room = ar__alloc(2 * vocab, sizeof *g->room);
    g->ids = ar__alloc(g->room_tokens, sizeof *g->ids);
    g->targets = ar__alloc(g->room_tokens, sizeof *g->targets);
    g->ended = ar__alloc(g->count, sizeof *g->ended);
    if (!g->logits || !g->room || !g->ids || !g->targets || !g->ended) return ar__fail_memory(err, "generate");
    ar_status st = ar__kv_new(&g->cache, s->model, g->together, length, err);
    if (!st) st = ar__session_pass(&g->prefill, s, g->room_tokens, g->together, length, 0, err);
    if (!st) st = ar__session_pass(&g->pass, s, g->together, g->together, length, 0, err);
    return st;
}

/* The samples through the model, each behind what its sequence holds; logits of the last row of each. */
static ar_status advance(generation *g, ar_pass *p, const size_t *start, size_t samples, const size_t *sequence, ar_error *err) {
    size_t last[MAX_TOGETHER];
    ar_segment seg = ar__session_segment(g->s, samples);
    if (g->o.base_alone) seg.pairs = NULL;
    ar_batch b = {
        .rows = {.count = start[samples], .samples = samples, .start = start, .segments = &seg, .segment_count = 1, .decoding = true},
        .ids = g->ids,
        .targets = start[samples] > samples ? g->targets : NULL,
        .sequence = sequence};
    for (size_t i = 0; i < samples; i++) last[i] = start[i + 1] - 1;
    ar__pass_forward(p, &b, g->cache);
    ar__pass_logits(p, g->logits, &b, last, samples);
    return g->s->rt->ops->memory->settle(g->s->rt, err);
}

static void tell(generation *g) {
    while (!g->stop && g->told < g->count && g->ended[g->told]) {
        if (g->o.on_result && !g->o.on_result(g->o.user, (int)g->told, &g->results[g->told])) g->stop = true;
        g->told++;
    }
}

/* The answer in order[at] is complete: its sequence becomes the first of the free ones. */
static ar_status end(generation *g, size_t at, ar_error *err) {
    size_t sequence = g->order[at];
    ar_answer *a = &g->answer[sequence];
    ar_status st = ar__answer_end(a, err);
    if (st) return st;
    ar__answer_release(a);
    g->order[at] = g->order[--g->active];
    g->order[g->active] = sequence;
    g->ended[a->index] = true;
    tell(g);
    return AR_OK;
}

/* One token for each of order[first, first + n), whose logits there are.  Backwards: end() moves only what was seen to. */
static ar_status draw(generation *g, size_t first, size_t n, ar_error *err) {
    size_t vocab = (size_t)g->s->model->arch.vocab;
    ar_status st = AR_OK;
    for (size_t i = n; !st && i-- > 0;) {
        ar_answer *a = &g->answer[g->order[first + i]];
        size_t index = a->index;
        if (!a->done) st = ar__answer_draw(a, g->logits + i * vocab, g->room, err);
        if (!st && a->done) st = end(g, first + i, err);
        st = about(g, index, st, err);
    }
    return st;
}

/* A prompt of one token shares no pass with longer ones: it takes the path of decoding, whose rounding is another. */
static bool fits(const generation *g, const size_t *start, size_t samples) {
    if (g->active == g->together || g->begun == g->count) return false;
    size_t n = g->results[g->begun].prompt_ids.count;
    return samples == 0 || ((n == 1) == (start[1] == 1) && n <= g->room_tokens - start[samples]);
}

static ar_status begin_next(generation *g, size_t at, ar_error *err) {
    size_t sequence = g->order[g->active++], index = g->begun++;
    const ar_ids *prompt = &g->results[index].prompt_ids;
    memcpy(g->ids + at, prompt->id, prompt->count * sizeof *g->ids);
    for (size_t i = 0; i < prompt->count; i++) g->targets[at + i] = i + 1 < prompt->count ? -1 : 0;
    g->cache->past[sequence] = 0;
    g->cache->reach[sequence] = prompt->count + (size_t)g->o.max_tokens;
    return ar__answer_begin(&g->answer[sequence], g->s, &g->o, index, is_turn(g, index), &g->results[index], err);
}

/* Prompts that wait, onto free sequences. */
static ar_status take_up(generation *g, ar_error *err) {
    size_t start[MAX_TOGETHER + 1] = {0}, samples = 0, first = g->active;
    ar_status st = AR_OK;
    for (; !st && fits(g, start, samples); samples++) {
        start[samples + 1] = start[samples] + g->results[g->begun].prompt_ids.count;
        st = begin_next(g, start[samples], err);
    }
    if (st) return st;
    st = advance(g, g->prefill, start, samples, g->order + first, err);
    if (g->begun == g->count) {
        ar__pass_free(g->prefill);
        g->prefill = NULL;
    }
    return st ? st : draw(g, first, samples, err);
}

static ar_status step(generation *g, ar_error *err) {
    size_t start[MAX_TOGETHER + 1];
    for (size_t i = 0; i <= g->active; i++) start[i] = i;
    for (size_t i = 0; i < g->active; i++) {
        const ar_ids *ids = &g->answer[g->order[i]].r->ids;
        g->ids[i] = ids->id[ids->count - 1];
    }
    ar_status st = advance(g, g->pass, start, g->active, g->order, err);
    return st ? st : draw(g, 0, g->active, err);
}

static ar_status run(generation *g, ar_error *err) {
    ar_status st = AR_OK;
    while (!st && !g->stop && g->told < g->count) st = g->active < g->together && g->begun < g->count ? take_up(g, err) : step(g, err);
    return st;
}

ar_status ar_generate_batch(ar_generate_result *results, ar_session *s, const char *const *prompts, int count, const ar_generate_options *o,
                            ar_error *err) {
    if (count < 0) return ar__fail(err, AR_ERR_VALUE, "prompts: found %d, wanted 0 or more", count);
    generation g = {.s = s, .o = *o, .results = results, .count = (size_t)count};
    if (count > 1) g.o.on_text = NULL;
    for (int i = 0; i < count; i++) results[i] = (ar_generate_result){0};
    AR_ONE_CALL(s->rt, err);
    ar_status st = encode(&g, prompts, err);
    if (!st && count) st = prepare(&g, err);
    if (!st) st = run(&g, err);
    for (size_t i = 0; i < MAX_TOGETHER; i++) ar__answer_release(&g.answer[i]);
    ar__pass_free(g.prefill);
    ar__pass_free(g.pass);
    ar__kv_free(g.cache, s->model);
    free(g.logits);
    free(g.room);
    free(g.ids);
    free(g.targets);
    free(g.ended);
    return st;
}

ar_status ar_generate(ar_generate_result *result, ar_session *s, const char *prompt, const ar_generate_options *o, ar_error *err) {
    return ar_generate_batch(result, s, &prompt, 1, o, err);
}
