/* One rendering: what it has made so far, its variables, and how much it may still do.
 *
 * Functions that can fail return false (or NULL) once the error is set; nothing is rendered behind it.
 *
 * All text is made in one place, behind what is rendered already: what is to become a string (a macro's result, a set block, a
 * repr) is written there and taken away again.  Since that nests, no other buffer is needed.
 *
 *     out.text:  rendered … | what a macro wrote … | its repr of a list …
 *                           ^ start of the macro   ^ start of the repr */
#ifndef AR_TEXT_TEMPLATE_RUN_H
#define AR_TEXT_TEMPLATE_RUN_H

#include "text/template/node.h"
#include "text/template/pool.h"
#include "text/template/template.h"

enum { AR_J_MEMORY = 24 << 20, AR_J_STEPS = 20 << 20, AR_J_DEPTH = 400, AR_J_LONGEST_RANGE = 100000 };

typedef struct ar_jvar {
    uint32_t id;
    ar_jvalue value;
} ar_jvar;

typedef struct ar_jscope ar_jscope;
struct ar_jscope {
    ar_jscope *parent;
    ar_jvar *var;
    size_t count, cap;
    bool kept; /* a macro holds on to it */
};

struct ar_template {
    ar_jpool pool;
    char *source;
    ar_jnode *body;
    ar_jstr **name;                /* by id */
    const ar_jfunction **function; /* by id: what every template has of that name; NULL: nothing */
    size_t name_count, name_cap;
    bool generation;
    uint32_t *late; /* names that the template sets before it reads them: until then they are undefined */
    size_t late_count, late_cap;
    ar_jstr **written; /* texts and string literals */
    size_t written_count, written_cap;
};

typedef struct ar_jinja {
    const ar_template *t;
    ar_jpool pool;
    ar_rendered *out;
    ar_jscope *scope;
    ar_jvalue *global; /* by name; ABSENT: none */
    time_t now;
    size_t steps; /* that are left */
    unsigned depth;
    uint32_t line;
    uint8_t generation; /* AR_LEARNED inside such a block */
    bool folding;       /* what is printed is known before anything runs */
    int leaving;        /* AR_N_BREAK, AR_N_CONTINUE on the way to the loop; 0 */
    ar_status status;
    ar_error error;
} ar_jinja;

/* ---- errors and bounds -----------------------------------------------------------------------------------------*/

bool ar__j_fail(ar_jinja *j, const char *format, ...) AR_PRINTF(2, 3); /* returns false */
bool ar__j_fail_memory(ar_jinja *j);
/* Takes so many steps from those that are left. */
bool ar__j_spend(ar_jinja *j, size_t steps);
bool ar__j_spend_on(ar_jinja *j, ar_jvalue v); /* for going through it, where it is a string */
/* Zeroed memory of the rendering. */
void *ar__j_new(ar_jinja *j, size_t count, size_t size);

/* ---- strings ---------------------------------------------------------------------------------------------------*/

void ar__j_put(ar_jinja *j, const char *text, size_t n, uint8_t mark); /* fails late: by ar__j_take or at the end */
void ar__j_puts(ar_jinja *j, const char *text);                        /* the template's own */
void ar__j_put_str(ar_jinja *j, const ar_jstr *s);
void ar__j_put_times(ar_jinja *j, const ar_jstr *s, int64_t times); /* none where times is not above 0 */
void ar__j_put_part(ar_jinja *j, const ar_jstr *s, size_t from, size_t to);
/* Where something begins that will be taken. */
static inline size_t ar__j_here(const ar_jinja *j) { return j->out->text.len; }
ar_jstr *ar__j_take(ar_jinja *j, size_t start);
bool ar__j_take_value(ar_jvalue *out, ar_jinja *j, size_t start);

ar_jstr *ar__j_text(ar_jinja *j, const char *text, size_t n); /* copied; the template's own */
/* Bytes [from, to) of s, shared. */
ar_jstr *ar__j_part(ar_jinja *j, const ar_jstr *s, size_t from, size_t to);
int64_t ar__j_points(ar_jstr *s); /* length in code points */
/* The byte at which code point i begins; i within [0, points]. */
size_t ar__j_offset(ar_jstr *s, int64_t i);
bool ar__j_same(const ar_jstr *a, const ar_jstr *b);
bool ar__j_is(const ar_jstr *s, const char *text);
/* The first place at or behind `from` at which `what` stands; SIZE_MAX: none. */
size_t ar__j_find(const ar_jstr *s, const ar_jstr *what, size_t from);
bool ar__j_is_space(uint32_t point); /* as str.isspace */

/* ---- values ----------------------------------------------------------------------------------------------------*/

ar_jvalue ar__j_undefined(ar_jstr *of, uint32_t how);
bool ar__j_fail_undefined(ar_jinja *j, ar_jvalue v);
const char *ar__j_type_name(ar_jvalue v); /* as Python calls it: 'dict' */
bool ar__j_truth(ar_jvalue v);

ar_jlist *ar__j_list_new(ar_jinja *j, size_t cap);
bool ar__j_list_add(ar_jinja *j, ar_jlist *list, ar_jvalue v);
ar_jvalue ar__j_list_value(ar_jlist *list, ar_jtype type);

ar_jdict *ar__j_dict_new(ar_jinja *j);
ar_jvalue *ar__j_dict_find(ar_jinja *j, const ar_jdict *d, ar_jvalue key); /* NULL: not there, or an error (status) */
bool ar__j_dict_set(ar_jinja *j, ar_jdict *d, ar_jvalue key, ar_jvalue v);
ar_jvalue *ar__j_dict_find_text(const ar_jdict *d, const char *text, size_t n);
/* Fails unless the value may be a key. */
bool ar__j_check_key(ar_jinja *j, ar_jvalue v);

