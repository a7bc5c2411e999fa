/* After the first step nothing is allocated: forward, loss, backward, clipping, update and DoRA refresh run under a
 * counting allocator.  Sanitizers bring an allocator of their own, so the test skips under them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#include "class.h"
#include "small_model.h"
#include "train/schedule.h"

#if defined(__SANITIZE_ADDRESS__)
#define COUNTING 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COUNTING 0
#endif
#endif
#if !defined(COUNTING) && defined(__GLIBC__)
#define COUNTING 1
#endif

#if COUNTING
static atomic_long allocations;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(n);
}
void *calloc(size_t count, size_t n) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, n);
}
void *realloc(void *p, size_t n) {
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(p, n);
}
void *aligned_alloc(size_t align, size_t n) {
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(align, n);
}
#endif

static void step(small *s, const ar_train_options *o, int64_t t) {
    small_loss(s, true);
    ar_update u = ar__update_at(o, 1e-4, t, s->rt->ops->grad_norm(s->rt, s->list.at, s->list.count));
    s->rt->ops->update(s->rt, s->list.at, s->list.count, &u);
    if (s->at) ar__attach_refresh(s->at);
}

static void steps_after_the_first_allocate_nothing(void **state) {
    static const small_case cases[] = {
        {"lora", ",\"model_type\":\"qwen3\",\"head_dim\":10", "all-linear", "lm_head", false, false, 0.1, AR_BIAS_NONE},
        {"dora", ",\"model_type\":\"llama\"", "all-linear,embed_tokens", NULL, true, false, 0.1, AR_BIAS_NONE},
        {"delta", ",\"model_type\":\"qwen3_5_text\",\"head_dim\":8,\"full_attention_interval\":2", "all-linear", NULL, false, false, 0.1,
         AR_BIAS_NONE},
        {"short convolution", ",\"model_type\":\"lfm2\",\"full_attn_idxs\":[1]", "all-linear", NULL, false, false, 0.1, AR_BIAS_NONE},
        {"full", ",\"model_type\":\"llama\",\"tie_word_embeddings\":true", NULL, NULL, false, true, 0.0, AR_BIAS_NONE},
    };
    static const size_t lengths[] = {40, 90, 3, 0};
    (void)state;
#if COUNTING
    for (int c = 0; c < 5; c++)
        for (int recompute = 0; recompute < 2; recompute++) {
            ar_train_options o;
            ar_train_options_init(&o);
            o.learner.optimizer = AR_OPTIMIZER_SGD; /* the small models keep no moments */
            small s = small_open(&cases[c], lengths, 2, NULL, NULL, recompute != 0);
            step(&s, &o, 1);
            long before = atomic_load(&allocations);
            assert_true(before > 0);
            step(&s, &o, 2);
            step(&s, &o, 3);
            long after = atomic_load(&allocations);
            small_close(&s);
            if (after != before)
                fail_msg("%s%s: %ld allocations in two steps", cases[c].name, recompute ? ", recomputed" : "", after - before);
        }
#else
    (void)cases;
    (void)lengths;
    (void)step;
    skip();
#endif
}

/* Pairs, some of which are parted by the micro-batch; DPO asks its reference on the way. */
static void steps_over_pairs_allocate_nothing(void **state) {
    static const ar_memory_sample pairs[] = {{.prompt = "Once upon", .chosen = " a time there was a cat.", .rejected = " no."},
                                             {.prompt = "The sun", .chosen = " was warm.", .rejected = " was cold."},
                                             {.prompt = "She", .chosen = " went home.", .rejected = " fell."}};
    (void)state;
#if COUNTING
    for (int objective = AR_OBJECTIVE_DPO; objective <= AR_OBJECTIVE_SIMPO; objective++) {
        ar_train_options o;
        ar_train_options_init(&o);
        o.course.model = "demo/base";
        o.learner.rank = 2;
        o.learner.steps = 3;
        o.learner.batch = 1;
        o.course.micro_batch = 1;
        o.course.pack = false;
        o.learner.shuffle = false;
        o.course.data.samples = pairs;
        o.course.data.sample_count = 3;
        o.learner.preference.objective = (ar_objective)objective;
        class *c = class_open(&o, 1, 2);
        class_step(c);
        long before = atomic_load(&allocations);
        class_step(c);
        class_step(c);
        assert_int_equal(atomic_load(&allocations), before);
        class_close(c);
    }
#else
    (void)pairs;
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_after_the_first_allocate_nothing),
                                       cmocka_unit_test(steps_over_pairs_allocate_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
