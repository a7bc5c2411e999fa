#include <string.h>

#include "text/template/parse.h"

static ar_jnode *unary(ar_jparser *p, bool filters);

/* ---- the smallest ------------------------------------------------------------------------------------------------*/

static ar_jnode *constant(ar_jparser *p, ar_jvalue v) {
    ar_jnode *n = ar__j_node(p, AR_N_CONST);
    if (n) n->value = v;
    return n;
}

/* Literals that stand beside one another are one. */
static ar_jnode *string(ar_jparser *p) {
    size_t from = p->at, size = 0;
    while (ar__j_sees(p, AR_L_STRING)) size += p->token[p->at++].size;
    ar_jstr *s = ar__jpool_take(&p->t->pool, sizeof *s);
    char *data = s ? ar__jpool_take(&p->t->pool, size + 1) : NULL;
    if (!data || !ar__j_note_written(p, s)) return ar__j_parse_fail(p, "memory ran out");
    *s = (ar_jstr){.data = data, .size = size, .points = -1};
    for (; from < p->at; from++) {
        memcpy(data, p->token[from].text, p->token[from].size);
        data += p->token[from].size;
    }
    return constant(p, ar__j_string(s));
}

static ar_jnode *name(ar_jparser *p, bool namespaces) {
    static const struct {
        const char *name;
        ar_jvalue value;
    } words[] = {{"true", {.type = AR_J_BOOL, .b = true}},
                 {"True", {.type = AR_J_BOOL, .b = true}},
                 {"false", {.type = AR_J_BOOL}},
                 {"False", {.type = AR_J_BOOL}},
                 {"none", {.type = AR_J_NONE}},
                 {"None", {.type = AR_J_NONE}}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (ar__j_skip_name(p, words[i].name)) return constant(p, words[i].value);
    ar_jnode *n = ar__j_node(p, AR_N_NAME);
    if (!n || !ar__j_name(p, n)) return NULL;
    if (namespaces && ar__j_skip(p, AR_L_DOT)) {
        ar_jnode *member = ar__j_node(p, AR_N_NS_ATTR);
        if (!member || !ar__j_name(p, member)) return NULL;
        member->id = n->id;
        return member;
    }
    if (n->id == AR_NAME_CALLER) p->uses |= AR_J_USES_CALLER;
    if (n->id == AR_NAME_VARARGS) p->uses |= AR_J_USES_VARARGS;
    if (n->id == AR_NAME_KWARGS) p->uses |= AR_J_USES_KWARGS;
    return n;
}

static ar_jnode *list(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_LIST), **tail = n ? &n->list : NULL;
    p->at++;
    for (bool first = true; n && !ar__j_sees(p, AR_L_BRACKET_END); first = false) {
        if (!first && !ar__j_expect(p, AR_L_COMMA)) return NULL;
        if (ar__j_sees(p, AR_L_BRACKET_END)) break;
        if (!ar__j_append(n, &tail, ar__j_expression(p))) return NULL;
    }
    return n && ar__j_expect(p, AR_L_BRACKET_END) ? n : NULL;
}

static ar_jnode *pair(ar_jparser *p) {
    ar_jnode *key = ar__j_expression(p);
    if (!key || !ar__j_expect(p, AR_L_COLON)) return NULL;
    return ar__j_join(p, AR_N_PAIR, key, ar__j_expression(p));
}

static ar_jnode *dict(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_DICT), **tail = n ? &n->list : NULL;
    p->at++;
    for (bool first = true; n && !ar__j_sees(p, AR_L_BRACE_END); first = false) {
        if (!first && !ar__j_expect(p, AR_L_COMMA)) return NULL;
        if (ar__j_sees(p, AR_L_BRACE_END)) break;
        if (!ar__j_append(n, &tail, pair(p))) return NULL;
    }
    return n && ar__j_expect(p, AR_L_BRACE_END) ? n : NULL;
}

