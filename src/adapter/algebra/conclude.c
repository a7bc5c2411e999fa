/* What a person should conclude from a difference: a table of the factors that conversions are known to lose or to apply
 * twice, each tried against every site. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "adapter/algebra/likeness.h"

/* Halves and 8 bits of rounding leave this much: |cosine| within 1 − PARALLEL is the same direction, factors within EQUAL are one. */
#define PARALLEL 1e-3
#define EQUAL 5e-3
#define SAME 1e-5

static double rank_of(const ar_pair *a, const ar_pair *b) {
    (void)b;
    return a->rank;
}
static double scale_of_a(const ar_pair *a, const ar_pair *b) {
    (void)b;
    return a->scale;
}
static double scale_of_b(const ar_pair *a, const ar_pair *b) {
    (void)a;
    return b->scale;
}

static double plain(double x) { return x; }
static double inverse(double x) { return 1 / x; }
static double inverse_root(double x) { return 1 / sqrt(x); }

/* The factor is turn(of(a, b)), written as sign and number ("1/√64") where it is one, by name where it differs.  The first
 * that fits every site counts.  a_is_one, b_is_one: only where that adapter's s is 1, or the reading makes no sense. */
static const struct reason {
    const char *code, *sign, *name, *text;
    double (*of)(const ar_pair *a, const ar_pair *b);
    double (*turn)(double x);
    bool a_is_one, b_is_one;
} reasons[] = {
    {"rslora_lost", "1/√", "1/√r", "has the second lost rsLoRA? (rescale --policy rslora brings it back)", rank_of, inverse_root, 0, 0},
    {"rslora_gained", "√", "√r", "has the first lost rsLoRA, or the second got it by mistake? (rescale --policy)", rank_of, sqrt, 0, 0},
    {"alpha_lost", "1/", "1/s of the first", "the second's s is 1: has it lost its alpha?", scale_of_a, inverse, 0, 1},
    {"alpha_gained", "", "s of the second", "the first's s is 1: has it lost its alpha?", scale_of_b, plain, 1, 0},
    {"rank_not_divided", "", "r", "is alpha not divided by the rank in the second?", rank_of, plain, 0, 0},
    {"rank_divided_twice", "1/", "1/r", "is alpha divided by the rank once too often in the second?", rank_of, inverse, 0, 0},
    {"scale_twice", "", "s of the first", "is s applied twice in the second?", scale_of_a, plain, 0, 0},
    {"scale_once", "1/", "1/s of the second", "is s applied twice in the first?", scale_of_b, inverse, 0, 0},
};

static bool near(double x, double wanted, double tolerance) { return fabs(x - wanted) <= tolerance * fabs(wanted); }

struct view {
    const ar_difference *d;
    const ar_adapter *a, *b;
};

static bool explains(const struct reason *r, const struct view *v) {
    for (size_t i = 0; i < v->d->count; i++) {
        const ar_site_difference *x = &v->d->sites[i];
        const ar_pair *a = ar__adapter_find_pair(v->a, x->name), *b = ar__adapter_find_pair(v->b, x->name);
        if (!isfinite(x->cosine)) continue;
        if ((r->a_is_one && a->scale != 1) || (r->b_is_one && b->scale != 1)) return false;
        double wanted = r->turn(r->of(a, b));
        if (!near(x->factor, wanted, EQUAL) || near(wanted, 1, SAME)) return false;
    }
    return true;
}

/* Over the sites where both have something: are they parallel, between which factors, and how many are off in one only? */
struct span {
    double low, high, least_cosine;
    size_t sites, off_in_a, off_in_b;
};

static struct span look(const ar_difference *d) {
    struct span s = {INFINITY, -INFINITY, 1, 0, 0, 0};
    for (size_t i = 0; i < d->count; i++) {
        const ar_site_difference *x = &d->sites[i];
        s.off_in_a += x->norm_a == 0 && x->norm_b > 0;
        s.off_in_b += x->norm_b == 0 && x->norm_a > 0;
        if (!isfinite(x->cosine)) continue;
        s.sites++;
        s.low = fmin(s.low, x->factor);
        s.high = fmax(s.high, x->factor);
        s.least_cosine = fmin(s.least_cosine, fabs(x->cosine));
    }
    return s;
}

static void say(ar_difference *d, const char *code, const char *text) {
    d->code = code;
    snprintf(d->conclusion, sizeof d->conclusion, "%s", text);
}

/* "0.125 = 1/8": what divides evenly is easier to see as a fraction. */
static void print_factor(char *out, size_t size, double x) {
    double turned = round(1 / x);
    bool fraction = fabs(x) < 0.7 && fabs(turned) < 1e4 && near(1 / x, turned, EQUAL);
    snprintf(out, size, "%.6g", x);
    if (fraction) snprintf(out + strlen(out), size - strlen(out), " (1/%.0f)", turned);
}

