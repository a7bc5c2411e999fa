/* From the text of a template to tokens: Jinja2's lexer with trim_blocks and lstrip_blocks.
 *
 *     text {% tag %} text {{ expression }} text {# comment #} {% raw %} text {% endraw %}
 *
 * `-` in a bracket takes all white space beside it, `+` keeps it.  Without either, a tag that begins a line takes the spaces before it, and
 * a tag takes the newline behind it; {{ }} takes nothing. */
#ifndef AR_TEXT_TEMPLATE_LEX_H
#define AR_TEXT_TEMPLATE_LEX_H

#include "text/template/run.h"

typedef enum ar_jlexeme {
    AR_L_END,
    AR_L_DATA,
    AR_L_PRINT,
    AR_L_PRINT_END,
    AR_L_TAG,
    AR_L_TAG_END, /* {{ }} {% %} */
    AR_L_NAME,
    AR_L_STRING,
    AR_L_INT,
    AR_L_FLOAT,
    AR_L_ADD,
    AR_L_SUB,
    AR_L_MUL,
    AR_L_DIV,
    AR_L_FLOORDIV,
    AR_L_MOD,
    AR_L_POW,
    AR_L_TILDE,
    AR_L_EQ,
    AR_L_NE,
    AR_L_LT,
    AR_L_LE,
    AR_L_GT,
    AR_L_GE,
    AR_L_ASSIGN,
    AR_L_DOT,
    AR_L_COMMA,
    AR_L_COLON,
    AR_L_SEMICOLON,
    AR_L_PIPE,
    AR_L_PAREN,
    AR_L_PAREN_END,
    AR_L_BRACKET,
    AR_L_BRACKET_END,
    AR_L_BRACE,
    AR_L_BRACE_END
} ar_jlexeme;

typedef struct ar_jtoken {
    ar_jlexeme kind;
    uint32_t line;
    const char *text; /* DATA, NAME: in the source; STRING: what it says, in the pool */
    size_t size;
    int64_t i;
    double f;
} ar_jtoken;

typedef struct ar_jlexer {
    ar_jpool *pool;
    const char *s; /* the source, newlines as \n, NUL behind it */
    size_t n, at;
    uint32_t line;
    ar_jtoken *token;
    size_t count, cap;
    bool line_starts; /* what was read last ended with a newline */
    char close[256];  /* of the brackets that are open in an expression, up to what a parser goes down */
    size_t open;
    ar_error *err;
} ar_jlexer;

/* All tokens, the last of them END.  Errors: AR_ERR_FORMAT. */
ar_status ar__j_lex(ar_jlexer *x);

#endif
