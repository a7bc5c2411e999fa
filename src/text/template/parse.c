/* Statements, and what both parsers use. */
#include "text/template/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/utf8.h"
#include "text/template/frame.h"

/* ---- tokens and nodes ----------------------------------------------------------------------------------------------*/

void *ar__j_parse_fail(ar_jparser *p, const char *format, ...) {
    char what[300];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (!p->failed) ar__fail(p->err, AR_ERR_FORMAT, "line %u: %s", (unsigned)ar__j_now(p)->line, what);
    p->failed = true;
    return NULL;
}

bool ar__j_sees_name(const ar_jparser *p, const char *name) {
    const ar_jtoken *t = ar__j_now(p);
    return t->kind == AR_L_NAME && t->size == strlen(name) && !memcmp(t->text, name, t->size);
}

bool ar__j_skip(ar_jparser *p, ar_jlexeme kind) {
    bool there = ar__j_sees(p, kind);
    p->at += there;
    return there;
}

bool ar__j_skip_name(ar_jparser *p, const char *name) {
    bool there = ar__j_sees_name(p, name);
    p->at += there;
    return there;
}

static const char *wanted(ar_jlexeme kind) {
    switch (kind) {
    case AR_L_NAME: return "a name";
    case AR_L_TAG_END: return "%}";
    case AR_L_PRINT_END: return "}}";
    case AR_L_PAREN: return "(";
    case AR_L_PAREN_END: return ")";
    case AR_L_BRACKET_END: return "]";
    case AR_L_BRACE_END: return "}";
    case AR_L_COMMA: return "','";
    case AR_L_COLON: return "':'";
    case AR_L_ASSIGN: return "'='";
    default: return "something else";
    }
}

bool ar__j_expect(ar_jparser *p, ar_jlexeme kind) {
    if (ar__j_skip(p, kind)) return true;
    const ar_jtoken *t = ar__j_now(p);
    if (t->kind == AR_L_PRINT_END || t->kind == AR_L_TAG_END || t->kind == AR_L_END)
        return ar__j_parse_fail(p, "found the end, wanted %s", wanted(kind));
    return ar__j_parse_fail(p, "found '%.*s', wanted %s", (int)(t->size < 40 ? t->size : 40), t->text, wanted(kind));
}

ar_jnode *ar__j_node(ar_jparser *p, ar_jkind kind) {
    ar_jnode *n = ar__jpool_take(&p->t->pool, sizeof *n);
    if (!n) return ar__j_parse_fail(p, "memory ran out");
    n->kind = kind;
    n->line = ar__j_now(p)->line;
    n->depth = 1;
    return n;
}

ar_jnode *ar__j_join(ar_jparser *p, ar_jkind kind, ar_jnode *a, ar_jnode *b) {
    if (p->failed) return NULL;
    ar_jnode *n = ar__j_node(p, kind);
    if (!n) return NULL;
    n->a = a;
    n->b = b;
    if (a) n->depth = a->depth + 1;
    if (b && b->depth >= n->depth) n->depth = b->depth + 1;
    if (n->depth > AR_J_TREE_DEPTH) return ar__j_parse_fail(p, "an expression has more than %d operators in a row", AR_J_TREE_DEPTH);
    return n;
}

bool ar__j_append(ar_jnode *owner, ar_jnode ***tail, ar_jnode *one) {
    if (!one) return false;
    **tail = one;
    *tail = &one->next;
    if (one->depth >= owner->depth) owner->depth = one->depth + 1;
    return true;
}

static int64_t intern(ar_template *t, const char *text, size_t n) {
    for (size_t i = 0; i < t->name_count; i++)
        if (t->name[i]->size == n && !memcmp(t->name[i]->data, text, n)) return (int64_t)i;
    ar_jstr **grown = ar__jpool_grow(&t->pool, t->name, &t->name_cap, t->name_count + 1, sizeof(ar_jstr *));
    ar_jstr *s = grown ? ar__jpool_take(&t->pool, sizeof *s) : NULL;
    if (!s) return -1;
    *s = (ar_jstr){.data = text, .size = n, .points = -1};
    t->name = grown;
    t->name[t->name_count] = s;
    return (int64_t)t->name_count++;
}

bool ar__j_name(ar_jparser *p, ar_jnode *n) {
    const ar_jtoken *t = ar__j_now(p);
    if (!ar__j_expect(p, AR_L_NAME)) return false;
    int64_t id = intern(p->t, t->text, t->size);
    if (id < 0) return ar__j_parse_fail(p, "memory ran out");
    n->id = (uint32_t)id;
    n->name = p->t->name[id];
    return true;
}