static void explain_factor(ar_difference *d, const struct view *v, const struct span *s) {
    char factor[40], low[40], high[40];
    bool one = s->low == s->high || near(s->low, s->high, EQUAL);
    const struct reason *why = NULL;
    for (size_t i = 0; !why && i < sizeof reasons / sizeof *reasons; i++)
        if (explains(&reasons[i], v)) why = &reasons[i];
    print_factor(factor, sizeof factor, d->factor);
    print_factor(low, sizeof low, s->low);
    print_factor(high, sizeof high, s->high);
    d->code = why ? why->code : !one ? "factors_differ" : near(d->factor, -1, EQUAL) ? "sign" : "factor";
    if (why && one) {
        const char *site = d->sites[0].name;
        double x = why->of(ar__adapter_find_pair(v->a, site), ar__adapter_find_pair(v->b, site));
        snprintf(d->conclusion, sizeof d->conclusion, "s·B·A of the second is that of the first times %s everywhere, which is %s%.6g: %s",
                 factor, why->sign, x, why->text);
    } else if (why)
        snprintf(d->conclusion, sizeof d->conclusion,
                 "s·B·A of the second is that of the first times %s to %s, which is %s at every site: %s", low, high, why->name, why->text);
    else if (!one)
        snprintf(
            d->conclusion, sizeof d->conclusion,
            "the same directions everywhere, but the second is the first times %s to %s by site: has a rank or alpha pattern got lost?",
            low, high);
    else
        snprintf(d->conclusion, sizeof d->conclusion, "s·B·A of the second is that of the first times %s everywhere%s", factor,
                 near(d->factor, -1, EQUAL) ? ": the sign is turned" : "");
}

static void sum_up(ar_difference *d) {
    double xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < d->count; i++) {
        const ar_site_difference *x = &d->sites[i];
        xx += x->norm_a * x->norm_a;
        yy += x->norm_b * x->norm_b;
        if (isfinite(x->cosine)) xy += x->cosine * x->norm_a * x->norm_b;
    }
    d->cosine = xx > 0 && yy > 0 ? fmax(-1, fmin(1, xy / sqrt(xx) / sqrt(yy))) : NAN;
    d->factor = xx > 0 ? xy / xx : NAN;
}

/* What the two files say themselves, behind a conclusion about a factor: of the first site, where that speaks for all. */
static void append_settings(ar_difference *d, const ar_adapter *a, const ar_adapter *b) {
    const ar_pair *p = ar__adapter_find_pair(a, d->sites[0].name), *q = ar__adapter_find_pair(b, d->sites[0].name);
    size_t n = strlen(d->conclusion);
    snprintf(d->conclusion + n, sizeof d->conclusion - n,
             " [first: alpha %.6g, rank %d, %s, s = %.6g; second: alpha %.6g, rank %d, %s, s = %.6g]", p->alpha, p->rank,
             ar_policy_name(p->policy), p->scale, q->alpha, q->rank, ar_policy_name(q->policy), q->scale);
}

void ar__diff_conclude(ar_difference *d, const ar_adapter *a, const ar_adapter *b) {
    struct view v = {d, a, b};
    struct span s = look(d);
    sum_up(d);
    if (!d->count)
        say(d, "no_common_site", "no site is in both: adapters of different models, or modules under other names");
    else if (d->max_relative <= SAME)
        say(d, "same", d->only_in_a_count || d->only_in_b_count ? "the same update where both have a site" : "the same update everywhere");
    else if (s.off_in_a || s.off_in_b) {
        d->code = "off";
        snprintf(d->conclusion, sizeof d->conclusion, "the first has no update at %zu and the second at %zu of %zu sites", s.off_in_a,
                 s.off_in_b, d->count);
    } else if (s.least_cosine >= 1 - PARALLEL && near(s.low, 1, EQUAL) && near(s.high, 1, EQUAL))
        say(d, "rounded", "the same update but for small differences, as rounding to another dtype makes them");
    else if (s.least_cosine >= 1 - PARALLEL) {
        explain_factor(d, &v, &s);
        if (s.low == s.high || near(s.low, s.high, EQUAL)) append_settings(d, a, b);
    } else {
        bool close = s.least_cosine > 0.9;
        d->code = close ? "similar" : "different";
        snprintf(d->conclusion, sizeof d->conclusion, "%s: cosine %.4f over all sites, %.4f at the least alike",
                 close ? "similar updates, but no multiple of each other" : "different updates", d->cosine, s.least_cosine);
    }
}
