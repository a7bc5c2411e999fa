#include "data/encode.h"

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

static ar_status encode_parts(ar_encoded *out, const ar_parts *p, const ar_tokenizer *tk, int32_t eos, bool train_on_all, ar_error *err) {
    bool two = p->kind != AR_DATA_TEXT && p->prompt_size;
    const char *first = two ? p->prompt : p->learned;
    unsigned own;
    out->kind = p->kind;
    out->ids.count = 0;
    ar_status s = ar_tokenizer_encode_whole(&out->ids, &own, tk, first, two ? p->prompt_size : p->learned_size, err);
    if (s) return s;
    out->own_bos = own & AR_TOKENIZE_OWN_BOS;
    out->first_target = two && !train_on_all && out->ids.count ? out->ids.count : 1;
    if (two && (s = ar__tokenizer_encode_rest(&out->ids, tk, p->learned, p->learned_size, err))) return s;
    return append_eos(&out->ids, eos, err);
}

ar_status ar__encode(ar_encoded *out, const ar_line *line, const ar_tokenizer *tk, int32_t eos, bool train_on_all, ar_error *err) {
    ar_parts parts;
    ar_status s = ar__parts_read(&parts, line, err);
    if (s) return s;
    s = encode_parts(out, &parts, tk, eos, train_on_all, err);
    ar__parts_release(&parts);
    return s;
}
