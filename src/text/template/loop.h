/* The `loop` of a for: which items it goes over, one ahead where asked for. */
#ifndef AR_TEXT_TEMPLATE_LOOP_H
#define AR_TEXT_TEMPLATE_LOOP_H

#include "text/template/run.h"

struct ar_jloop {
    const ar_jnode *node; /* FOR */
    ar_jscope *scope;     /* of its filter, and of what calls it */
    ar_jwalk walk;
    ar_jlist *ready;   /* items that passed the filter: all so far, and those found ahead */
    size_t done;       /* rounds begun */
    unsigned depth;    /* of a recursive loop, from 0 */
    ar_jvalue changed; /* what loop.changed was given last */
};

/* NULL where the value cannot be gone through. */
ar_jloop *ar__j_loop_new(ar_jinja *j, const ar_jnode *n, ar_jvalue over, unsigned depth);
/* The item of the next round; false at the end and on an error. */
bool ar__j_loop_advance(ar_jvalue *out, ar_jinja *j, ar_jloop *loop);

#endif
