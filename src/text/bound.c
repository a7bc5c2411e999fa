#include "text/bound.h"

#include "text/bytemap.h"
#include "text/post.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

enum { FORM_C_GROWTH = 3 }; /* U+1D160 becomes three code points of four bytes */

static bool is_known_char(const ar_bpe *m, const char *s, size_t n) {
    return n && ar__utf8_size(s[0]) == n && ar__bpe_symbol(m, s, n) >= 0;
}

static bool is_in_utf8(int byte) { return byte < 0xc0 || (byte > 0xc1 && byte < 0xf5); }

/* Whatever a byte is, the model starts it as one symbol that has an id. */
static bool knows_bytes(const ar_tokenizer *tk, bool mapped) {
    const ar_bpe *m = &tk->bpe;
    bool all = tk->kind == AR_MODEL_BPE && !tk->is_spm && !m->prefix && !m->suffix && (mapped || m->byte_fallback);
    for (int b = 0; all && b < 256; b++) {
        ar_buf image = {0};
        char byte = (char)b;
        if (!is_in_utf8(b)) continue;
        if (mapped) ar__bytemap_put(&image, &byte, 1);
        all = mapped ? !image.failed && is_known_char(m, image.data, image.len) : m->byte_id[b] >= 0;
        ar__buf_release(&image);
    }
    return all;
}

static bool is_mapped(const ar_tokenizer *tk) {
    for (size_t i = 0; i < tk->pretok.count; i++)
        if (tk->pretok.step[i].kind == AR_PRETOK_BYTES) return true;
    return false;
}

static bool bound_normal(ar_token_bound *b, const ar_tokenizer *tk, bool mapped) {
    for (size_t i = 0; i < tk->normal.count; i++) {
        const ar_normal_step *s = &tk->normal.step[i];
        if (s->kind == AR_NORMAL_FORM && s->form == AR_NFC && i == 0) {
            b->other = FORM_C_GROWTH;
        } else if (s->kind == AR_NORMAL_PREPEND && !mapped && is_known_char(&tk->bpe, s->text, s->text_len)) {
            b->fixed++;
        } else if (s->kind != AR_NORMAL_REPLACE || mapped || !ar__pattern_is_literal(s->pattern) ||
                   !is_known_char(&tk->bpe, s->text, s->text_len)) {
            return false;
        }
    }
    return true;
}

static bool bound_pretok(ar_token_bound *b, const ar_tokenizer *tk, bool mapped) {
    bool bytes = false;
    for (size_t i = 0; i < tk->pretok.count; i++) {
        const ar_pretok_step *s = &tk->pretok.step[i];
        switch (s->kind) {
        case AR_PRETOK_PATTERN:
        case AR_PRETOK_CLASS:
            if (s->behavior == AR_SPLIT_REMOVED) return false;
            break;
        case AR_PRETOK_WORDS: return false;
        case AR_PRETOK_PREFIX_SPACE:
            if (i) return false; /* one for each piece that came before */
            b->fixed++;
            break;
        case AR_PRETOK_BYTES:
            if (bytes) return false; /* maps what is mapped again: two symbols a byte */
            bytes = true;
            break;
        case AR_PRETOK_META:
            if (i || mapped || !is_known_char(&tk->bpe, s->mark, strlen(s->mark))) return false;
            b->fixed++;
            break;
        }
    }
    return true;
}

/* What goes in front of a text goes behind each added token in it as well: that token must be long enough to pay for it. */
static bool pays(const ar_tokenizer *tk, size_t front) {
    if (!front) return true;
    if (tk->added.normal.node_count) return false;
    for (size_t i = 0; i < tk->added.content.count; i++)
        if (tk->added.content.entry[i].len <= front) return false;
    return true;
}

static const char *text_of(size_t *n, const ar_tokenizer *tk, int32_t id) {
    const char *text = ar__vocab_text(&tk->added.content, id, n);
    return text ? text : ar__vocab_text(&tk->vocab, id, n);
}

static size_t longer(size_t longest, const ar_tokenizer *tk, int32_t id) {
    size_t n = 0;
    return text_of(&n, tk, id) && n > longest ? n : longest;
}

bool ar__token_bound(ar_token_bound *out, const ar_tokenizer *tk) {
    bool mapped = is_mapped(tk);
    *out = (ar_token_bound){.other = 1, .ids = tk->count};
    if (!knows_bytes(tk, mapped) || !bound_normal(out, tk, mapped) || !bound_pretok(out, tk, mapped) || !pays(tk, out->fixed)) return false;
    size_t texts = 0;
    for (size_t i = 0; i < tk->post.count; i++) {
        int32_t id = tk->post.id[i];
        if (id == AR_POST_TEXT)
            texts++;
        else
            out->specials++, out->longest = longer(out->longest, tk, id);
        if (id >= out->ids) out->ids = id + 1;
    }
    out->fixed += out->specials;
    return texts == 1;
}

bool ar__token_is_mark(const ar_tokenizer *tk, int32_t id) {
    size_t n = 0;
    const char *text = text_of(&n, tk, id);
    return text && n && !ar__token_starts_word(text[0]);
}
