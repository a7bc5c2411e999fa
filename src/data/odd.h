/* What is odd about a conversation, and yet no error: templates and people have reasons.
 *
 *     role        none that models are taught, such as `asistant`: its message is not learned
 *     empty       an answer without a word or a call: its end is all that is learned
 *     unwritten   a message of which the template writes nothing */
#ifndef AR_DATA_ODD_H
#define AR_DATA_ODD_H

#include "data/conversation.h"
#include "text/template/template.h"

typedef struct ar_odd {
    char role[24]; /* the first such; "": none */
    uint32_t empty, unwritten;
} ar_odd;

void ar__odd_find(ar_odd *out, const ar_conversation *c, const ar_rendered *whole);
/* The first message that says nothing, from 1; 0: none.  Templates fail on some. */
size_t ar__odd_silent(const ar_conversation *c);

#endif
