/* Python's arithmetic: + joins strings and lists, * repeats them, // and % round down, % formats. */
#include <math.h>
#include <string.h>

#include "text/template/markup.h"
#include "text/template/run.h"

static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};

static bool unsuited(ar_jinja *j, ar_jop op, ar_jvalue a, ar_jvalue b) {
    if (a.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, a);
    if (b.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, b);
    return ar__j_fail(j, "'%s' does not stand between %s and %s", signs[op], ar__j_type_name(a), ar__j_type_name(b));
}

static bool too_large(ar_jinja *j) { return ar__j_fail(j, "makes an integer of more than 64 bits, which is not supported"); }

/* ---- numbers ---------------------------------------------------------------------------------------------------*/

static bool power_int(ar_jvalue *out, ar_jinja *j, int64_t base, int64_t exponent) {
    int64_t result = 1;
    if (exponent < 0) {
        if (!base) return ar__j_fail(j, "0 cannot be raised to a negative power");
        *out = ar__j_float(pow((double)base, (double)exponent));
        return true;
    }
    while (exponent) {
        if (exponent & 1 && __builtin_mul_overflow(result, base, &result)) return too_large(j);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base)) return too_large(j);
    }
    *out = ar__j_int(result);
    return true;
}

/* a / b, rounded once: integers past 2^53 are not rounded before they are divided. */
static double quotient_of(int64_t a, int64_t b) {
    uint64_t n = a < 0 ? -(uint64_t)a : (uint64_t)a, d = b < 0 ? -(uint64_t)b : (uint64_t)b;
    if ((n | d) >> 53 == 0 || !n) return (double)a / (double)b;
    int up = __builtin_clzll(n);
    __extension__ typedef unsigned __int128 wide;
    wide top = (wide)(n << up) << 64;
    double q = ldexp((double)(top / d | (top % d != 0)), -64 - up); /* 63 bits or more; the last one says whether a rest remains */
    return (a < 0) != (b < 0) ? -q : q;
}

static bool divide_int(ar_jvalue *out, ar_jinja *j, ar_jop op, int64_t a, int64_t b) {
    if (!b) return ar__j_fail(j, "division by zero");
    if (op == AR_OP_DIV) {
        *out = ar__j_float(quotient_of(a, b));
        return true;
    }
    if (b == -1) { /* INT64_MIN / -1 */
        if (op == AR_OP_FLOORDIV && a == INT64_MIN) return too_large(j);
        *out = ar__j_int(op == AR_OP_MOD ? 0 : -a);
        return true;
    }
    int64_t quotient = a / b, rest = a % b;
    if (rest && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    *out = ar__j_int(op == AR_OP_MOD ? rest : quotient);
    return true;
}

static bool integers(ar_jvalue *out, ar_jinja *j, ar_jop op, int64_t a, int64_t b) {
    int64_t r = 0;
    bool overflow = false;
    switch (op) {
    case AR_OP_ADD: overflow = __builtin_add_overflow(a, b, &r); break;
    case AR_OP_SUB: overflow = __builtin_sub_overflow(a, b, &r); break;
    case AR_OP_MUL: overflow = __builtin_mul_overflow(a, b, &r); break;
    case AR_OP_POW: return power_int(out, j, a, b);
    default: return divide_int(out, j, op, a, b);
    }
    *out = ar__j_int(r);
    return overflow ? too_large(j) : true;
}

/* The rest has the sign of b; the quotient is what then remains, rounded. */
static void divide_floor(double *quotient, double *rest, double a, double b) {
    double r = fmod(a, b), q = (a - r) / b;
    if (r != 0 && (b < 0) != (r < 0)) {
        r += b;
        q -= 1;
    }
    if (r == 0) r = copysign(0, b);
    double whole = floor(q);
    if (q - whole > 0.5) whole += 1;
    *quotient = q != 0 ? whole : copysign(0, a / b);
    *rest = r;
}

static bool power_float(ar_jvalue *out, ar_jinja *j, double a, double b) {
    if (a == 0 && b < 0) return ar__j_fail(j, "0.0 cannot be raised to a negative power");
    if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b)) return ar__j_fail(j, "makes a complex number, which is not supported");
    double r = pow(a, b);
    if (isinf(r) && isfinite(a) && isfinite(b)) return ar__j_fail(j, "a power is too large");
    *out = ar__j_float(r);
    return true;
}

