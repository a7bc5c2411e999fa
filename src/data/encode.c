#include "data/encode.h"

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

static ar_status encode_parts(ar_encoded *out, const ar_parts *p, const ar_encoding *how, ar_error *err) {
    bool two = p->kind != AR_DATA_TEXT && p->prompt_size;
    const char *first = two ? p->prompt : p->learned;
    unsigned own;
    out->kind = p->kind;
    out->mapped = p->mapped;
    out->marked = false;
    out->ids.count = 0;
    ar_status s = ar_tokenizer_encode_whole(&out->ids, &own, how->tk, first, two ? p->prompt_size : p->learned_size, err);
    if (s) return s;
    out->own_bos = own & AR_TOKENIZE_OWN_BOS;
    out->first_target = two && !how->train_on_all && out->ids.count ? out->ids.count : 1;
    if (two && (s = ar__tokenizer_encode_rest(&out->ids, how->tk, p->learned, p->learned_size, err))) return s;
    return append_eos(&out->ids, how->eos, err);
}

ar_status ar__encode(ar_encoded *out, const ar_line *line, const ar_encoding *how, ar_error *err) {
    ar_parts parts;
    ar_status s = ar__parts_read(&parts, line, how->form, err);
    if (s) return s;
    s = encode_parts(out, &parts, how, err);
    ar__parts_release(&parts);
    return s;
}

static ar_status copy_ids(ar_encoded *out, const ar_memory_sample *m, ar_error *err) {
    int32_t *ids = ar__grow(out->ids.id, &out->ids.cap, m->count, sizeof *ids);
    if (ids) out->ids.id = ids;
    uint8_t *marks = ids ? ar__grow(out->marks, &out->marks_cap, m->count, 1) : NULL;
    if (!marks) return ar__fail_memory(err, "sample");
    out->marks = marks;
    out->marked = true;
    out->own_bos = false;
    out->mapped = 0;
    out->kind = AR_DATA_TEXT;
    out->first_target = out->ids.count = m->count;
    for (size_t i = m->count; i-- > 0;) {
        if (m->ids[i] < 0) return ar__fail(err, AR_ERR_VALUE, "id %zu is %d, wanted 0 or more", i, m->ids[i]);
        ids[i] = m->ids[i];
        marks[i] = i && (!m->learned || m->learned[i]);
        if (marks[i]) out->first_target = i;
    }
    return AR_OK;
}

ar_status ar__encode_memory(ar_encoded *out, const ar_memory_sample *m, const ar_encoding *how, ar_error *err) {
    bool pair = m->prompt && m->completion, half = !m->prompt != !m->completion;
    if (half || (m->text != NULL) + pair + (m->ids != NULL) != 1)
        return ar__fail(err, AR_ERR_VALUE, "wanted one of text, prompt with completion, and ids");
    if (m->learned && !m->ids) return ar__fail(err, AR_ERR_VALUE, "found learned without ids, wanted none");
    if (m->ids && m->count > INT32_MAX) return ar__fail(err, AR_ERR_VALUE, "found %zu ids, wanted at most %d", m->count, INT32_MAX);
    if (m->ids && !m->count) return ar__fail(err, AR_ERR_VALUE, "found no ids, wanted at least two");
    if (m->ids) return copy_ids(out, m, err);
    ar_parts parts = {.kind = pair ? AR_DATA_COMPLETION : AR_DATA_TEXT, .learned = pair ? m->completion : m->text};
    parts.learned_size = strlen(parts.learned);
    parts.prompt = m->prompt;
    parts.prompt_size = pair ? strlen(m->prompt) : 0;
    return encode_parts(out, &parts, how, err);
}

void ar__encoded_release(ar_encoded *e) {
    ar_ids_release(&e->ids);
    free(e->marks);
    *e = (ar_encoded){0};
}
