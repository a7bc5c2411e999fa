/* The public decoding: ids to tokens to text. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

/* The text of an id as decoders see it; false where none is to be shown. */
static bool shown(const ar_tokenizer *tk, int32_t id, bool skip_special, const char **s, size_t *n) {
    const ar_added_token *t = ar__added_find(&tk->added, id);
    if (t && t->shown) {
        *s = t->shown;
        *n = t->shown_len;
    } else if (t)
        *s = ar__vocab_text(&tk->added.content, id, n);
    else
        *s = ar__vocab_text(&tk->vocab, id, n);
    return *s && !(skip_special && ar__added_is_special(&tk->added, *s, *n));
}

static ar_status decode_json(ar_buf *out, const ar_tokenizer *tk, const int32_t *ids, size_t count, bool skip_special, ar_scratch *w,
                             ar_error *err) {
    ar__pieces_clear(&w->pieces);
    ar__buf_add(&w->pieces.text, "", 0);
    for (size_t i = 0; i < count; i++) {
        const char *s;
        size_t n, at = w->pieces.text.len;
        if (!shown(tk, ids[i], skip_special, &s, &n)) continue;
        ar__buf_add(&w->pieces.text, s, n);
        ar__pieces_add(&w->pieces, (ar_piece){.at = at, .len = n, .id = -1});
    }
    if (w->pieces.failed || w->pieces.text.failed) return ar__fail_memory(err, "decode");
    return ar__decoder_run(out, &tk->decoder, &w->pieces, &w->spare, w->matcher, err);
}

/* Bytes of the fallback: what is no character becomes U+FFFD, byte by byte. */
static void flush_bytes(ar_buf *out, ar_buf *raw) {
    size_t at = 0;
    while (at < raw->len) {
        size_t good = ar__utf8_valid(raw->data + at, raw->len - at);
        ar__buf_add(out, raw->data + at, good);
        at += good;
        if (at == raw->len) break;
        ar__buf_puts(out, "\xEF\xBF\xBD");
        at++;
    }
    ar__buf_clear(raw);
}

static void put_unmarked(ar_buf *out, const char *s, size_t n) {
    const char *mark;
    while ((mark = memmem(s, n, "\xE2\x96\x81", 3))) {
        ar__buf_add(out, s, (size_t)(mark - s));
        ar__buf_puts(out, " ");
        n -= (size_t)(mark - s) + 3;
        s = mark + 3;
    }
    ar__buf_add(out, s, n);
}

/* SentencePiece's rules: a mark in front of the first text is the dummy prefix; all leading ones go where spaces are squeezed. */
static void decode_spm(ar_buf *out, const ar_tokenizer *tk, const int32_t *ids, size_t count, bool skip_special, ar_buf *raw) {
    const ar_spm *spm = &tk->spm;
    bool at_start = true, seen = false;
    size_t shown_control = 0; /* bytes of control pieces in out: they do not end the start */
    ar__buf_clear(raw);
    for (size_t i = 0; i < count; i++) {
        size_t n = 0;
        const char *s = ar__vocab_text(&tk->vocab, ids[i], &n);
        uint8_t type = spm->type[ids[i]];
        if (type == AR_SPM_BYTE) {
            char byte = (char)spm->byte[ids[i]];
            ar__buf_add(raw, &byte, 1);
            continue;
        }
        flush_bytes(out, raw);
        if (seen || out->len > shown_control) at_start = false;
        seen = false;
        if (type == AR_SPM_CONTROL) {
            if (skip_special) continue;
            ar__buf_add(out, s, n);
            shown_control += n;
        } else if (type == AR_SPM_UNKNOWN)
            ar__buf_add(out, spm->unk_surface, spm->unk_surface_len);
        else {
            if (at_start && (spm->dummy_prefix || spm->squeeze) && n >= 3 && memcmp(s, "\xE2\x96\x81", 3) == 0) {
                s += 3;
                n -= 3;
                seen = !spm->squeeze;
            }
            put_unmarked(out, s, n);
        }
    }
    flush_bytes(out, raw);
}

ar_status ar_tokenizer_decode(char **out, size_t *n, const ar_tokenizer *tk, const int32_t *ids, size_t count, bool skip_special,
                              ar_error *err) {
    *out = NULL;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= tk->count) {
            return ar__fail(err, AR_ERR_VALUE, "id %d: outside the vocabulary, which has ids 0 to %d", (int)ids[i], (int)tk->count - 1);
        }
    }
    ar_scratch *w = ar__scratch_take(tk);
    if (!w) return ar__fail_memory(err, "decode");
    ar_buf text = {0};
    ar_status s = AR_OK;
    ar__buf_add(&text, "", 0);
    if (tk->is_spm)
        decode_spm(&text, tk, ids, count, skip_special, &w->text);
    else
        s = decode_json(&text, tk, ids, count, skip_special, w, err);
    if (!s && (text.failed || w->text.failed)) s = ar__fail_memory(err, "decode");
    ar__scratch_give(tk, w);
    if (s) {
        ar__buf_release(&text);
        return s;
    }
    *out = text.data;
    *n = text.len;
    return AR_OK;
}
