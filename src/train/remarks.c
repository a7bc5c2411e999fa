#include "train/remarks.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "train/schedule.h"

/* Noise of single batches is no divergence: fewer steps than this say nothing, nor does a rise below a tenth; against one batch,
 * the first, below a fifth.  A loss that a longer run ends with as it began is worth a word too.  Of pairs, whose losses differ
 * far more, it takes more steps. */
enum { FEWEST_STEPS = 5, FEWEST_OF_PAIRS = 100, LONGER = 20 };
#define RISE 1.1
#define RISE_OF_ONE 1.2
#define RISE_OF_FEW 1.5                     /* in runs that are no longer */
enum { ENOUGH_STEPS = 50, SMALL_RANK = 8 }; /* before that, few directions were seen at all */
#define NOTHING 1e-7                        /* of the weights' norms: less is lost in any rounding */

static void AR_PRINTF(2, 3) add(ar_remarks *out, const char *format, ...) {
    if (out->count == AR_REMARK_MAX) return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(out->text[out->count++], AR_REMARK_CHARS, format, ap);
    va_end(ap);
}

static void say_of_alpha(ar_remarks *out, const ar_learner *l) {
    double least, most;
    ar__learner_scales(&least, &most, l);
    if (most > 8.0 || (least < 0.1 && least != 0.0)) add(out, "s outside 0.1 to 8 is rarely wanted: change --alpha");
}

void ar__remarks_start(ar_remarks *out, const ar_learner *l) {
    const ar_train_options *o = &l->o;
    int64_t warmup = ar__warmup_steps(o->learner.warmup, l->steps);
    *out = (ar_remarks){0};
    if (o->learner.lr == 0.0)
        add(out, "the rate is 0: nothing is learned; give --lr");
    else if (warmup >= l->steps && (l->steps > 1 || warmup > 1))
        add(out,
            "the warm-up of %" PRId64 " steps is as long as the run of %" PRId64 ": the rate only rises, to %.3g at the end; give a "
            "shorter --warmup",
            warmup, l->steps, ar__rate_at(o, l->steps, l->steps));
    if (o->learner.alpha_warmup > l->steps)
        add(out,
            "s rises over %" PRId64 " steps, more than the run's %" PRId64
            ": it is trained at less than what is saved; give a shorter --alpha-warmup",
            o->learner.alpha_warmup, l->steps);
    if (l->adapter && l->adapter->pair_count) say_of_alpha(out, l);
    if (o->learner.lr_ratio == 0.0 && !o->course.init_adapter && !ar__init_from_weights(&l->course->init))
        add(out, "the LoRA+ ratio is 0: B stays 0, and with it the whole update; give --lr-ratio");
}

/* What the finished update shows of rank and alpha. */
static void say_of_update(ar_remarks *out, const ar_learner *l) {
    const ar_learner_options *o = &l->o.learner;
    size_t overwhelmed = 0;
    for (size_t i = 0; i < l->adapter->pair_count; i++) overwhelmed += l->site_strength[i] > 1.0;
    if (overwhelmed)
        add(out,
            "the update is larger than the weight that it changes at %zu site%s: the base is hardly there any more; try a smaller alpha "
            "with "
            "alphar eval --alpha",
            overwhelmed, overwhelmed == 1 ? "" : "s");
    if (l->rank_used > 0 && l->step >= ENOUGH_STEPS && o->rank >= SMALL_RANK && !o->rank_patterns.count && l->rank_used <= o->rank / 4)
        add(out,
            "99 %% of the update lies in %d of %d directions or fewer at every site: --rank %d --alpha %g (the same s) would do, or alphar "
            "resize",
            l->rank_used, o->rank, 2 * l->rank_used,
            ar__policy_alpha(o->policy, ar__policy_scale(o->policy, o->alpha, o->rank), 2 * l->rank_used));
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* s B A beside what quantising took off W: an update far below it is one of many that the base's numbers cannot tell apart. */
static void say_of_noise(ar_remarks *out, const ar_learner *l) {
    const ar_model *m = l->course->model;
    size_t n = 0;
    double *ratio = ar__alloc(l->adapter->pair_count, sizeof *ratio);
    for (size_t i = 0; ratio && i < l->adapter->pair_count; i++) {
        double noise = m->owned[l->attachment->module[i]].noise;
        if (noise > 0.0) ratio[n++] = l->site_strength[i] / noise;
    }
    if (n) {
        qsort(ratio, n, sizeof *ratio, by_size);
        add(out, "quantize %s: the update is %.3g times what quantising took off W, by the median of %zu sites (%.3g to %.3g)%s",
            l->o.course.quantize, ratio[n / 2], n, ratio[0], ratio[n - 1], l->corrected ? "; the correction is part of it" : "");
    }
    free(ratio);
}

void ar__remarks_end(ar_remarks *out, const ar_learner *l, const ar_curve *curve) {
    ar__remarks_start(out, l);
    bool few = curve->count < LONGER, enough = curve->count >= (ar__has_objective(&l->o) ? FEWEST_OF_PAIRS : FEWEST_STEPS);
    bool rose = enough && curve->last > (few ? RISE_OF_FEW : RISE) * curve->first;
    bool above_start = curve->count > 1 && curve->untrained > 0.0 && curve->last > (few ? RISE_OF_FEW : RISE_OF_ONE) * curve->untrained;
    if ((rose || above_start) && l->o.learner.lr > 0.0)
        add(out, "the loss rose from %.4g to %.4g: the run diverged; train anew with a smaller rate, such as --lr %.3g",
            above_start ? curve->untrained : curve->first, curve->last, l->o.learner.lr / 10.0);
    else if (curve->count >= LONGER && curve->untrained > 0.0 && curve->last >= curve->untrained && l->o.learner.lr > 0.0)
        add(out, "the loss did not fall: %.4g before the first step, %.4g at the end; a smaller rate, such as --lr %.3g, may do better",
            curve->untrained, curve->last, l->o.learner.lr / 10.0);
    if (l->strength >= 0.0 && l->strength < NOTHING && l->o.learner.lr > 0.0 && l->o.learner.lr_ratio > 0.0)
        add(out, "the adapter is next to nothing: its strength is %.1e; look at --lr, --alpha and --clip", l->strength);
    else if (l->adapter && l->adapter->pair_count)
        say_of_update(out, l);
    if (l->course->model->quantised && l->strength >= 0.0 && l->adapter && l->adapter->pair_count) say_of_noise(out, l);
}