static ar_jnode *primary(ar_jparser *p, bool namespaces) {
    const ar_jtoken *t = ar__j_now(p);
    ar_jnode *n;
    switch (t->kind) {
    case AR_L_NAME: return name(p, namespaces);
    case AR_L_STRING: return string(p);
    case AR_L_INT: p->at++; return constant(p, ar__j_int(t->i));
    case AR_L_FLOAT: p->at++; return constant(p, ar__j_float(t->f));
    case AR_L_BRACKET: return list(p);
    case AR_L_BRACE: return dict(p);
    case AR_L_PAREN:
        p->at++;
        n = ar__j_tuple(p, true, true);
        return n && ar__j_expect(p, AR_L_PAREN_END) ? n : NULL;
    default: return ar__j_parse_fail(p, "found '%.*s', wanted an expression", (int)(t->size < 40 ? t->size : 40), t->text);
    }
}

/* ---- behind it ---------------------------------------------------------------------------------------------------*/

static ar_jnode *argument(ar_jparser *p, int *most) {
    ar_jnode *n = ar__j_node(p, AR_N_ARG);
    if (!n) return NULL;
    if (ar__j_skip(p, AR_L_MUL)) {
        n->op = AR_ARG_LIST;
    } else if (ar__j_skip(p, AR_L_POW)) {
        n->op = AR_ARG_DICT;
    } else if (ar__j_sees(p, AR_L_NAME) && p->token[p->at + 1].kind == AR_L_ASSIGN) {
        n->op = AR_ARG_KEY;
        if (!ar__j_name(p, n)) return NULL;
        p->at++;
    }
    static const int may_follow[] = {
        [AR_ARG_PLAIN] = AR_ARG_PLAIN, [AR_ARG_KEY] = AR_ARG_LIST, [AR_ARG_LIST] = AR_ARG_KEY, [AR_ARG_DICT] = AR_ARG_LIST};
    if (*most > may_follow[n->op]) return ar__j_parse_fail(p, "the arguments of a call are in the wrong order");
    if (n->op > *most) *most = n->op;
    n->a = ar__j_expression(p);
    return n->a ? n : NULL;
}

static bool arguments(ar_jparser *p, ar_jnode *owner) {
    ar_jnode **tail = &owner->list;
    int most = AR_ARG_PLAIN;
    if (!ar__j_expect(p, AR_L_PAREN)) return false;
    for (bool first = true; !ar__j_sees(p, AR_L_PAREN_END); first = false) {
        if (!first && !ar__j_expect(p, AR_L_COMMA)) return false;
        if (ar__j_sees(p, AR_L_PAREN_END)) break;
        if (!ar__j_append(owner, &tail, argument(p, &most))) return false;
    }
    return ar__j_expect(p, AR_L_PAREN_END);
}

static ar_jnode *call(ar_jparser *p, ar_jnode *callee) {
    ar_jnode *n = ar__j_join(p, AR_N_CALL, callee, NULL);
    return n && arguments(p, n) ? n : NULL;
}

static bool ends_index(const ar_jparser *p) { return ar__j_sees(p, AR_L_BRACKET_END) || ar__j_sees(p, AR_L_COMMA); }

/* An index, or from:to:step with any of them left out. */
static ar_jnode *index_of(ar_jparser *p) {
    ar_jnode *from = ar__j_sees(p, AR_L_COLON) ? NULL : ar__j_expression(p);
    if (p->failed || !ar__j_skip(p, AR_L_COLON)) return from;
    ar_jnode *to = ar__j_sees(p, AR_L_COLON) || ends_index(p) ? NULL : ar__j_expression(p);
    bool has_step = !p->failed && ar__j_skip(p, AR_L_COLON) && !ends_index(p);
    ar_jnode *step = has_step ? ar__j_expression(p) : NULL, *n = p->failed ? NULL : ar__j_node(p, AR_N_SLICE);
    if (!n) return NULL;
    n->a = from;
    n->b = to;
    n->c = step;
    return n;
}

