/* Learners on a course, for tests: opened and closed together. */
#ifndef AR_TESTS_CLASS_H
#define AR_TESTS_CLASS_H

#include "train/learner.h"

enum { CLASS_MOST = 40 };

typedef struct class {
    ar_runtime *rt;
    ar_course course;
    size_t count;
    ar_learner of[CLASS_MOST], *all[CLASS_MOST];
} class;

/* What the options have in common is the first's.  Fails the test where something cannot be opened; caller closes. */
class *class_open(const ar_train_options *o, size_t count, int threads);
void class_close(class *c);
/* A step of all. */
void class_step(class *c);

#endif
