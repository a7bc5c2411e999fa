/* What is done to optimizer state, and how large weights and updates are: cpu beside ref. */
#include <math.h>
#include <string.h>

#include "ops_check.h"

static const size_t sizes[] = {1, 3, 7, 17, 65, 130, 5003};
enum { TENSORS = sizeof sizes / sizeof *sizes };

static void make_list(ar_trainable *list) {
    for (size_t i = 0; i < TENSORS; i++) {
        size_t n = sizes[i];
        list[i] =
            (ar_trainable){.value = ops_random(n), .grad = ops_random(n), .m = ops_random(n), .count = n, .rate_factor = 1.0 + (double)i};
        list[i].v = ops_abs(ops_random(n), n);
        list[i].grad_tied = i % 2 ? ops_random(n) : NULL;
    }
}

static void copy_list(ar_trainable *to, const ar_trainable *list) {
    for (size_t i = 0; i < TENSORS; i++) {
        to[i] = list[i];
        to[i].value = ops_copy(list[i].value, list[i].count), to[i].grad = ops_copy(list[i].grad, list[i].count);
        to[i].m = ops_copy(list[i].m, list[i].count), to[i].v = ops_copy(list[i].v, list[i].count);
        if (list[i].grad_tied) to[i].grad_tied = ops_copy(list[i].grad_tied, list[i].count);
    }
}

/* What is added up to m, v and w of one tensor. */
static void update_sizes(const ar_trainable *x, const ar_update *u, float *m, float *v, float *w) {
    double rate = u->rate * x->rate_factor, bias1 = 1.0 - pow(u->beta1, (double)u->t), bias2 = 1.0 - pow(u->beta2, (double)u->t);
    for (size_t j = 0; j < x->count; j++) {
        double g = fabs((double)x->grad[j] * u->grad_scale), v1 = u->beta2 * (double)x->v[j] + (1.0 - u->beta2) * g * g;
        double step = u->sgd ? rate * g : rate / bias1 * (fabs((double)x->m[j]) + g) / (sqrt(v1) / sqrt(bias2) + u->eps);
        m[j] = (float)(fabs((double)x->m[j]) + g);
        v[j] = (float)v1;
        w[j] = (float)(fabs((double)x->value[j]) * (1.0 + rate * u->decay) + step);
    }
}

static void updates_agree(void **state) {
    ar_trainable list[TENSORS], cpu[TENSORS], ref[TENSORS];
    (void)state;
    for (int way = 0; way < 4; way++) {
        ar_update u = {
            .sgd = way == 3, .rate = 1e-2, .decay = way ? 0.1 : 0.0, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .grad_scale = 0.7};
        u.t = way == 2 ? 1000 : 1;
        make_list(list);
        copy_list(cpu, list);
        copy_list(ref, list);
        ops_cpu->ops->update(ops_cpu, cpu, TENSORS, &u);
        ops_ref->ops->update(ops_ref, ref, TENSORS, &u);
        for (size_t i = 0; i < TENSORS; i++) {
            size_t n = list[i].count;
            float *m = ops_zeros(n), *v = ops_zeros(n), *w = ops_zeros(n);
            update_sizes(&list[i], &u, m, v, w);
            ops_assert_rounding(cpu[i].m, ref[i].m, m, n, 6, "update, m");
            ops_assert_rounding(cpu[i].v, ref[i].v, v, n, 8, "update, v");
            ops_assert_rounding(cpu[i].value, ref[i].value, w, n, 16, "update, w");
        }
    }
}

static void gradients_agree(void **state) {
    ar_trainable cpu[TENSORS], ref[TENSORS];
    (void)state;
    make_list(cpu);
    copy_list(ref, cpu);
    double got = ops_cpu->ops->grad_norm(ops_cpu, cpu, TENSORS), want = ops_ref->ops->grad_norm(ops_ref, ref, TENSORS);
    assert_true(fabs(got - want) <= (4096 / 16 + 20) * 0x1p-24 * want); /* 16 lanes of a stretch */
    ops_cpu->ops->join_grads(ops_cpu, cpu, TENSORS);
    ops_ref->ops->join_grads(ops_ref, ref, TENSORS);
    for (size_t i = 0; i < TENSORS; i++) ops_assert_same(cpu[i].grad, ref[i].grad, cpu[i].count, "join_grads");
    ops_cpu->ops->zero_grads(ops_cpu, cpu, TENSORS);
    ops_ref->ops->zero_grads(ops_ref, ref, TENSORS);
    for (size_t i = 0; i < TENSORS; i++) {
        const float *zeros = ops_zeros(cpu[i].count);
        ops_assert_same(cpu[i].grad, zeros, cpu[i].count, "zero_grads");
        ops_assert_same(ref[i].grad, zeros, cpu[i].count, "zero_grads, by definition");
        if (cpu[i].grad_tied) ops_assert_same(cpu[i].grad_tied, zeros, cpu[i].count, "zero_grads, tied");
        if (cpu[i].grad_tied) ops_assert_same(ref[i].grad_tied, zeros, cpu[i].count, "zero_grads, tied, by definition");
        ops_cpu->ops->zero_bytes(ops_cpu, cpu[i].value, cpu[i].count * sizeof(float) - 1);
        ops_ref->ops->zero_bytes(ops_ref, ref[i].value, cpu[i].count * sizeof(float) - 1);
        ops_assert_same(cpu[i].value, ref[i].value, cpu[i].count, "zero_bytes");
    }
}