bool ar__j_new_name(ar_jparser *p, ar_jnode *n) {
    static const char *const words[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (ar__j_sees_name(p, words[i])) return ar__j_parse_fail(p, "'%s' is no name that can be given", words[i]);
    return ar__j_name(p, n);
}

bool ar__j_note_written(ar_jparser *p, ar_jstr *s) {
    ar_template *t = p->t;
    ar_jstr **grown = ar__jpool_grow(&t->pool, t->written, &t->written_cap, t->written_count + 1, sizeof(ar_jstr *));
    if (!grown) return false;
    t->written = grown;
    t->written[t->written_count++] = s;
    return true;
}

/* ---- statements ----------------------------------------------------------------------------------------------------*/

static bool statements(ar_jparser *p, ar_jnode *owner, ar_jnode **to, const char *const *ends);

/* The body up to one of the tags named, which stays; [soft] tells how unknown filters in it are taken. */
static bool body(ar_jparser *p, ar_jnode *owner, ar_jnode **to, bool soft, const char *const *ends) {
    bool was = p->soft;
    p->soft = soft;
    ar__j_skip(p, AR_L_COLON);
    bool ok = ar__j_expect(p, AR_L_TAG_END) && statements(p, owner, to, ends);
    p->soft = was;
    return ok;
}

#define ENDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A body whose one end is taken. */
static ar_jnode *whole(ar_jparser *p, ar_jnode *n, const char *end) {
    if (!n || !body(p, n, &n->list, false, ENDS(end))) return NULL;
    p->at++;
    return n;
}

/* A body of its own, which no break leaves. */
static ar_jnode *function_body(ar_jparser *p, ar_jnode *n, const char *end) {
    bool in_loop = p->in_loop;
    p->in_loop = false;
    n = whole(p, n, end);
    p->in_loop = in_loop;
    return n;
}

static ar_jnode *if_(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_IF);
    bool soft = p->soft;
    p->soft = true;
    p->at++;
    bool ok = n && (n->a = ar__j_tuple(p, false, false)) && body(p, n, &n->list, true, ENDS("elif", "else", "endif"));
    p->soft = soft;
    if (!ok) return NULL;
    if (ar__j_sees_name(p, "elif")) {
        if (p->depth >= AR_J_NESTING) return ar__j_parse_fail(p, "more than %d branches", AR_J_NESTING);
        p->depth++;
        n->other = if_(p);
        p->depth--;
        return n->other ? n : NULL;
    }
    if (ar__j_skip_name(p, "else") && !body(p, n, &n->other, true, ENDS("endif"))) return NULL;
    p->at++;
    return n;
}

static ar_jnode *for_(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_FOR);
    p->sets_loop = false;
    p->at++;
    if (!n || !(n->a = ar__j_target(p, false))) return NULL;
    if (!ar__j_skip_name(p, "in")) return ar__j_parse_fail(p, "wanted 'in' behind the variable of a for");
    if (!(n->b = ar__j_tuple(p, false, false))) return NULL;
    if (ar__j_skip_name(p, "if") && !(n->c = ar__j_expression(p))) return NULL;
    n->op = ar__j_skip_name(p, "recursive");
    bool in_loop = p->in_loop;
    p->in_loop = true;
    if (!body(p, n, &n->list, false, ENDS("endfor", "else"))) return NULL;
    p->in_loop = in_loop;
    if (p->sets_loop) return ar__j_parse_fail(p, "'loop' is set inside a for, where it has a meaning of its own");
    if (ar__j_skip_name(p, "else") && !body(p, n, &n->other, false, ENDS("endfor"))) return NULL;
    p->at++;
    return n;
}

static ar_jnode *set(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_SET);
    p->at++;
    if (!n || !(n->a = ar__j_target(p, true))) return NULL;
    if (ar__j_skip(p, AR_L_ASSIGN)) return (n->b = ar__j_tuple(p, true, false)) ? n : NULL;
    n->kind = AR_N_SET_BLOCK;
    if (ar__j_sees(p, AR_L_PIPE) && !(n->b = ar__j_filters(p, NULL, false))) return NULL;
    return whole(p, n, "endset");
}

static ar_jnode *macro(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_MACRO);
    int uses = p->uses;
    p->at++;
    p->uses = 0;
    if (!n || !ar__j_new_name(p, n) || !ar__j_params(p, n) || !function_body(p, n, "endmacro")) return NULL;
    n->op = p->uses;
    p->uses |= uses;
    for (const ar_jnode *i = n->other; i; i = i->next)
        if (i->id == AR_NAME_CALLER && !i->a && (n->op & AR_J_USES_CALLER))
            return ar__j_parse_fail(p, "the parameter 'caller' must have a default");
    return n;
}