/* The members of an object become the variables that the template names. */
bool ar__j_take_values(ar_jinja *j, const json_t *values);

bool ar__j_equal(ar_jinja *j, ar_jvalue a, ar_jvalue b);
bool ar__j_compare(bool *out, ar_jinja *j, ar_jop op, ar_jvalue a, ar_jvalue b); /* ==, <, in, … */
bool ar__j_contains(bool *out, ar_jinja *j, ar_jvalue where, ar_jvalue what);
bool ar__j_binary(ar_jvalue *out, ar_jinja *j, ar_jop op, ar_jvalue a, ar_jvalue b);
bool ar__j_negate(ar_jvalue *out, ar_jinja *j, ar_jvalue v, bool negate);
bool ar__j_length(int64_t *out, ar_jinja *j, ar_jvalue v);

/* Going through what can be gone through. */
typedef struct ar_jwalk {
    ar_jvalue of;
    size_t at;
} ar_jwalk;
bool ar__j_walk(ar_jwalk *out, ar_jinja *j, ar_jvalue v);  /* fails for what cannot */
bool ar__j_next(ar_jvalue *out, ar_jinja *j, ar_jwalk *w); /* false at the end, and on an error (status) */
bool ar__j_can_walk(ar_jvalue v);
/* All of it as a new list. */
ar_jlist *ar__j_gather(ar_jinja *j, ar_jvalue v);

/* Writes str(v), repr(v). */
bool ar__j_put_value(ar_jinja *j, ar_jvalue v);
bool ar__j_put_repr(ar_jinja *j, ar_jvalue v);
ar_jstr *ar__j_str(ar_jinja *j, ar_jvalue v); /* str(v) */
void ar__j_put_float(ar_jinja *j, double f);
void ar__j_put_int(ar_jinja *j, int64_t i);

/* ---- running ---------------------------------------------------------------------------------------------------*/

/* What a call is given. */
typedef struct ar_jargs {
    ar_jvalue *plain;
    size_t count;
    ar_jpair *named; /* keys are strings */
    size_t named_count;
} ar_jargs;

/* Puts the arguments in the order of names ("width,first,blank"), ABSENT where not given; at least `needed` of them are wanted. */
bool ar__j_bind(ar_jvalue *out, ar_jinja *j, const char *what, const ar_jargs *args, const char *names, size_t needed);
/* Of bound arguments; absent leaves *out alone. */
bool ar__j_arg_int(int64_t *out, ar_jinja *j, const char *what, ar_jvalue v);
bool ar__j_arg_str(ar_jstr **out, ar_jinja *j, const char *what, ar_jvalue v);

typedef struct ar_jfilter {
    const char *name;
    bool (*run)(ar_jvalue *out, ar_jinja *j, ar_jvalue in, const ar_jargs *args);
} ar_jfilter;

typedef struct ar_jtest {
    const char *name;
    bool (*run)(bool *out, ar_jinja *j, ar_jvalue in, const ar_jargs *args);
} ar_jtest;

struct ar_jfunction {
    const char *name;
    bool (*run)(ar_jvalue *out, ar_jinja *j, const ar_jargs *args);
};

struct ar_jmethod {
    ar_jvalue self;
    const char *name;
    bool (*run)(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jargs *args);
};

struct ar_jmacro {
    const ar_jnode *node; /* MACRO, or the CALL_BLOCK or GENERATION whose body this is */
    ar_jscope *scope;     /* where it was made */
};

const ar_jfilter *ar__j_filter_find(const char *name, size_t n); /* NULL: none */
const ar_jtest *ar__j_test_find(const char *name, size_t n);
const ar_jfunction *ar__j_function_find(const ar_jstr *name);
/* A method of the value; *out stays ABSENT where it has none of that name. */
bool ar__j_method(ar_jvalue *out, ar_jinja *j, ar_jvalue self, const ar_jstr *name);

bool ar__j_eval(ar_jvalue *out, ar_jinja *j, const ar_jnode *n);
bool ar__j_eval_args(ar_jargs *out, ar_jinja *j, const ar_jnode *list);
bool ar__j_run(ar_jinja *j, const ar_jnode *body); /* false on break and continue as well */
bool ar__j_call(ar_jvalue *out, ar_jinja *j, ar_jvalue callee, const ar_jargs *args);
bool ar__j_call_macro(ar_jvalue *out, ar_jinja *j, const ar_jmacro *m, const ar_jargs *args);
bool ar__j_call_loop(ar_jvalue *out, ar_jinja *j, ar_jloop *loop, const ar_jargs *args);
bool ar__j_loop_member(ar_jvalue *out, ar_jinja *j, ar_jloop *loop, const ar_jstr *name);

/* x.name and x[key]. */
bool ar__j_attribute(ar_jvalue *out, ar_jinja *j, ar_jvalue of, ar_jstr *name);
bool ar__j_item(ar_jvalue *out, ar_jinja *j, ar_jvalue of, ar_jvalue key);
bool ar__j_slice(ar_jvalue *out, ar_jinja *j, ar_jvalue of, const ar_jvalue part[3]);

/* "%s" % values and "{}".format(values). */
bool ar__j_percent(ar_jvalue *out, ar_jinja *j, ar_jstr *format, ar_jvalue values);
bool ar__j_format(ar_jvalue *out, ar_jinja *j, ar_jstr *format, const ar_jargs *args);

#endif
