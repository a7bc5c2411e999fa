/* What one prompt is answered with: tokens drawn from logits, their text, and when it ends. */
#ifndef AR_GEN_ANSWER_H
#define AR_GEN_ANSWER_H

#include "gen/sampler.h"
#include "gen/session.h"

typedef struct ar_answer {
    const ar_session *s;
    ar_generate_options o; /* with a seed of its own */
    ar_generate_result *r; /* the caller's */
    size_t index;          /* of the prompt */
    uint8_t *seen;         /* [vocab] ids that the repeat penalty falls on */
    size_t sent;           /* bytes of text given to on_text */
    int limit;             /* tokens to make at most */
    bool done;
    bool turn;    /* of a conversation: what the template writes behind an answer ends it */
    bool refused; /* on_text wants no more */
} ar_answer;

/* Tokens that may follow a prompt: as many as asked for, within the positions that the base was made for. */
int ar__answer_limit(const ar_session *s, const ar_generate_options *o, size_t prompt);

/* r: holds the prompt's ids; turn: they are of a conversation.  Copies *o. */
ar_status ar__answer_begin(ar_answer *out, const ar_session *s, const ar_generate_options *o, size_t index, bool turn,
                           ar_generate_result *r, ar_error *err);
/* Draws the next token from logits [vocab], which are changed; room [2 * vocab].  Sets done. */
ar_status ar__answer_draw(ar_answer *a, float *logits, ar_candidate *room, ar_error *err);
/* The whole text, once it is done. */
ar_status ar__answer_end(ar_answer *a, ar_error *err);
void ar__answer_release(ar_answer *a); /* safe on a zeroed one; the result stays */

#endif
