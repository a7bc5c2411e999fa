/* Fingerprints: the running side and the toolkit's agree, copies in other types are the same base, others are not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/fingerprint.h"
#include "model/fingerprint.h"
#include "util.h"

#define DEMO "demo/base"

static ar_base *open_base(const char *path) {
    ar_error err;
    ar_base *base;
    assert_ok(ar__base_open(&base, path, &err), err);
    return base;
}

/* An adapter with the notes of a base, as training leaves them. */
static ar_adapter *noted(const char *path, const char *dtype) {
    ar_error err;
    ar_adapter *ad;
    ar_buf weights = {0};
    char architecture[AR_FINGERPRINT_CHARS];
    ar_base *base = open_base(path);
    assert_ok(ar__base_fingerprint(architecture, &weights, base, &err), err);
    assert_ok(ar__adapter_new(&ad, &err), err);
    assert_ok(ar__adapter_set_note(ad, "base.architecture", architecture, &err), err);
    assert_ok(ar__adapter_set_note(ad, "base.weights", weights.data, &err), err);
    assert_ok(ar__adapter_set_note(ad, "base.dtype", dtype, &err), err);
    ar__buf_release(&weights);
    ar__base_close(base);
    return ad;
}

static ar_base_match match(const ar_adapter *ad, const char *path) {
    ar_base *base = open_base(path);
    ar_base_match m = ar__base_compare(ad, base);
    ar__base_close(base);
    return m;
}

/* The demo's base in another type, every element times `factor`, its tensors renamed without "model." if bare. */
static const char *copy(const char *name, ar_dtype type, float factor, bool bare) {
    ar_error err;
    ar_st_set *st;
    ar_st_writer *w;
    char path[200];
    assert_ok(ar__st_open(&st, DEMO, &err), err);
    assert_ok(ar__st_writer_new(&w, &err), err);
    void **kept = calloc((size_t)ar__st_count(st), sizeof *kept);
    for (int i = 0; i < ar__st_count(st); i++) {
        const ar_tensor *t = ar__st_at(st, i);
        float *x = calloc(t->count, sizeof *x);
        kept[i] = calloc(t->count, sizeof(float));
        ar__dtype(t->dtype)->to_f32(x, t->data, t->count);
        for (size_t k = 0; k < t->count; k++) x[k] *= factor;
        ar__dtype(type)->from_f32(kept[i], x, t->count);
        free(x);
        const char *as = bare && !strncmp(t->name, "model.", 6) ? t->name + 6 : t->name;
        assert_ok(ar__st_writer_add(w, as, type, t->dims, t->shape, kept[i], &err), err);
    }
    snprintf(path, sizeof path, "%s/config.json", name);
    char *config = read_file(DEMO "/config.json", NULL);
    temp_text(path, config);
    free(config);
    snprintf(path, sizeof path, "%s/model.safetensors", name);
    assert_ok(ar__st_writer_save(w, temp_path(path), &err), err);
    ar__st_writer_free(w);
    for (int i = 0; i < ar__st_count(st); i++) free(kept[i]);
    free(kept);
    ar__st_close(st);
    return temp_path(name);
}

static void both_sides_agree(void **state) {
    (void)state;
    ar_error err;
    ar_runtime *rt;
    ar_model *m;
    char x[AR_FINGERPRINT_CHARS], y[AR_FINGERPRINT_CHARS];
    ar_buf a = {0}, b = {0};
    assert_ok(ar_runtime_new(&rt, NULL, &err), err);
    assert_ok(ar_model_open(&m, rt, DEMO, &err), err);
    ar_base *base = open_base(DEMO);
    assert_ok(ar__model_fingerprint(x, &a, m, &err), err);
    assert_ok(ar__base_fingerprint(y, &b, base, &err), err);
    assert_string_equal(x, y);
    assert_string_equal(a.data, b.data);
    int values = 0;
    for (const char *p = a.data; (p = strchr(p, '=')); p++) values++;
    assert_int_equal(values, 43); /* every matrix */
    ar__buf_release(&a);
    ar__buf_release(&b);
    ar__base_close(base);
    ar_model_free(m);
    ar_runtime_free(rt);
}

static void a_copy_is_the_same_base(void **state) {
    (void)state;
    ar_adapter *ad = noted(DEMO, "bf16");
    assert_int_equal(match(ad, DEMO), AR_BASE_SAME);
    assert_int_equal(match(ad, copy("f32", AR_F32, 1, false)), AR_BASE_SAME);
    assert_int_equal(match(ad, copy("f16", AR_F16, 1, true)), AR_BASE_SAME);
    ar_adapter_free(ad);
    ad = noted(copy("fine", AR_F32, 1.001f, false), "f32"); /* rounding to bf16 is what keeps it near */
    assert_int_equal(match(ad, DEMO), AR_BASE_SAME);
    ar_adapter_free(ad);
}

static void others_are_not(void **state) {
    (void)state;
    ar_adapter *ad = noted(DEMO, "bf16");
    assert_int_equal(match(ad, copy("tuned", AR_BF16, 1.01f, false)), AR_BASE_OTHER_WEIGHTS);
    ar_adapter_free(ad);
    ad = noted(DEMO, "f32");
    assert_int_equal(match(ad, copy("slightly", AR_F32, 1.0001f, false)), AR_BASE_OTHER_WEIGHTS);
    ar_adapter_free(ad);
}

static void notes_may_be_missing_or_foreign(void **state) {
    (void)state;
    ar_error err;
    ar_adapter *ad;
    assert_ok(ar__adapter_new(&ad, &err), err);
    assert_int_equal(match(ad, DEMO), AR_BASE_UNKNOWN);
    static const char *const nonsense[] = {"", ",", "x", "[", "x[=1", "x[1]", "x[99999999999999999999]=z", "=,=[]="};
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        assert_ok(ar__adapter_set_note(ad, "base.weights", nonsense[i], &err), err);
        assert_int_equal(match(ad, DEMO), AR_BASE_UNKNOWN);
    }
    assert_ok(ar__adapter_set_note(ad, "base.weights", "model.embed_tokens[99999999999]=0.5", &err), err);
    assert_ok(ar__adapter_set_note(ad, "base.architecture", "0123456789abcdef", &err), err);
    assert_int_equal(match(ad, DEMO), AR_BASE_OTHER_SHAPES);
    assert_ok(ar__adapter_set_note(ad, "base.weights", "model.no.such.module[1]=0.5", &err), err);
    assert_int_equal(match(ad, DEMO), AR_BASE_OTHER_SHAPES);
    ar_adapter_free(ad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_agree),
        cmocka_unit_test(a_copy_is_the_same_base),
        cmocka_unit_test(others_are_not),
        cmocka_unit_test(notes_may_be_missing_or_foreign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
