/* The values of a template: Python's, as far as a template can tell.
 *
 * Everything lives in the pool of the template or of one rendering and is freed with it; values are copied freely.  Strings are UTF-8, know
 * where their bytes came from, and share bytes with the strings that they were cut from. */
#ifndef AR_TEXT_TEMPLATE_VALUE_H
#define AR_TEXT_TEMPLATE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ar_jtype {
    AR_J_ABSENT, /* an argument that was not given; no template sees one */
    AR_J_UNDEFINED,
    AR_J_NONE,
    AR_J_BOOL,
    AR_J_INT,
    AR_J_FLOAT,
    AR_J_STRING,
    AR_J_LIST,
    AR_J_TUPLE,
    AR_J_STREAM, /* a generator: read once */
    AR_J_RANGE,
    AR_J_DICT,
    AR_J_VIEW, /* d.keys(), d.values(), d.items() */
    AR_J_NAMESPACE,
    AR_J_MACRO,
    AR_J_FUNCTION,
    AR_J_METHOD,
    AR_J_LOOP,
    AR_J_JOINER,
    AR_J_CYCLER
} ar_jtype;

/* Why something is undefined: a variable, no element or attribute of a value (of its type, added), or what s says. */
enum ar_jmissing { AR_J_NO_VARIABLE, AR_J_SAYS, AR_J_NO_MEMBER };

typedef struct ar_jstr {
    const char *data;
    size_t size;
    const uint8_t *marks; /* of each byte; NULL: `mark` of all */
    int64_t points;       /* code points; -1: not counted yet */
    uint8_t mark;
    bool markup; /* Markup: escaped already */
} ar_jstr;

typedef struct ar_jlist ar_jlist;
typedef struct ar_jdict ar_jdict;
typedef struct ar_jrange ar_jrange;
typedef struct ar_jview ar_jview;
typedef struct ar_jmethod ar_jmethod;
typedef struct ar_jmacro ar_jmacro;
typedef struct ar_jloop ar_jloop;
typedef struct ar_jcycler ar_jcycler;
typedef struct ar_jfunction ar_jfunction;

typedef struct ar_jvalue {
    ar_jtype type;
    uint32_t of; /* UNDEFINED: how it came about (ar_jmissing) */
    union {
        bool b;
        int64_t i;
        double f;
        ar_jstr *s;                   /* STRING; UNDEFINED: of what, or NULL */
        ar_jlist *list;               /* LIST, TUPLE, STREAM */
        ar_jdict *dict;               /* DICT, NAMESPACE */
        ar_jrange *range;             /* RANGE */
        ar_jview *view;               /* VIEW */
        ar_jmethod *method;           /* METHOD */
        ar_jmacro *macro;             /* MACRO */
        ar_jloop *loop;               /* LOOP */
        ar_jcycler *cycler;           /* CYCLER, JOINER */
        const ar_jfunction *function; /* FUNCTION */
    };
} ar_jvalue;

struct ar_jlist {
    ar_jvalue *item;
    size_t count, cap;
    size_t read;        /* STREAM: so many are consumed */
    const char *failed; /* STREAM: what went wrong behind the last item; NULL: nothing */
    bool grouped;       /* TUPLE of groupby: its two items have names */
};

typedef struct ar_jpair {
    ar_jvalue key, value;
} ar_jpair;

struct ar_jdict { /* in order of insertion */
    ar_jpair *pair;
    size_t count, cap;
    uint32_t *slot; /* of a large one: 1 + index by hash of the key */
    size_t slots;
};

struct ar_jrange {
    int64_t start, stop, step;
    size_t count;
};

typedef enum ar_jview_kind { AR_J_KEYS, AR_J_VALUES, AR_J_ITEMS } ar_jview_kind;

struct ar_jview {
    ar_jdict *dict;
    ar_jview_kind kind;
};

struct ar_jcycler {
    ar_jvalue *item; /* JOINER: the separator */
    size_t count, at;
};

static inline ar_jvalue ar__j_none(void) { return (ar_jvalue){.type = AR_J_NONE}; }
static inline ar_jvalue ar__j_bool(bool b) { return (ar_jvalue){.type = AR_J_BOOL, .b = b}; }
static inline ar_jvalue ar__j_int(int64_t i) { return (ar_jvalue){.type = AR_J_INT, .i = i}; }
static inline ar_jvalue ar__j_float(double f) { return (ar_jvalue){.type = AR_J_FLOAT, .f = f}; }
static inline ar_jvalue ar__j_string(ar_jstr *s) { return (ar_jvalue){.type = AR_J_STRING, .s = s}; }

static inline bool ar__j_is_integer(ar_jvalue v) { return v.type == AR_J_INT || v.type == AR_J_BOOL; }
static inline bool ar__j_is_number(ar_jvalue v) { return ar__j_is_integer(v) || v.type == AR_J_FLOAT; }
static inline int64_t ar__j_as_int(ar_jvalue v) { return v.type == AR_J_BOOL ? v.b : v.i; }
static inline double ar__j_as_float(ar_jvalue v) { return v.type == AR_J_FLOAT ? v.f : (double)ar__j_as_int(v); }
static inline bool ar__j_is_sequence(ar_jvalue v) { return v.type == AR_J_LIST || v.type == AR_J_TUPLE; }

#endif
