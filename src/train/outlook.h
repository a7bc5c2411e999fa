/* What a run amounts to, told before it takes hours: samples, tokens, steps, time, disk, and a sensible first run.
 *
 *     seconds = steps · batch · mean tokens of a sample / tokens per second */
#ifndef AR_TRAIN_OUTLOOK_H
#define AR_TRAIN_OUTLOOK_H

#include "train/learner.h"

/* All that is known without the speed. */
ar_outlook ar__outlook_of(const ar_learner *l);
/* Fills in what follows from the speed; mean: tokens of a sample. */
void ar__outlook_set_speed(ar_outlook *o, double tokens_per_second, double mean, int64_t steps_left);

/* A run on its way: says the work at once, and the time as soon as some steps tell it. */
typedef struct ar_pace {
    double tokens, seconds; /* of the steps after the first, which reads the base */
    int64_t steps;
    bool told;
} ar_pace;
void ar__outlook_begin(const ar_learner *l);
void ar__outlook_step(ar_pace *p, const ar_learner *l, double seconds);

#endif
