/* The inside of ar_tokenizer.
 *
 *     text → added tokens (raw) → normalizer → added tokens (normalised) → pre-tokenizer → model → post-processor
 *
 * A tokenizer.model has its own normalisation and decoding (spm); it shares the models. */
#ifndef AR_TEXT_TOKENIZER_IMPL_H
#define AR_TEXT_TOKENIZER_IMPL_H

#include <pthread.h>

#include "alphar/tokenizer.h"
#include "text/added.h"
#include "text/decode.h"
#include "text/json_big.h"
#include "text/model.h"
#include "text/normalize.h"
#include "text/pretok.h"
#include "text/spm.h"
#include "text/track.h"

typedef enum ar_model_kind { AR_MODEL_NONE, AR_MODEL_BPE, AR_MODEL_UNIGRAM } ar_model_kind;

/* What one call needs.  Kept between calls in the tokenizer's pool, with its cache of words. */
typedef struct ar_scratch {
    struct ar_scratch *next;
    ar_matcher *matcher;
    ar_model_work *work;
    ar_pieces pieces, spare;
    ar_buf text, text_spare;
    ar_track track;
} ar_scratch;

struct ar_tokenizer {
    ar_unicode unicode;
    ar_vocab vocab;
    ar_added added;
    ar_normal normal;
    ar_pretok pretok;
    ar_decoder decoder;
    ar_model_kind kind;
    ar_bpe bpe;
    ar_unigram unigram;
    bool is_spm;
    ar_spm spm;
    ar_vocab spm_matched; /* its pieces that text can match; control and byte pieces cannot */
    ar_ids post;          /* AR_POST_TEXT stands for the text */
    bool trims;           /* places of tokens leave out white space (post.h) */
    int32_t bos, eos, count;
    pthread_mutex_t lock; /* of the pool */
    ar_scratch *pool;
};

/* A scratch from the pool or a new one (NULL when memory runs out), and back. */
ar_scratch *ar__scratch_take(const ar_tokenizer *tk);
void ar__scratch_give(const ar_tokenizer *tk, ar_scratch *s);

/* Frees what was read, so that another reading can start. */
void ar__tokenizer_clear(ar_tokenizer *tk);

/* Cuts the text into w->pieces, everything done but the model.  track: NULL, or begun with the text's marks and moved along; then the
 * pieces have the text of added tokens too. */
ar_status ar__tokenizer_cut(const ar_tokenizer *tk, const char *text, size_t n, bool no_prefix, ar_scratch *w, ar_track *track,
                            ar_error *err);
/* The ids of one piece of text. */
ar_status ar__tokenizer_run(ar_ids *out, const ar_tokenizer *tk, const char *s, size_t n, ar_scratch *w, ar_error *err);
/* SentencePiece: one normalised text; user-defined pieces stand for themselves and nothing merges across them. */
ar_status ar__tokenizer_run_spm(ar_ids *out, const ar_tokenizer *tk, const char *s, size_t n, ar_scratch *w, ar_error *err);

/* Fill a tokenizer from a file; messages lack the path. */
ar_status ar__tokenizer_read_json(ar_tokenizer *tk, const char *path, ar_error *err);
ar_status ar__tokenizer_read_root(ar_tokenizer *tk, const json_t *root, ar_error *err); /* of a tokenizer.json already parsed */
/* From pieces, however they were stored. */
ar_status ar__tokenizer_build_spm(ar_tokenizer *tk, const ar_spm_file *f, bool add_bos, bool add_eos, ar_error *err);
/* big: where vocab and merges stand in the document; NULL: in model. */
ar_status ar__tokenizer_read_bpe(ar_tokenizer *tk, const json_t *model, const ar_json_span big[2], ar_error *err);
ar_status ar__tokenizer_read_model(ar_tokenizer *tk, const char *path, bool add_bos, bool add_eos, ar_error *err);

#endif
