/* One training step for every line on stdin, as `alphar train` makes them; bench/train_rival.py drives this program and
 * the rival in turns.
 *
 *     bench_train MODEL DATA MAX_LENGTH BATCH RANK THREADS auto|on|off COMPUTE MEMORY [QUANTIZE|none [TARGETS|all-linear [DEVICE]]]
 *
 * MEMORY: of its own, in MiB; 0: all that is free.  On a device the last line is `device BYTES`: what of its memory is taken then.
 *
 * Prints `opened SECONDS f32|bf16` (to the first layer; the arithmetic in use), then for every step `SECONDS LOSS TOKENS SUPERVISED`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ops/device.h"
#include "train/learner.h"

static int failed(const ar_error *err) {
    fprintf(stderr, "bench_train: %s\n", err->message);
    return 1;
}

static int choice(const char *text, const char *const *names) {
    for (int i = 0; names[i]; i++)
        if (!strcmp(text, names[i])) return i;
    fprintf(stderr, "bench_train: not understood: %s\n", text);
    exit(2);
}

static int serve(ar_learner *l) {
    ar_error err;
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        double began = ar__clock_seconds();
        if (ar__learners_step(l->course, &l, 1, &err)) return failed(&err);
        if (l->status) return failed(&l->error);
        printf("%.6f %.7f %zu %zu\n", ar__clock_seconds() - began, l->loss, l->step_tokens, l->step_supervised);
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv) {
    static const char *const switches[] = {"auto", "on", "off", NULL}, *const computes[] = {"f32", "bf16", "auto", NULL};
    if (argc < 10 || argc > 13) {
        fprintf(stderr, "usage: bench_train MODEL DATA MAX_LENGTH BATCH RANK THREADS auto|on|off auto|f32|bf16 MIB "
                        "[QUANTIZE|none [TARGETS|all-linear [DEVICE]]]\n");
        return 2;
    }
    ar_train_options o;
    ar_train_options_init(&o);
    o.course.model = argv[1];
    o.course.data.files = (ar_texts){(const char *const *)&argv[2], 1};
    o.course.max_length = (int)strtol(argv[3], NULL, 10);
    o.learner.batch = (int)strtol(argv[4], NULL, 10);
    o.learner.rank = (int)strtol(argv[5], NULL, 10);
    o.course.checkpoint_layers = (ar_switch)choice(argv[7], switches);
    o.course.quantize = argc > 10 && strcmp(argv[10], "none") != 0 ? argv[10] : NULL;
    if (argc > 11) o.learner.targets = argv[11];
    o.course.memory = (int64_t)strtol(argv[9], NULL, 10) << 20;
    o.learner.steps = 1 << 20;
    o.learner.shuffle = false;
    o.learner.schedule = AR_SCHEDULE_CONSTANT;
    o.learner.warmup = 0;
    ar_runtime_options ro = {
        .threads = (int)strtol(argv[6], NULL, 10), .compute = (ar_compute)choice(argv[8], computes), .device = argc > 12 ? argv[12] : NULL};
    ar_runtime *rt;
    ar_course c;
    ar_learner l = {0};
    ar_error err;
    double began = ar__clock_seconds();
    if (ar_runtime_new(&rt, &ro, &err)) return failed(&err);
    ar_status s = ar__course_open(&c, rt, &o, AR_DATA_AHEAD, &err);
    if (!s) s = ar__learner_open(&l, &c, &o, &err);
    if (!s) ar__course_set_budget(&c);
    if (!s) s = ar__course_allocate(&c, &err);
    if (!s) {
        printf("opened %.4f %s\n", ar__clock_seconds() - began, computes[c.o.compute]);
        fflush(stdout);
    }
    int code = s ? failed(&err) : serve(&l);
    ar_device_info device = ar__device_info(rt);
    if (rt->device) printf("device %zu\n", device.memory_bytes - device.free_bytes);
    ar__learner_close(&l);
    ar__course_close(&c);
    ar_runtime_free(rt);
    return code;
}