static ar_jnode *indices(ar_jparser *p) {
    ar_jnode *first = ar__j_sees(p, AR_L_BRACKET_END) ? NULL : index_of(p);
    if (p->failed || (first && ar__j_sees(p, AR_L_BRACKET_END))) return first;
    ar_jnode *n = ar__j_node(p, AR_N_TUPLE), **tail = n ? &n->list : NULL;
    if (!n || (first && !ar__j_append(n, &tail, first))) return NULL;
    while (!ar__j_sees(p, AR_L_BRACKET_END))
        if (!ar__j_expect(p, AR_L_COMMA) || !ar__j_append(n, &tail, index_of(p))) return NULL;
    return n;
}

static ar_jnode *member(ar_jparser *p, ar_jnode *of) {
    if (ar__j_skip(p, AR_L_BRACKET)) {
        ar_jnode *n = ar__j_join(p, AR_N_ITEM, of, indices(p));
        return n && n->b && ar__j_expect(p, AR_L_BRACKET_END) ? n : NULL;
    }
    p->at++; /* . */
    if (ar__j_sees(p, AR_L_INT)) return ar__j_join(p, AR_N_ITEM, of, primary(p, false));
    ar_jnode *n = ar__j_join(p, AR_N_ATTR, of, NULL);
    return n && ar__j_name(p, n) ? n : NULL;
}

static ar_jnode *postfix(ar_jparser *p, ar_jnode *n) {
    while (n && (ar__j_sees(p, AR_L_DOT) || ar__j_sees(p, AR_L_BRACKET) || ar__j_sees(p, AR_L_PAREN)))
        n = ar__j_sees(p, AR_L_PAREN) ? call(p, n) : member(p, n);
    return n;
}

/* The name of a filter or test, which may have dots. */
static bool dotted(ar_jparser *p, ar_jnode *n) {
    const char *from = ar__j_now(p)->text;
    if (!ar__j_name(p, n)) return false;
    while (ar__j_skip(p, AR_L_DOT)) {
        const ar_jtoken *t = ar__j_now(p);
        if (!ar__j_expect(p, AR_L_NAME)) return false;
        n->name = ar__jpool_take(&p->t->pool, sizeof *n->name);
        if (!n->name) return ar__j_parse_fail(p, "memory ran out");
        *n->name = (ar_jstr){.data = from, .size = (size_t)(t->text + t->size - from), .points = -1};
    }
    return true;
}

ar_jnode *ar__j_filters(ar_jparser *p, ar_jnode *in, bool begun) {
    ar_jnode *n = in;
    while (begun || ar__j_skip(p, AR_L_PIPE)) {
        begun = false;
        n = ar__j_join(p, AR_N_FILTER, n, NULL);
        if (!n || !dotted(p, n)) return NULL;
        n->call = ar__j_filter_find(n->name->data, n->name->size);
        if (!n->call && !p->soft) return ar__j_parse_fail(p, "there is no filter '%.*s'", (int)n->name->size, n->name->data);
        if (ar__j_sees(p, AR_L_PAREN) && !arguments(p, n)) return NULL;
    }
    return n;
}

/* Whether what follows is the argument of a test, which needs no brackets. */
static bool sees_argument(const ar_jparser *p) {
    switch (ar__j_now(p)->kind) {
    case AR_L_NAME: return !ar__j_sees_name(p, "else") && !ar__j_sees_name(p, "or") && !ar__j_sees_name(p, "and");
    case AR_L_STRING:
    case AR_L_INT:
    case AR_L_FLOAT:
    case AR_L_BRACKET:
    case AR_L_BRACE: return true;
    default: return false;
    }
}

