#include "train/objective.h"

#include <math.h>

#include "base/fail.h"

static const char *const names[] = {NULL, "dpo", "orpo", "simpo"};

const char *ar__objective_name(ar_objective o) { return names[o]; }

static ar_status refuse_alone(const ar_preference *p, ar_error *err) {
    const char *what = p->beta != 0 ? "beta" : p->gamma_given ? "gamma" : p->label_smoothing != 0 ? "label-smoothing" : NULL;
    if (!what) return AR_OK;
    return ar__fail(err, AR_ERR_USAGE, "%s: found no objective, wanted dpo, orpo or simpo with it", what);
}

ar_status ar__preference_resolve(ar_preference *p, ar_error *err) {
    bool simpo = p->objective == AR_OBJECTIVE_SIMPO;
    if ((int)p->objective < AR_OBJECTIVE_NONE || p->objective > AR_OBJECTIVE_SIMPO)
        return ar__fail(err, AR_ERR_USAGE, "objective: found %d, wanted 0 to %d", (int)p->objective, (int)AR_OBJECTIVE_SIMPO);
    if (!p->objective) return refuse_alone(p, err);
    if (!(p->beta >= 0 && p->beta <= 1e6)) return ar__fail(err, AR_ERR_USAGE, "beta: found %g, wanted more than 0, at most 1e6", p->beta);
    if (p->gamma_given && !simpo)
        return ar__fail(err, AR_ERR_USAGE, "gamma: found objective %s, wanted simpo: others have no margin", names[p->objective]);
    if (p->gamma_given && !(p->gamma >= 0 && p->gamma <= 1e6))
        return ar__fail(err, AR_ERR_USAGE, "gamma: found %g, wanted 0 to 1e6", p->gamma);
    if (p->label_smoothing != 0 && p->objective == AR_OBJECTIVE_ORPO)
        return ar__fail(err, AR_ERR_USAGE, "label-smoothing: found objective orpo, wanted dpo or simpo");
    if (!(p->label_smoothing >= 0 && p->label_smoothing < 0.5))
        return ar__fail(err, AR_ERR_USAGE, "label-smoothing: found %g, wanted 0 to below 0.5 (at half, labels say nothing)",
                        p->label_smoothing);
    if (p->beta == 0) p->beta = simpo ? 2 : 0.1;
    if (simpo && !p->gamma_given) p->gamma = p->beta / 2;
    return AR_OK;
}

/* log σ(x), σ(x): without overflow on either side. */
static double log_sigmoid(double x) { return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x)); }
static double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }

/* −(1 − e) log σ(x) − e log σ(−x), and its slope. */
static double smoothed(double *slope, double x, double e) {
    *slope = e * sigmoid(x) - (1 - e) * sigmoid(-x);
    return -(1 - e) * log_sigmoid(x) - e * log_sigmoid(-x);
}

static ar_verdict judge_dpo(const ar_preference *p, const ar_said *c, const ar_said *r) {
    double slope, x = p->beta * ((c->reference - c->nll) - (r->reference - r->nll));
    ar_verdict v = {.loss = smoothed(&slope, x, p->label_smoothing), .margin = x};
    v.chosen = -p->beta * slope;
    v.rejected = p->beta * slope;
    return v;
}

static ar_verdict judge_simpo(const ar_preference *p, const ar_said *c, const ar_said *r) {
    double slope, margin = p->beta * (r->nll / r->tokens - c->nll / c->tokens);
    ar_verdict v = {.loss = smoothed(&slope, margin - p->gamma, p->label_smoothing), .margin = margin};
    v.chosen = -p->beta * slope / c->tokens;
    v.rejected = p->beta * slope / r->tokens;
    return v;
}

/* The mean log p of a completion, kept away from 0: where the model is sure of every token the odds have no bound. */
static double mean_logp(const ar_said *s) { return fmin(-s->nll / s->tokens, -1e-9); }
/* log(1 − exp(x)), x < 0. */
static double log1mexp(double x) { return x < -0.69314718055994531 ? log1p(-exp(x)) : log(-expm1(x)); }

/* d log odds / dx = 1 / (1 − exp(x)) */
static ar_verdict judge_orpo(const ar_preference *p, const ar_said *c, const ar_said *r) {
    double lc = mean_logp(c), lr = mean_logp(r), odds = (lc - lr) - (log1mexp(lc) - log1mexp(lr)), push = p->beta * sigmoid(-odds);
    ar_verdict v = {.loss = c->nll / c->tokens - p->beta * log_sigmoid(odds), .margin = p->beta * (lc - lr)};
    v.chosen = (1 - push / expm1(lc)) / c->tokens;
    v.rejected = push / expm1(lr) / r->tokens;
    return v;
}

ar_verdict ar__judge(const ar_preference *p, const ar_said *chosen, const ar_said *rejected) {
    switch (p->objective) {
    case AR_OBJECTIVE_DPO: return judge_dpo(p, chosen, rejected);
    case AR_OBJECTIVE_ORPO: return judge_orpo(p, chosen, rejected);
    default: return judge_simpo(p, chosen, rejected);
    }
}

void ar__judged_add(ar_judged *sum, const ar_verdict *v) {
    sum->loss += v->loss;
    sum->margin += v->margin;
    sum->accuracy += v->margin > 0;
    sum->pairs++;
}

ar_judged ar__judged_mean(const ar_judged *sum) {
    double n = (double)sum->pairs;
    return (ar_judged){sum->loss / n, sum->margin / n, sum->accuracy / n, sum->pairs};
}