/* |got - want| <= roundings of a double, or of a float, times size */
static void assert_double(double got, double want, double size, double roundings, double unit, const char *what) {
    if (!(fabs(got - want) <= roundings * unit * size)) fail_msg("%s: %.17g, by definition %.17g", what, got, want);
}

static ar_weight make_weight(ar_dtype type, size_t rows, size_t cols) {
    void *data = ops_memory(rows * cols * ar__dtype(type)->bytes);
    ar__dtype(type)->from_f32(data, ops_random(rows * cols), rows * cols);
    return (ar_weight){data, type, rows, cols};
}

static ar_weight abs_weight(const ar_weight *w) {
    size_t n = w->rows * w->cols;
    float *x = ops_zeros(n);
    ar__dtype(w->type)->to_f32(x, w->data, n);
    return (ar_weight){ops_abs(x, n), AR_F32, w->rows, w->cols};
}

static ar_row_norms make_norms(const ar_runtime *rt, const ar_factors *f, const ar_weight *w, bool by_column) {
    size_t n = f->n_out;
    ar_row_norms r = {ops_memory(n * sizeof(double)), ops_memory(n * sizeof(double)), ops_memory(n * sizeof(double)),
                      ops_zeros(n * f->rank)};
    assert_int_equal(rt->ops->row_squares(rt, r.weight2, w, by_column), AR_OK);
    rt->ops->row_norms_measure(rt, &r, f, w, by_column);
    return r;
}

/* n_out x n_in, the weight stored the other way round where by_column. */
static void check_magnitudes(size_t n_out, size_t n_in, size_t rank, ar_dtype type, bool by_column) {
    ar_factors f = {ops_random(rank * n_in), ops_random(rank * n_out), rank, n_in, n_out};
    ar_factors abs_f = {ops_abs(f.a, rank * n_in), ops_abs(f.b, rank * n_out), rank, n_in, n_out};
    ar_weight w = make_weight(type, by_column ? n_in : n_out, by_column ? n_out : n_in), abs_w = abs_weight(&w);
    double got, want, size, n = (double)(n_out + n_in + rank * rank) + 8.0;
    ops_cpu->ops->weight_norms(ops_cpu, &got, &w, 1);
    ops_ref->ops->weight_norms(ops_ref, &want, &w, 1);
    assert_double(got, want, want, (double)(n_out * n_in), 0x1p-53, "weight_norms");
    ops_cpu->ops->update_norms(ops_cpu, &got, &f, 1);
    ops_ref->ops->update_norms(ops_ref, &want, &f, 1);
    ops_ref->ops->update_norms(ops_ref, &size, &abs_f, 1);
    assert_double(got * got, want * want, size * size, n * (double)rank, 0x1p-53, "update_norms");
    ar_row_norms cpu = make_norms(ops_cpu, &f, &w, by_column), ref = make_norms(ops_ref, &f, &w, by_column);
    ar_row_norms sizes_of = make_norms(ops_ref, &abs_f, &abs_w, by_column);
    for (size_t j = 0; j < n_out; j++) {
        assert_double(cpu.weight2[j], ref.weight2[j], ref.weight2[j], (double)n_in + 2.0, 0x1p-53, "row_squares");
        assert_double(cpu.cross[j], ref.cross[j], sizes_of.cross[j], (double)n_in + 4.0, 0x1p-24, "row_norms_measure, cross");
        assert_double(cpu.update2[j], ref.update2[j], sizes_of.update2[j], n * (double)rank, 0x1p-53, "row_norms_measure, update");
    }
    float *m = ops_random(n_out), *gain[2], *inverse[2];
    for (int k = 0; k < 2; k++) {
        const ar_runtime *rt = k ? ops_ref : ops_cpu;
        gain[k] = ops_zeros(n_out), inverse[k] = ops_zeros(n_out);
        rt->ops->dora_gains(rt, gain[k], inverse[k], m, &ref, n_out, 0.8);
    }
    ops_assert_rounding(gain[0], gain[1], ops_abs(gain[1], n_out), n_out, 1, "dora_gains");
    ops_assert_rounding(inverse[0], inverse[1], inverse[1], n_out, 1, "dora_gains, 1 / norm");
}

static void magnitudes_agree(void **state) {
    (void)state;
    for (int by_column = 0; by_column < 2; by_column++) {
        check_magnitudes(1, 3, 1, AR_F32, by_column);
        check_magnitudes(7, 17, 3, AR_F32, by_column);
        check_magnitudes(65, 130, 7, AR_BF16, by_column);
        check_magnitudes(130, 65, 17, AR_F16, by_column);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_agree),
        cmocka_unit_test(gradients_agree),
        cmocka_unit_test(magnitudes_agree),
    };
    return cmocka_run_group_tests(tests, ops_start, ops_stop);
}
