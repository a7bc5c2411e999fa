/* From tokens to the tree: one function for each rule of Jinja2's grammar, in its order of precedence.
 *
 *     expression = or [if or [else expression]] …
 *     or = and {or and}    and = not {and not}    not = not not | compare
 *     compare = sum {(== | != | < | <= | > | >= | in | not in) sum}
 *     sum = joined {(+ | -) joined}    joined = product {~ product}    product = power {(* | / | // | %) power}
 *     power = unary {** unary}         (from the left, so that -2 ** 2 is 4)
 *     unary = (- | +) unary-without-filters | primary, then .name [index] (call), then |filter and is test */
#ifndef AR_TEXT_TEMPLATE_PARSE_H
#define AR_TEXT_TEMPLATE_PARSE_H

#include "text/template/lex.h"

enum { AR_J_NESTING = 200, AR_J_TREE_DEPTH = 1000 };

typedef struct ar_jparser {
    ar_template *t;
    const ar_jtoken *token;
    size_t at;
    unsigned depth;
    bool soft;               /* a filter that is not there is an error only when it is met */
    int uses;                /* AR_J_USES_… of the macro at work */
    bool in_loop, sets_loop; /* of the function at work: break may stand here; `loop` was set */
    bool failed;
    ar_error *err;
} ar_jparser;

static inline const ar_jtoken *ar__j_now(const ar_jparser *p) { return &p->token[p->at]; }
static inline bool ar__j_sees(const ar_jparser *p, ar_jlexeme kind) { return ar__j_now(p)->kind == kind; }
bool ar__j_sees_name(const ar_jparser *p, const char *name);
bool ar__j_skip(ar_jparser *p, ar_jlexeme kind); /* whether it was there */
bool ar__j_skip_name(ar_jparser *p, const char *name);
bool ar__j_expect(ar_jparser *p, ar_jlexeme kind);                              /* an error where it is not */
void *ar__j_parse_fail(ar_jparser *p, const char *format, ...) AR_PRINTF(2, 3); /* NULL; the first error counts */

ar_jnode *ar__j_node(ar_jparser *p, ar_jkind kind);
/* A node of these parts; NULL where one that must be there is NULL, or the tree gets too deep. */
ar_jnode *ar__j_join(ar_jparser *p, ar_jkind kind, ar_jnode *a, ar_jnode *b);
/* Appends to a list; `tail` is the end of it.  False without a node. */
bool ar__j_append(ar_jnode *owner, ar_jnode ***tail, ar_jnode *one);
bool ar__j_name(ar_jparser *p, ar_jnode *n);        /* takes a name into n */
bool ar__j_new_name(ar_jparser *p, ar_jnode *n);    /* one that may be given to something */
bool ar__j_note_written(ar_jparser *p, ar_jstr *s); /* for ar__template_writes; false without memory */

ar_jnode *ar__j_expression(ar_jparser *p);
ar_jnode *ar__j_or(ar_jparser *p);
/* Expressions with commas between them are a tuple; conditional ones only where asked for. */
ar_jnode *ar__j_tuple(ar_jparser *p, bool conditional, bool parenthesised);
ar_jnode *ar__j_target(ar_jparser *p, bool namespaces);
ar_jnode *ar__j_filters(ar_jparser *p, ar_jnode *in, bool begun); /* begun: no | before the first */
bool ar__j_params(ar_jparser *p, ar_jnode *owner);

#endif
