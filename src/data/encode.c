#include "data/encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "text/whole.h"

static ar_status append_eos(ar_ids *ids, int32_t eos, ar_error *err) {
    if (eos < 0 || (ids->count && ids->id[ids->count - 1] == eos)) return AR_OK;
    if (ids->count == ids->cap) {
        int32_t *grown = ar__grow(ids->id, &ids->cap, ids->count + 1, sizeof *grown);
        if (!grown) return ar__fail_memory(err, "sample");
        ids->id = grown;
    }
    ids->id[ids->count++] = eos;
    return AR_OK;
}

static ar_status encode_plain(ar_encoded *out, const ar_parts *p, const ar_encoding *how, ar_error *err) {
    const ar_text_span *first = &p->span[0];
    out->odd.empty = !p->span[p->count - 1].size;
    unsigned own;
    ar_status s = ar_tokenizer_encode_whole(&out->ids, &own, how->tk, first->text, first->size, err);
    if (s) return s;
    out->own_bos = own & AR_TOKENIZE_OWN_BOS;
    bool all = first->learned || how->train_on == AR_TRAIN_ON_ALL;
    out->first_target = all || !out->ids.count ? 1 : out->ids.count;
    for (int i = 1; !s && i < p->count; i++) s = ar__tokenizer_encode_rest(&out->ids, how->tk, p->span[i].text, p->span[i].size, err);
    return s ? s : append_eos(&out->ids, how->eos, err);
}

/* The first token has nothing before it. */
static void find_first_target(ar_encoded *out) {
    if (out->marks.len) out->marks.data[0] = 0;
    out->first_target = 0;
    while (out->first_target < out->ids.count && !out->marks.data[out->first_target]) out->first_target++;
    out->marked = true;
}

/* A template fails on what it does not find. */
static ar_status explain(const ar_conversation *c, ar_error *err) {
    size_t silent = ar__odd_silent(c), n = err ? strlen(err->message) : 0;
    if (err && silent) snprintf(err->message + n, sizeof err->message - n, "; message %zu has no content", silent);
    return AR_ERR_VALUE;
}

static ar_status encode_conversation(ar_encoded *out, const ar_conversation *c, const ar_encoding *how, ar_error *err) {
    ar_supervised told;
    if (!how->chat)
        return ar__fail(err, AR_ERR_UNSUPPORTED,
                        "found a conversation, and the base has no chat template: --template FILE or chatml names one");
    ar_status s = ar__supervise(&told, &out->whole, &out->part, how->chat, how->frames, c, how->train_on, err);
    if (s) return s == AR_ERR_VALUE ? explain(c, err) : s;
    ar__odd_find(&out->odd, c, &out->whole);
    const ar_control *control = &ar__chat_choose(how->chat, c)->control;
    const char *text = out->whole.text.len ? out->whole.text.data : "";
    out->rewritten = told.rewritten;
    s = ar__tokenizer_encode_marked(&out->ids, &out->marks, how->tk, text, (const uint8_t *)out->whole.marks.data, out->whole.text.len,
                                    control, err);
    if (!s) find_first_target(out);
    return s;
}

ar_status ar__encode_parts(ar_encoded *out, const ar_parts *p, const ar_encoding *how, ar_error *err) {
    out->kind = p->kind;
    out->mapped = p->mapped;
    out->marked = out->own_bos = false;
    out->half = AR_HALF_NONE;
    out->ids.count = out->rewritten = 0;
    out->odd = (ar_odd){0};
    ar__buf_clear(&out->marks);
    ar__buf_clear(&out->whole.text);
    if (p->kind == AR_DATA_MESSAGES) return encode_conversation(out, &p->conversation, how, err);
    for (int i = 0; how->keep_text && i < p->count; i++) ar__buf_add(&out->whole.text, p->span[i].text, p->span[i].size);
    return encode_plain(out, p, how, err);
}

/* Both samples of a comparison: the prompt with each completion. */
static ar_status encode_both(ar_encoded *chosen, ar_encoded *rejected, ar_parts *p, const ar_encoding *how, ar_error *err) {
    ar_status s = ar__encode_parts(chosen, p, how, err);
    ar_parts other = *p;
    other.conversation = p->rejected_conversation;
    if (p->count) other.span[p->count - 1] = p->rejected;
    if (!s) s = ar__encode_parts(rejected, &other, how, err);
    chosen->half = AR_HALF_CHOSEN;
    rejected->half = AR_HALF_REJECTED;
    return s;
}

ar_status ar__encode(ar_encoded *out, ar_encoded *rejected, const ar_line *line, const ar_encoding *how, ar_error *err) {
    ar_parts parts;
    ar_status s = ar__parts_read(&parts, line, how->form, err);
    if (s) return s;
    s = parts.pair ? encode_both(out, rejected, &parts, how, err) : ar__encode_parts(out, &parts, how, err);
    ar__parts_release(&parts);
    return s;
}