static ar_jnode *call_block(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_CALL_BLOCK);
    int uses = p->uses;
    p->at++;
    if (!n || (ar__j_sees(p, AR_L_PAREN) && !ar__j_params(p, n)) || !(n->a = ar__j_expression(p))) return NULL;
    if (n->a->kind != AR_N_CALL) return ar__j_parse_fail(p, "found something else behind 'call', wanted a call");
    p->uses = 0;
    if (!function_body(p, n, "endcall")) return NULL;
    n->op = p->uses;
    p->uses |= uses;
    return n;
}

static ar_jnode *filter_block(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_FILTER_BLOCK);
    p->at++;
    if (!n || !(n->a = ar__j_filters(p, NULL, true))) return NULL;
    return whole(p, n, "endfilter");
}

static ar_jnode *with(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_WITH), **tail = n ? &n->other : NULL;
    p->at++;
    for (bool first = true; n && !ar__j_sees(p, AR_L_TAG_END); first = false) {
        ar_jnode *one = ar__j_node(p, AR_N_SET);
        if (!first && !ar__j_expect(p, AR_L_COMMA)) return NULL;
        if (!one || !(one->a = ar__j_target(p, false)) || !ar__j_expect(p, AR_L_ASSIGN) || !(one->b = ar__j_expression(p)) ||
            !ar__j_append(n, &tail, one))
            return NULL;
    }
    return whole(p, n, "endwith");
}

static ar_jnode *generation(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_GENERATION);
    p->at++;
    p->t->generation = true;
    return function_body(p, n, "endgeneration");
}

static ar_jnode *block(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_SCOPE);
    p->at++;
    if (!n || !ar__j_name(p, n)) return NULL;
    ar__j_skip_name(p, "scoped");
    ar__j_skip_name(p, "required");
    ar_jstr *name = n->name;
    if (!whole(p, n, "endblock")) return NULL;
    if (ar__j_sees(p, AR_L_NAME) && ar__j_now(p)->size == name->size && !memcmp(ar__j_now(p)->text, name->data, name->size)) p->at++;
    return n;
}

static ar_jnode *print(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_SCOPE), **tail = n ? &n->list : NULL;
    p->at++;
    for (bool first = true; n && !ar__j_sees(p, AR_L_TAG_END); first = false) {
        ar_jnode *one = ar__j_node(p, AR_N_PRINT);
        if (!first && !ar__j_expect(p, AR_L_COMMA)) return NULL;
        if (!one || !(one->a = ar__j_expression(p)) || !ar__j_append(n, &tail, one)) return NULL;
    }
    return n;
}

static ar_jnode *autoescape(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_SCOPE), *on;
    p->at++;
    if (!n || !(on = ar__j_expression(p))) return NULL;
    if (on->kind != AR_N_CONST || ar__j_truth(on->value)) return ar__j_parse_fail(p, "autoescape is not supported but for false");
    return whole(p, n, "endautoescape");
}

static ar_jnode *leave(ar_jparser *p) {
    if (!p->in_loop) return ar__j_parse_fail(p, "break or continue outside a loop");
    ar_jnode *n = ar__j_node(p, ar__j_sees_name(p, "break") ? AR_N_BREAK : AR_N_CONTINUE);
    p->at++;
    return n;
}

static ar_jnode *statement(ar_jparser *p) {
    static const struct {
        const char *name;
        ar_jnode *(*parse)(ar_jparser *);
    } tags[] = {{"if", if_},
                {"for", for_},
                {"set", set},
                {"macro", macro},
                {"call", call_block},
                {"with", with},
                {"block", block},
                {"filter", filter_block},
                {"print", print},
                {"break", leave},
                {"continue", leave},
                {"generation", generation},
                {"autoescape", autoescape}};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        if (!ar__j_sees_name(p, tags[i].name)) continue;
        if (p->depth >= AR_J_NESTING) return ar__j_parse_fail(p, "tags are nested more than %d deep", AR_J_NESTING);
        p->depth++;
        ar_jnode *n = tags[i].parse(p);
        p->depth--;
        return n && ar__j_expect(p, AR_L_TAG_END) ? n : NULL;
    }
    const ar_jtoken *t = ar__j_now(p);
    return ar__j_parse_fail(p, "unknown tag '%.*s'", (int)(t->size < 40 ? t->size : 40), t->text);
}

static ar_jnode *data(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_DATA);
    ar_jstr *s = ar__jpool_take(&p->t->pool, sizeof *s);
    if (!n || !s || !ar__j_note_written(p, s)) return ar__j_parse_fail(p, "memory ran out");
    *s = (ar_jstr){.data = ar__j_now(p)->text, .size = ar__j_now(p)->size, .points = -1};
    n->value = ar__j_string(s);
    p->at++;
    return n;
}

