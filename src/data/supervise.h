/* Which bytes of a conversation are learned.
 *
 * Where the template says it ({% generation %}), that.  Else each turn of the assistant, from the end of what a model is given (the
 * conversation so far with add_generation_prompt) to the end of the turn, found by rendering the conversation up to there and seeing that
 * the whole begins so:
 *
 *     whole        <|user|>a<|end|><|assistant|>b<|end|><|user|>c …
 *     given        <|user|>a<|end|><|assistant|>
 *     with it      <|user|>a<|end|><|assistant|>b<|end|>
 *     learned                                   ^^^^^^^^
 *
 * Some templates write earlier turns differently once others follow (without their reasoning, without an end of the text).  Such a turn is
 * sought in the whole by what stands around it; it is learned where all that the message said is still there, and left out, and counted,
 * where it is not: a model would learn to answer without the reasoning that led there. */
#ifndef AR_DATA_SUPERVISE_H
#define AR_DATA_SUPERVISE_H

#include "data/chat.h"

/* How a template writes an answer that is nothing but text: what stands before it, the learned text around it. */
typedef struct ar_frame {
    char *given, *before, *after;
    size_t given_n, before_n, after_n;
    bool known;
} ar_frame;

/* Of a chat's standard template: of an answer that others follow, and of the last.  Found once, with a conversation made for it, by the
 * rendering above; an answer that stands in such a frame needs none of its own. */
typedef struct ar_frames {
    ar_frame inner, last;
    char *header; /* what it writes to begin an answer to a user; NULL: nothing, or not known */
} ar_frames;

ar_status ar__frames_find(ar_frames *out, const ar_chat *c, ar_error *err);
void ar__frames_release(ar_frames *f); /* safe on a zeroed one */

typedef struct ar_supervised {
    size_t turns;     /* the assistant's that are wanted */
    size_t rewritten; /* of these, left out since the whole does not say what they said */
} ar_supervised;

/* Renders the whole and sets AR_LEARNED in its marks.  part: scratch.  frames: NULL, or those of the chat. */
ar_status ar__supervise(ar_supervised *out, ar_rendered *whole, ar_rendered *part, const ar_chat *c, const ar_frames *frames,
                        const ar_conversation *conversation, ar_train_on on, ar_error *err);

#endif