static bool test_arguments(ar_jparser *p, ar_jnode *n) {
    if (ar__j_sees(p, AR_L_PAREN)) return arguments(p, n);
    if (!sees_argument(p)) return true;
    if (ar__j_sees_name(p, "is")) return ar__j_parse_fail(p, "found 'is' behind a test, wanted no chain of them");
    ar_jnode *one = ar__j_node(p, AR_N_ARG), **tail = &n->list;
    if (!one || !(one->a = postfix(p, primary(p, false)))) return false;
    return ar__j_append(n, &tail, one);
}

static ar_jnode *test(ar_jparser *p, ar_jnode *in) {
    p->at++; /* is */
    bool negated = ar__j_skip_name(p, "not");
    ar_jnode *n = ar__j_join(p, AR_N_TEST, in, NULL);
    if (!n || !dotted(p, n)) return NULL;
    n->call = ar__j_test_find(n->name->data, n->name->size);
    if (!n->call && !p->soft) return ar__j_parse_fail(p, "there is no test '%.*s'", (int)n->name->size, n->name->data);
    if (!test_arguments(p, n)) return NULL;
    return negated ? ar__j_join(p, AR_N_NOT, n, NULL) : n;
}

static ar_jnode *filters_and_tests(ar_jparser *p, ar_jnode *n) {
    for (;;) {
        if (!n) return NULL;
        if (ar__j_sees(p, AR_L_PIPE))
            n = ar__j_filters(p, n, false);
        else if (ar__j_sees_name(p, "is"))
            n = test(p, n);
        else if (ar__j_sees(p, AR_L_PAREN))
            n = call(p, n);
        else
            return n;
    }
}

/* ---- operators ---------------------------------------------------------------------------------------------------*/

static bool deeper(ar_jparser *p) {
    if (p->depth < AR_J_NESTING) return ++p->depth;
    return ar__j_parse_fail(p, "expressions are nested more than %d deep", AR_J_NESTING);
}

static ar_jnode *unary(ar_jparser *p, bool filters) {
    ar_jkind kind = ar__j_sees(p, AR_L_SUB) ? AR_N_NEG : ar__j_sees(p, AR_L_ADD) ? AR_N_POS : AR_N_CONST;
    ar_jnode *n;
    if (!deeper(p)) return NULL;
    if (kind == AR_N_CONST) {
        n = primary(p, false);
    } else {
        p->at++;
        n = ar__j_join(p, kind, unary(p, false), NULL);
    }
    p->depth--;
    n = postfix(p, n);
    return filters ? filters_and_tests(p, n) : n;
}

/* Operators of one rank, from the left. */
typedef struct rank {
    ar_jnode *(*operand)(ar_jparser *);
    struct {
        ar_jlexeme lexeme;
        ar_jop op;
    } of[4];
    int count;
} rank;

static ar_jnode *chain(ar_jparser *p, const rank *r) {
    ar_jnode *n = r->operand(p);
    for (int i = 0; n && i < r->count;) {
        if (!ar__j_skip(p, r->of[i].lexeme)) {
            i++;
            continue;
        }
        n = ar__j_join(p, AR_N_BINARY, n, r->operand(p));
        if (!n || !n->b) return NULL;
        n->op = (int)r->of[i].op;
        i = 0;
    }
    return n;
}

static ar_jnode *filtered(ar_jparser *p) { return unary(p, true); }

static ar_jnode *power(ar_jparser *p) {
    static const rank r = {filtered, {{AR_L_POW, AR_OP_POW}}, 1};
    return chain(p, &r);
}

static ar_jnode *product(ar_jparser *p) {
    static const rank r = {
        power, {{AR_L_MUL, AR_OP_MUL}, {AR_L_DIV, AR_OP_DIV}, {AR_L_FLOORDIV, AR_OP_FLOORDIV}, {AR_L_MOD, AR_OP_MOD}}, 4};
    return chain(p, &r);
}

static ar_jnode *joined(ar_jparser *p) {
    ar_jnode *first = product(p);
    if (!first || !ar__j_sees(p, AR_L_TILDE)) return first;
    ar_jnode *n = ar__j_node(p, AR_N_CONCAT), **tail = n ? &n->list : NULL;
    if (!n || !ar__j_append(n, &tail, first)) return NULL;
    while (ar__j_skip(p, AR_L_TILDE))
        if (!ar__j_append(n, &tail, product(p))) return NULL;
    return n;
}