static ar_status copy_ids(ar_encoded *out, const ar_memory_sample *m, ar_error *err) {
    int32_t *ids = ar__grow(out->ids.id, &out->ids.cap, m->count, sizeof *ids);
    if (ids) out->ids.id = ids;
    if (!ids) return ar__fail_memory(err, "sample");
    out->marked = true;
    out->half = AR_HALF_NONE;
    out->own_bos = false;
    out->mapped = 0;
    out->rewritten = 0;
    out->odd = (ar_odd){0};
    ar__buf_clear(&out->marks);
    out->kind = AR_DATA_TEXT;
    out->first_target = out->ids.count = m->count;
    for (size_t i = 0; i < m->count; i++) {
        char learned = i && (!m->learned || m->learned[i]);
        if (m->ids[i] < 0) return ar__fail(err, AR_ERR_VALUE, "id %zu is %d, wanted 0 or more", i, m->ids[i]);
        ids[i] = m->ids[i];
        ar__buf_add(&out->marks, &learned, 1);
        if (learned && out->first_target == m->count) out->first_target = i;
    }
    return out->marks.failed ? ar__fail_memory(err, "sample") : AR_OK;
}

static ar_status check_memory(const ar_memory_sample *m, const ar_encoding *how, ar_error *err) {
    bool compared = m->prompt && m->chosen && m->rejected && !m->completion, wanted = how->form->wanted == AR_ROWS_PAIRS;
    bool pair = m->prompt && m->completion, half = !m->prompt != !m->completion, extra = m->chosen || m->rejected;
    if (wanted && (!compared || m->text || m->ids))
        return ar__fail(err, AR_ERR_VALUE, "wanted prompt with chosen and rejected, which an objective compares");
    if (!wanted && extra) return ar__fail(err, AR_ERR_VALUE, "found chosen or rejected without an objective, wanted none");
    if (!wanted && (half || (m->text != NULL) + pair + (m->ids != NULL) != 1))
        return ar__fail(err, AR_ERR_VALUE, "wanted one of text, prompt with completion, and ids");
    if (m->learned && !m->ids) return ar__fail(err, AR_ERR_VALUE, "found learned without ids, wanted none");
    if (m->ids && m->count > INT32_MAX) return ar__fail(err, AR_ERR_VALUE, "found %zu ids, wanted at most %d", m->count, INT32_MAX);
    if (m->ids && !m->count) return ar__fail(err, AR_ERR_VALUE, "found no ids, wanted at least two");
    return AR_OK;
}

static ar_status turns_of(ar_conversation *out, const char *prompt, const char *answer, const ar_encoding *how, ar_error *err) {
    ar_turn_texts t = {.user = prompt, .user_size = strlen(prompt), .answer = answer, .answer_size = strlen(answer)};
    return ar__conversation_of_texts(out, NULL, how->form, &t, err);
}

static ar_status encode_turns(ar_encoded *out, ar_encoded *rejected, const ar_memory_sample *m, const ar_encoding *how, ar_error *err) {
    ar_parts parts = {.kind = AR_DATA_MESSAGES};
    ar_status s = turns_of(&parts.conversation, m->prompt, m->chosen ? m->chosen : m->completion, how, err);
    if (!s && m->rejected) s = turns_of(&parts.rejected_conversation, m->prompt, m->rejected, how, err);
    if (!s) s = m->rejected ? encode_both(out, rejected, &parts, how, err) : ar__encode_parts(out, &parts, how, err);
    ar__parts_release(&parts);
    return s;
}

ar_status ar__encode_memory(ar_encoded *out, ar_encoded *rejected, const ar_memory_sample *m, const ar_encoding *how, ar_error *err) {
    ar_status s = check_memory(m, how, err);
    if (s || m->ids) return s ? s : copy_ids(out, m, err);
    if (m->prompt && how->form->turns) return encode_turns(out, rejected, m, how, err);
    const char *learned = m->completion ? m->completion : m->chosen ? m->chosen : m->text;
    ar_parts parts = {.kind = m->prompt ? AR_DATA_COMPLETION : AR_DATA_TEXT};
    if (m->prompt && *m->prompt) parts.span[parts.count++] = (ar_text_span){m->prompt, strlen(m->prompt), false};
    parts.span[parts.count++] = (ar_text_span){learned, strlen(learned), true};
    if (!m->rejected) return ar__encode_parts(out, &parts, how, err);
    parts.rejected = (ar_text_span){m->rejected, strlen(m->rejected), true};
    return encode_both(out, rejected, &parts, how, err);
}

void ar__encoded_release(ar_encoded *e) {
    ar_ids_release(&e->ids);
    ar__buf_release(&e->marks);
    ar__rendered_release(&e->whole);
    ar__rendered_release(&e->part);
    *e = (ar_encoded){0};
}
