#include "class.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "train/pairs.h"
#include "util.h"

class *class_open(const ar_train_options *o, size_t count, int threads) {
    class *c = calloc(1, sizeof *c);
    ar_error err;
    assert_non_null(c);
    c->count = count;
    assert_ok(ar_runtime_new(&c->rt, &(ar_runtime_options){.threads = threads}, &err), err);
    assert_ok(ar__course_open(&c->course, c->rt, o, AR_DATA_FIRST, &err), err);
    for (size_t i = 0; i < count; i++) {
        c->all[i] = &c->of[i];
        assert_ok(ar__learner_open(c->all[i], &c->course, &o[i], &err), err);
    }
    ar__course_set_budget(&c->course);
    assert_ok(ar__course_allocate(&c->course, &err), err);
    for (size_t i = 0; i < count; i++) assert_ok(ar__pairs_begin(c->all[i], &err), err);
    return c;
}

void class_close(class *c) {
    for (size_t i = 0; i < c->count; i++) ar__learner_close(&c->of[i]);
    ar__course_close(&c->course);
    ar_runtime_free(c->rt);
    free(c);
}

void class_step(class *c) {
    ar_error err;
    assert_ok(ar__learners_step(&c->course, c->all, c->count, &err), err);
    for (size_t i = 0; i < c->count; i++) assert_ok(c->of[i].status, c->of[i].error);
}