static ar_jnode *sum(ar_jparser *p) {
    static const rank r = {joined, {{AR_L_ADD, AR_OP_ADD}, {AR_L_SUB, AR_OP_SUB}}, 2};
    return chain(p, &r);
}

static bool skip_comparison(ar_jparser *p, int *op) {
    if (ar__j_now(p)->kind >= AR_L_EQ && ar__j_now(p)->kind <= AR_L_GE) {
        *op = (int)AR_OP_EQ + (int)(ar__j_now(p)->kind - AR_L_EQ);
        p->at++;
        return true;
    }
    *op = AR_OP_IN;
    if (ar__j_skip_name(p, "in")) return true;
    if (!ar__j_sees_name(p, "not")) return false;
    p->at++;
    *op = AR_OP_NOT_IN;
    if (ar__j_skip_name(p, "in")) return true;
    p->at--;
    return false;
}

static ar_jnode *compare(ar_jparser *p) {
    ar_jnode *first = sum(p), *n = NULL, **tail = NULL;
    int op;
    while (first && !p->failed && skip_comparison(p, &op)) {
        if (!n) {
            n = ar__j_join(p, AR_N_COMPARE, first, NULL);
            if (!n) return NULL;
            tail = &n->list;
        }
        ar_jnode *operand = ar__j_join(p, AR_N_OPERAND, sum(p), NULL);
        if (!ar__j_append(n, &tail, operand)) return NULL;
        operand->op = op;
    }
    return n ? n : first;
}

static ar_jnode *not_(ar_jparser *p) {
    if (!ar__j_skip_name(p, "not")) return compare(p);
    if (!deeper(p)) return NULL;
    ar_jnode *n = ar__j_join(p, AR_N_NOT, not_(p), NULL);
    p->depth--;
    return n;
}

static ar_jnode *and_(ar_jparser *p) {
    ar_jnode *n = not_(p);
    while (n && ar__j_skip_name(p, "and")) {
        n = ar__j_join(p, AR_N_AND, n, not_(p));
        if (n && !n->b) return NULL;
    }
    return n;
}

ar_jnode *ar__j_or(ar_jparser *p) {
    ar_jnode *n = and_(p);
    while (n && ar__j_skip_name(p, "or")) {
        n = ar__j_join(p, AR_N_OR, n, and_(p));
        if (n && !n->b) return NULL;
    }
    return n;
}

/* Behind `if`, unknown filters wait until they are met. */
static bool comes_conditional(const ar_jparser *p) {
    unsigned open = 0;
    for (const ar_jtoken *t = ar__j_now(p); t->kind != AR_L_END && t->kind != AR_L_PRINT_END && t->kind != AR_L_TAG_END; t++) {
        if (t->kind >= AR_L_PAREN) {
            bool opens = (t->kind - AR_L_PAREN) % 2 == 0;
            if (!opens && !open) return false;
            open = opens ? open + 1 : open - 1;
        }
        if (!open && (t->kind == AR_L_COMMA || t->kind == AR_L_COLON)) return false;
        if (!open && t->kind == AR_L_NAME && t->size == 2 && !memcmp(t->text, "if", 2)) return true;
    }
    return false;
}

ar_jnode *ar__j_expression(ar_jparser *p) {
    if (!deeper(p)) return NULL;
    bool soft = p->soft;
    p->soft = soft || comes_conditional(p);
    ar_jnode *n = ar__j_or(p);
    while (n && ar__j_skip_name(p, "if")) {
        ar_jnode *test_ = ar__j_or(p), *cond = test_ ? ar__j_join(p, AR_N_COND, test_, n) : NULL;
        bool other = cond && ar__j_skip_name(p, "else");
        if (other) cond->c = ar__j_expression(p);
        if (!cond || (other && !cond->c)) return NULL;
        if (cond->c && cond->depth <= cond->c->depth) cond->depth = cond->c->depth + 1;
        n = cond;
    }
    p->depth--;
    p->soft = soft;
    return n;
}