static bool floats(ar_jvalue *out, ar_jinja *j, ar_jop op, double a, double b) {
    double quotient, rest;
    switch (op) {
    case AR_OP_ADD: *out = ar__j_float(a + b); return true;
    case AR_OP_SUB: *out = ar__j_float(a - b); return true;
    case AR_OP_MUL: *out = ar__j_float(a * b); return true;
    case AR_OP_POW: return power_float(out, j, a, b);
    default: break;
    }
    if (b == 0) return ar__j_fail(j, "division by zero");
    if (op == AR_OP_DIV) {
        *out = ar__j_float(a / b);
        return true;
    }
    divide_floor(&quotient, &rest, a, b);
    *out = ar__j_float(op == AR_OP_MOD ? rest : quotient);
    return true;
}

bool ar__j_negate(ar_jvalue *out, ar_jinja *j, ar_jvalue v, bool negate) {
    if (v.type == AR_J_UNDEFINED) return ar__j_fail_undefined(j, v);
    if (!ar__j_is_number(v)) return ar__j_fail(j, "'%s' does not stand before %s", negate ? "-" : "+", ar__j_type_name(v));
    if (v.type == AR_J_FLOAT)
        *out = ar__j_float(negate ? -v.f : v.f);
    else if (negate && ar__j_as_int(v) == INT64_MIN)
        return too_large(j);
    else
        *out = ar__j_int(negate ? -ar__j_as_int(v) : ar__j_as_int(v));
    return true;
}

/* ---- strings and lists -------------------------------------------------------------------------------------------*/

static bool join_strings(ar_jvalue *out, ar_jinja *j, ar_jstr *a, ar_jstr *b) {
    bool markup = a->markup || b->markup;
    size_t start = ar__j_here(j);
    ar__j_put_escaped(j, a, markup && !a->markup);
    ar__j_put_escaped(j, b, markup && !b->markup);
    if (!ar__j_take_value(out, j, start)) return false;
    out->s->markup = markup;
    return true;
}

static bool add_all(ar_jinja *j, ar_jlist *to, const ar_jlist *from) {
    if (!ar__j_spend(j, from->count)) return false;
    for (size_t i = 0; i < from->count; i++)
        if (!ar__j_list_add(j, to, from->item[i])) return false;
    return true;
}

static bool join_lists(ar_jvalue *out, ar_jinja *j, ar_jvalue a, ar_jvalue b) {
    ar_jlist *l = ar__j_list_new(j, a.list->count + b.list->count);
    if (!l || !add_all(j, l, a.list) || !add_all(j, l, b.list)) return false;
    *out = ar__j_list_value(l, a.type);
    return true;
}

static bool repeat(ar_jvalue *out, ar_jinja *j, ar_jvalue v, int64_t times) {
    if (times < 0) times = 0;
    if (v.type == AR_J_STRING) {
        size_t start = ar__j_here(j);
        ar__j_put_times(j, v.s, times);
        if (!ar__j_take_value(out, j, start)) return false;
        out->s->markup = v.s->markup;
        return true;
    }
    ar_jlist *l = ar__j_list_new(j, 0);
    for (int64_t i = 0; l && v.list->count && i < times; i++)
        if (!add_all(j, l, v.list)) return false;
    if (l) *out = ar__j_list_value(l, v.type);
    return l != NULL;
}

static bool repeats(ar_jvalue v) { return v.type == AR_J_STRING || ar__j_is_sequence(v); }

bool ar__j_binary(ar_jvalue *out, ar_jinja *j, ar_jop op, ar_jvalue a, ar_jvalue b) {
    if (ar__j_is_number(a) && ar__j_is_number(b)) {
        if (a.type == AR_J_FLOAT || b.type == AR_J_FLOAT) return floats(out, j, op, ar__j_as_float(a), ar__j_as_float(b));
        return integers(out, j, op, ar__j_as_int(a), ar__j_as_int(b));
    }
    if (op == AR_OP_ADD && a.type == AR_J_STRING && b.type == AR_J_STRING) return join_strings(out, j, a.s, b.s);
    if (op == AR_OP_ADD && ar__j_is_sequence(a) && a.type == b.type) return join_lists(out, j, a, b);
    if (op == AR_OP_MUL && repeats(a) && ar__j_is_integer(b)) return repeat(out, j, a, ar__j_as_int(b));
    if (op == AR_OP_MUL && repeats(b) && ar__j_is_integer(a)) return repeat(out, j, b, ar__j_as_int(a));
    if (op == AR_OP_MOD && a.type == AR_J_STRING) return ar__j_percent(out, j, a.s, b);
    return unsuited(j, op, a, b);
}
