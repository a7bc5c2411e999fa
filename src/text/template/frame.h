/* What Jinja2 decides about a template before it runs. */
#ifndef AR_TEXT_TEMPLATE_FRAME_H
#define AR_TEXT_TEMPLATE_FRAME_H

#include "text/template/run.h"

/* Whether an expression has no names in it.  Jinja2 works such ones out beforehand, where what cannot be cut is undefined, not an error. */
bool ar__j_is_constant(const ar_jnode *n);
/* Fills t->late: a variable that the template sets, and does not read before, is its own from the beginning; a macro that is called before
 * sees nothing, not the value of that name from outside.  False without memory. */
bool ar__j_find_late(ar_template *t);

#endif