/* ---- tuples and targets --------------------------------------------------------------------------------------------*/

static bool ends_tuple(const ar_jparser *p) {
    return ar__j_sees(p, AR_L_PRINT_END) || ar__j_sees(p, AR_L_TAG_END) || ar__j_sees(p, AR_L_PAREN_END);
}

typedef ar_jnode *(*part_of_tuple)(ar_jparser *);

static ar_jnode *plain_part(ar_jparser *p) { return primary(p, false); }
static ar_jnode *target_part(ar_jparser *p) { return primary(p, true); }

static ar_jnode *tuple_of(ar_jparser *p, part_of_tuple part, bool parenthesised) {
    ar_jnode *first = NULL, *n = NULL, **tail = NULL;
    if (!ends_tuple(p)) {
        first = part(p);
        if (!first || !ar__j_sees(p, AR_L_COMMA)) return first;
    } else if (!parenthesised) {
        return ar__j_parse_fail(p, "found nothing, wanted an expression");
    }
    n = ar__j_node(p, AR_N_TUPLE);
    tail = n ? &n->list : NULL;
    if (!n || (first && !ar__j_append(n, &tail, first))) return NULL;
    while (first && ar__j_skip(p, AR_L_COMMA) && !ends_tuple(p))
        if (!ar__j_append(n, &tail, part(p))) return NULL;
    return n;
}

ar_jnode *ar__j_tuple(ar_jparser *p, bool conditional, bool parenthesised) {
    return tuple_of(p, conditional ? ar__j_expression : ar__j_or, parenthesised);
}

static bool sets_loop(const ar_jnode *n) {
    if (n->kind == AR_N_NAME) return n->id == AR_NAME_LOOP;
    for (const ar_jnode *i = n->kind == AR_N_TUPLE ? n->list : NULL; i; i = i->next)
        if (sets_loop(i)) return true;
    return false;
}

static bool is_target(const ar_jnode *n) {
    if (n->kind != AR_N_TUPLE) return n->kind == AR_N_NAME || n->kind == AR_N_NS_ATTR;
    for (const ar_jnode *i = n->list; i; i = i->next)
        if (!is_target(i)) return false;
    return true;
}

ar_jnode *ar__j_target(ar_jparser *p, bool namespaces) {
    ar_jnode *n = tuple_of(p, namespaces ? target_part : plain_part, false);
    if (n && !is_target(n)) return ar__j_parse_fail(p, "found something else where a variable is set, wanted names");
    p->sets_loop = p->sets_loop || (n && sets_loop(n));
    return n;
}

bool ar__j_params(ar_jparser *p, ar_jnode *owner) {
    ar_jnode **tail = &owner->other;
    bool defaults = false;
    if (!ar__j_expect(p, AR_L_PAREN)) return false;
    for (bool first = true; !ar__j_sees(p, AR_L_PAREN_END); first = false) {
        if (!first && !ar__j_expect(p, AR_L_COMMA)) return false;
        ar_jnode *n = ar__j_node(p, AR_N_PARAM);
        if (!n || !ar__j_new_name(p, n)) return false;
        for (const ar_jnode *i = owner->other; i; i = i->next)
            if (i->id == n->id) return ar__j_parse_fail(p, "two parameters have one name");
        if (ar__j_skip(p, AR_L_ASSIGN)) {
            defaults = true;
            if (!(n->a = ar__j_expression(p))) return false;
        } else if (defaults) {
            return ar__j_parse_fail(p, "a parameter without a default follows one with a default");
        }
        if (!ar__j_append(owner, &tail, n)) return false;
    }
    return ar__j_expect(p, AR_L_PAREN_END);
}
