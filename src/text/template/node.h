/* The tree of a template.  What the members of a node mean:
 *
 *     kind         a            b           c          list                 other
 *     CONST                                                                 value
 *     NAME                                                                  name, id
 *     TUPLE LIST                                       items
 *     DICT                                             PAIRs
 *     PAIR         key          value
 *     NOT NEG POS  operand
 *     AND OR       left         right
 *     BINARY       left         right                                       op
 *     CONCAT                                           operands
 *     COMPARE      first                               OPERANDs (a, op)
 *     COND         test         then        else, NULL
 *     FILTER       input        -           -          ARGs                 call: the row of the table, NULL unknown; name
 *     TEST         input        -           -          ARGs                 as FILTER
 *     CALL         callee       -           -          ARGs
 *     ARG          value                                                    op: how it is given; name: of a keyword
 *     ATTR         object                                                   name
 *     ITEM         object       index
 *     SLICE        from, NULL   to, NULL    step, NULL
 *
 *     DATA                                                                  value
 *     PRINT        expression
 *     IF           test         -           -          body                 other: else body, or one IF
 *     FOR          target       iterable    filter     body                 other: else body; op: recursive
 *     SET          target       value
 *     SET_BLOCK    target       filter, NULL           body
 *     NS_ATTR      (a target)                                               name: attribute, id: namespace
 *     MACRO                                            body                 other: PARAMs; name, id; op: AR_J_USES_…
 *     PARAM        default, NULL                                            name, id
 *     CALL_BLOCK   CALL                                body                 other: PARAMs
 *     FILTER_BLOCK filter                              body
 *     WITH                                             body                 other: SETs
 *     GENERATION                                       body
 *     SCOPE                                            body
 *     BREAK CONTINUE */
#ifndef AR_TEXT_TEMPLATE_NODE_H
#define AR_TEXT_TEMPLATE_NODE_H

#include "text/template/value.h"

typedef enum ar_jkind {
    AR_N_CONST,
    AR_N_NAME,
    AR_N_TUPLE,
    AR_N_LIST,
    AR_N_DICT,
    AR_N_PAIR,
    AR_N_NOT,
    AR_N_NEG,
    AR_N_POS,
    AR_N_AND,
    AR_N_OR,
    AR_N_BINARY,
    AR_N_CONCAT,
    AR_N_COMPARE,
    AR_N_OPERAND,
    AR_N_COND,
    AR_N_FILTER,
    AR_N_TEST,
    AR_N_CALL,
    AR_N_ARG,
    AR_N_ATTR,
    AR_N_ITEM,
    AR_N_SLICE,
    AR_N_DATA,
    AR_N_PRINT,
    AR_N_IF,
    AR_N_FOR,
    AR_N_SET,
    AR_N_SET_BLOCK,
    AR_N_NS_ATTR,
    AR_N_MACRO,
    AR_N_PARAM,
    AR_N_CALL_BLOCK,
    AR_N_FILTER_BLOCK,
    AR_N_WITH,
    AR_N_GENERATION,
    AR_N_SCOPE,
    AR_N_BREAK,
    AR_N_CONTINUE
} ar_jkind;

typedef enum ar_jop {
    AR_OP_ADD,
    AR_OP_SUB,
    AR_OP_MUL,
    AR_OP_DIV,
    AR_OP_FLOORDIV,
    AR_OP_MOD,
    AR_OP_POW,
    AR_OP_EQ,
    AR_OP_NE,
    AR_OP_LT,
    AR_OP_LE,
    AR_OP_GT,
    AR_OP_GE,
    AR_OP_IN,
    AR_OP_NOT_IN
} ar_jop;

enum { AR_ARG_PLAIN, AR_ARG_KEY, AR_ARG_LIST, AR_ARG_DICT };                               /* x, k=x, *x, **x */
enum { AR_J_USES_VARARGS = 1, AR_J_USES_KWARGS = 2, AR_J_USES_CALLER = 4 };                /* names that a macro reads */
enum { AR_NAME_LOOP, AR_NAME_CALLER, AR_NAME_VARARGS, AR_NAME_KWARGS, AR_NAMES_RESERVED }; /* ids of names known beforehand */

typedef struct ar_jnode ar_jnode;
struct ar_jnode {
    ar_jkind kind;
    int op;
    uint32_t id; /* of a name: the same text has the same */
    uint32_t line, depth;
    ar_jnode *a, *b, *c, *list, *other, *next;
    ar_jstr *name;
    ar_jvalue value;
    const void *call; /* ar_jfilter, ar_jtest */
};

#endif
