/* Chat templates: Jinja as transformers sets it up for apply_chat_template (Jinja2's sandbox with trim_blocks,
 * lstrip_blocks, loop controls and `{% generation %}`), rendered byte for byte.
 *
 *     source ─ lex ─→ tokens ─ parse ─→ tree ─ render(values) ─→ text, and of each byte where it came from
 *
 * A template sees the values it is given and nothing else.  Steps, depth and memory of a rendering are bounded. */
#ifndef AR_TEXT_TEMPLATE_H
#define AR_TEXT_TEMPLATE_H

#include <jansson.h>
#include <time.h>

#include "alphar/error.h"
#include "base/mem.h"

typedef struct ar_template ar_template;

/* Where a byte of rendered text comes from.  What people wrote must not turn into special tokens. */
enum {
    AR_FROM_TEMPLATE = 0,  /* the template wrote it, or a value that is no message: bos_token and the like */
    AR_FROM_OUTSIDE = 1,   /* messages, tools, documents */
    AR_FROM_ASSISTANT = 2, /* a message whose role is assistant */
    AR_FROM_MASK = 3,
    AR_LEARNED = 4,     /* beside one of the above: written inside {% generation %}, so that a model is to learn it */
    AR_MESSAGE_UNIT = 8 /* …and of which message: 1 + its index modulo AR_MESSAGE_CYCLE, 0 where it is of none */
};

enum { AR_MESSAGE_CYCLE = 31 };

typedef struct ar_rendered {
    ar_buf text;
    ar_buf marks; /* [text.len] of the above */
} ar_rendered;

/* The source is copied.  Errors: AR_ERR_FORMAT `line N: …`. */
ar_status ar__template_parse(ar_template **out, const char *source, size_t n, ar_error *err);
void ar__template_free(ar_template *t); /* NULL is fine */
bool ar__template_has_generation(const ar_template *t);
/* Whether the template itself writes these bytes: they stand in its text or in one of its string literals. */
bool ar__template_writes(const ar_template *t, const char *text, size_t n);

/* values: an object, its members are the variables.  now: what strftime_now sees.  *out is zeroed before its first use and its memory is
 * used again.  Errors: AR_ERR_VALUE `line N: …`: the template refuses the values (raise_exception) or fails on them. */
ar_status ar__template_render(ar_rendered *out, const ar_template *t, const json_t *values, time_t now, ar_error *err);
void ar__rendered_release(ar_rendered *r); /* safe on a zeroed one */

#endif
