/* The ids of a whole text as a model is to see them.  A chat template writes BOS, and often EOS, into the text that it
 * renders; the tokenizer must not add them a second time:
 *
 *     added in front | ids of the text | added behind        each end only where the text does not have it already
 *
 * A tokenizer.json matches such text as an added token.  A SentencePiece model does not match its control pieces, so there
 * the text of BOS in front and of EOS behind is taken for the token before it comes to the model. */
#include "text/whole.h"

#include <string.h>

#include "base/fail.h"
#include "text/post.h"
#include "text/tokenizer_impl.h"

typedef struct ends {
    const int32_t *front, *behind; /* what the post-processor adds */
    size_t front_count, behind_count;
} ends;

static ends ends_of(const ar_tokenizer *tk) {
    const int32_t *id = tk->post.id;
    size_t n = tk->post.count, at = 0;
    while (at < n && id[at] != AR_POST_TEXT) at++;
    return (ends){.front = id, .front_count = at, .behind = id + at + 1, .behind_count = at < n ? n - at - 1 : 0};
}

static bool add_all(ar_ids *out, const int32_t *id, size_t n) {
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) ok = ar__ids_add(out, id[i]);
    return ok;
}

/* The bytes that a control piece takes at that end of the text; 0: it is not there. */
static size_t control_at(const ar_tokenizer *tk, int32_t id, const char *text, size_t n, bool at_end) {
    size_t size = 0;
    const char *piece = id < 0 ? NULL : ar__vocab_text(&tk->vocab, id, &size);
    if (!piece || !size || size > n || memcmp(at_end ? text + n - size : text, piece, size) != 0) return 0;
    return size;
}

/* The ids of the text itself, with the marks of a SentencePiece text taken for what they are. */
static ar_status encode_marks(ar_ids *out, const ar_tokenizer *tk, const char *text, size_t n, bool first, ar_error *err) {
    size_t bos = tk->is_spm && first ? control_at(tk, tk->bos, text, n, false) : 0;
    size_t eos = tk->is_spm ? control_at(tk, tk->eos, text + bos, n - bos, true) : 0;
    if (bos && !ar__ids_add(out, tk->bos)) return ar__fail_memory(err, "tokenize");
    ar_status s = ar_tokenizer_encode(out, tk, text + bos, n - bos - eos, 0, err);
    return s || !eos || ar__ids_add(out, tk->eos) ? s : ar__fail_memory(err, "tokenize");
}

ar_status ar__tokenizer_encode_rest(ar_ids *out, const ar_tokenizer *tk, const char *text, size_t n, ar_error *err) {
    size_t before = out->count;
    ar_status s = encode_marks(out, tk, text, n, false, err);
    if (s) out->count = before;
    return s;
}

static bool stands_at(const ar_ids *ids, size_t at, const int32_t *want, size_t n) {
    return n && ids->count >= at + n && !memcmp(ids->id + at, want, n * sizeof *want);
}

/* The front is laid down before the text and taken away again where the text begins with it. */
ar_status ar_tokenizer_encode_whole(ar_ids *out, unsigned *own, const ar_tokenizer *tk, const char *text, size_t n, ar_error *err) {
    ends e = ends_of(tk);
    size_t before = out->count, start = before + e.front_count;
    unsigned had = 0;
    ar_status s = add_all(out, e.front, e.front_count) ? encode_marks(out, tk, text, n, true, err) : ar__fail_memory(err, "tokenize");
    if (!s && stands_at(out, start, e.front, e.front_count)) {
        memmove(out->id + before, out->id + start, (out->count - start) * sizeof *out->id);
        out->count -= e.front_count;
        start = before;
        had |= AR_TOKENIZE_OWN_BOS;
    }
    bool room = !s && out->count - start >= e.behind_count;
    if (room && stands_at(out, out->count - e.behind_count, e.behind, e.behind_count))
        had |= AR_TOKENIZE_OWN_EOS;
    else if (!s && !add_all(out, e.behind, e.behind_count))
        s = ar__fail_memory(err, "tokenize");
    if (s) out->count = before;
    if (own) *own = s ? 0 : had;
    return s;
}