static ar_jnode *output(ar_jparser *p) {
    ar_jnode *n = ar__j_node(p, AR_N_PRINT);
    p->at++;
    if (!n || !(n->a = ar__j_tuple(p, true, false)) || !ar__j_expect(p, AR_L_PRINT_END)) return NULL;
    n->op = ar__j_is_constant(n->a);
    return n;
}

static bool ends_here(const ar_jparser *p, const char *const *ends) {
    for (size_t i = 0; ends && ends[i]; i++)
        if (ar__j_sees_name(p, ends[i])) return true;
    return false;
}

/* `ends` NULL: up to the end of the template. */
static bool statements(ar_jparser *p, ar_jnode *owner, ar_jnode **to, const char *const *ends) {
    ar_jnode **tail = to;
    while (!ar__j_sees(p, AR_L_END)) {
        ar_jnode *n;
        if (ar__j_skip(p, AR_L_TAG)) {
            if (ends_here(p, ends)) return true;
            n = statement(p);
        } else {
            n = ar__j_sees(p, AR_L_DATA) ? data(p) : output(p);
        }
        if (!n) return false;
        *tail = n;
        tail = &n->next;
    }
    if (!ends) return true;
    return ar__j_parse_fail(p, "found the end of the template, wanted {%% %s %%} for what begins in line %u", ends[0],
                            (unsigned)owner->line);
}

/* ---- whole templates -------------------------------------------------------------------------------------------------*/

/* The source with \n for every newline, without the last one. */
static char *normalised(const char *source, size_t *n) {
    char *out = malloc(*n + 1);
    size_t k = 0;
    for (size_t i = 0; out && i < *n; i++) {
        if (source[i] == '\r' && i + 1 < *n && source[i + 1] == '\n') continue;
        out[k++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (!out) return NULL;
    if (k && out[k - 1] == '\n') k--;
    out[k] = 0;
    *n = k;
    return out;
}

static bool reserve_names(ar_template *t) {
    static const char *const names[AR_NAMES_RESERVED] = {"loop", "caller", "varargs", "kwargs"};
    for (int i = 0; i < AR_NAMES_RESERVED; i++)
        if (intern(t, names[i], strlen(names[i])) != i) return false;
    return true;
}

static bool find_functions(ar_template *t) {
    t->function = ar__jpool_take(&t->pool, (t->name_count + 1) * sizeof(ar_jfunction *));
    for (size_t i = 0; t->function && i < t->name_count; i++) t->function[i] = ar__j_function_find(t->name[i]);
    return t->function != NULL;
}

static ar_status parse(ar_template *t, const char *source, size_t n, ar_error *err) {
    size_t valid = ar__utf8_valid(source, n);
    if (valid != n) return ar__fail(err, AR_ERR_FORMAT, "byte %zu is not UTF-8", valid);
    t->source = normalised(source, &n);
    if (!t->source || !reserve_names(t)) return ar__fail_memory(err, "template");
    ar_jlexer x = {.pool = &t->pool, .s = t->source, .n = n, .err = err};
    ar_status s = ar__j_lex(&x);
    if (s) return s;
    ar_jparser p = {.t = t, .token = x.token, .err = err};
    ar_jnode *root = ar__j_node(&p, AR_N_SCOPE);
    if (!root || !statements(&p, root, &root->list, NULL)) return AR_ERR_FORMAT;
    t->body = root->list;
    if (!find_functions(t)) return ar__fail_memory(err, "template");
    return ar__j_find_late(t) ? AR_OK : ar__fail_memory(err, "template");
}

enum { MAX_SOURCE = 4 << 20, TREE_MEMORY = 256 << 20 };

ar_status ar__template_parse(ar_template **out, const char *source, size_t n, ar_error *err) {
    *out = NULL;
    if (n > MAX_SOURCE) return ar__fail(err, AR_ERR_FORMAT, "found a template of %zu bytes, wanted at most %d", n, (int)MAX_SOURCE);
    ar_template *t = calloc(1, sizeof *t);
    if (!t) return ar__fail_memory(err, "template");
    t->pool.limit = TREE_MEMORY;
    ar_status s = parse(t, source, n, err);
    if (s)
        ar__template_free(t);
    else
        *out = t;
    return s;
}

void ar__template_free(ar_template *t) {
    if (!t) return;
    ar__jpool_release(&t->pool);
    free(t->source);
    free(t);
}

bool ar__template_has_generation(const ar_template *t) { return t->generation; }

bool ar__template_writes(const ar_template *t, const char *text, size_t n) {
    ar_jstr what = {.data = text, .size = n};
    for (size_t i = 0; i < t->written_count; i++)
        if (ar__j_find(t->written[i], &what, 0) != SIZE_MAX) return true;
    return false;
}
