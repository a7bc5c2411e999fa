/* A base opened for asking: model, tokenizer, adapter bound at its current s. */
#ifndef AR_GEN_SESSION_H
#define AR_GEN_SESSION_H

#include "alphar/eval.h"
#include "data/chat.h"
#include "gen/trained.h"
#include "model/attach.h"
#include "model/pass.h"

struct ar_session {
    const ar_runtime *rt;
    ar_model *model;
    ar_tokenizer *tokenizer;         /* NULL: the base has none, and only ids can be asked about */
    ar_error no_tokenizer;           /* what ar_session_need_tokenizer says then */
    ar_adapter *adapter;             /* NULL: the base alone */
    ar_attachment *attachment;       /* NULL likewise */
    bool stacked;                    /* the adapter is the sum of several */
    double factor;                   /* that it was opened with: PATH:0.5; 1 where there was none */
    double own_default, *own_alpha;  /* alpha of the adapter and of each pair as it was opened, or tuned: what another alpha */
    double *own_scale;               /* is in proportion to; and s */
    int32_t eos[2 * AR_MAX_EOS + 1]; /* generation stops on any of these */
    int eos_count;
    ar_trained trained;
    ar_chat *chat;       /* how conversations are written; NULL: no way is known */
    char *turn_begin;    /* white space that the template writes in front of an answer; NULL: none */
    char *turn_end;      /* what the template writes behind an answer, where it is text; NULL: a token, or nothing */
    int32_t turn_end_id; /* that token; -1: none */
};

/* The one segment of everything with the session's adapter. */
ar_segment ar__session_segment(const ar_session *s, size_t samples);

/* Gives the adapter another alpha (or s of every site), always from its own: an alpha of 0 in between loses no proportions. */
ar_status ar__session_adapt(ar_session *s, bool alpha, double value, ar_error *err);
/* Makes the adapter's present strengths its own. */
ar_status ar__session_keep_strengths(ar_session *s, ar_error *err);

/* A pass for forward only; head_rows: rows with a target that the head takes at a time, where there are many (0: the fewest). */
ar_status ar__session_pass(ar_pass **out, const ar_session *s, size_t tokens, size_t samples, size_t longest, size_t head_rows,
                           ar_error *err);

/* A warning where a text of `count` tokens reaches past the positions that the base was made for. */
ar_status ar__session_check_length(const ar_session *s, size_t count, ar_error *err);

/* The error for results that are no numbers: names the tensor of the base that is to blame, where one is. */
ar_status ar__session_not_finite(const ar_session *s, const char *what, ar_error *err);

/* Fails when a sample of `length` tokens cannot be run: ids outside the vocabulary are checked too (count of them given). */
ar_status ar__session_check_ids(const ar_session *s, const int32_t *ids, size_t count, ar_error *err);

#endif
