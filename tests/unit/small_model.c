#include "small_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapter/settings.h"
#include "base/rng.h"
#include "train/settings.h"

static void write_config(char *path, const char *extra) {
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    if (*extra == '{')
        fputs(extra, f);
    else
        fprintf(f,
                "{\"vocab_size\":%d,\"hidden_size\":24,\"intermediate_size\":40,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
                "\"num_key_value_heads\":2,\"max_position_embeddings\":256,\"initializer_range\":0.25%s}",
                SMALL_VOCAB, extra);
    fclose(f);
}

static void must(ar_status s, const ar_error *err) {
    if (s) fail_msg("%s", err->message);
}

static void jitter(float *x, size_t n, uint64_t stream, double by) {
    ar_rng g = ar__rng_stream(5, AR_RNG_INIT, stream, 9);
    for (size_t i = 0; i < n; i++) x[i] += (float)(by * ar__rng_normal(&g, i));
}

static void make_adapter(small *s, const small_case *c) {
    ar_error err;
    ar_train_options o;
    ar_adapter_settings settings;
    int count = 0;
    ar_train_options_init(&o);
    o.course.model = "base";
    o.learner.rank = 3;
    o.learner.alpha = 4.5;
    o.learner.alpha_given = true;
    o.learner.targets = c->targets;
    o.learner.modules_to_save = c->save;
    o.learner.dora = c->dora;
    o.learner.bias = c->bias;
    o.learner.dropout = c->dropout;
    must(ar__train_adapter_settings(&settings, &o, &err), &err);
    ar_module *list = calloc(s->model->module_count, sizeof *list);
    for (size_t i = 0; i < s->model->module_count; i++)
        if (s->model->modules[i].path) list[count++] = s->model->modules[i];
    must(ar__adapter_build(&s->adapter, &settings, list, count, NULL, 0, 3, 1, &err), &err);
    ar__settings_release(&settings);
    free(list);
    for (size_t i = 0; i < s->adapter->pair_count; i++) {
        ar_pair *p = &s->adapter->pair[i];
        jitter(p->a, (size_t)p->rank * (size_t)p->n_in, 2 * i, 0.2);
        jitter(p->b, (size_t)p->rank * (size_t)p->n_out, 2 * i + 1, 0.2);
    }
    for (size_t i = 0; i < s->adapter->whole_count; i++) jitter(s->adapter->whole[i].data, s->adapter->whole[i].count, 1000 + i, 0.25);
    must(ar__attach_new(&s->at, s->model, s->adapter, 1.0, &err), &err);
    must(ar__attach_wholes(s->model, s->adapter, &err), &err);
    ar__attach_init_magnitudes(s->at);
    for (size_t i = 0; i < s->at->dora_count; i++)
        jitter(s->at->dora[i].pair->magnitude, (size_t)s->at->dora[i].pair->n_out, 2000 + i, 0.1);
    ar__attach_put(s->at);
    ar__attach_refresh(s->at);
    for (size_t i = 1; i < s->model->module_count; i++) s->at->ops[i].dropout = (float)c->dropout;
    must(ar__trainables_from_adapter(&s->list, s->model, s->at, &(ar_training){.pairs = true, .lr_ratio = 1.0}, &err), &err);
}

static void make_batch(small *s, const size_t *lengths) {
    for (s->samples = 0; lengths[s->samples]; s->samples++) s->tokens += lengths[s->samples];
    s->start = calloc(s->samples + 1, sizeof *s->start);
    s->key = calloc(s->samples, sizeof *s->key);
    s->ids = calloc(s->tokens, sizeof *s->ids);
    s->targets = calloc(s->tokens, sizeof *s->targets);
    ar_rng g = ar__rng_stream(11, AR_RNG_SAMPLE, 0, 0);
    for (size_t i = 0; i < s->samples; i++) {
        s->start[i + 1] = s->start[i] + lengths[i];
        s->key[i] = 7 + i;
    }
    for (size_t i = 0; i < s->tokens; i++) s->ids[i] = (int32_t)(ar__rng_u64(&g, i) % SMALL_VOCAB);
    for (size_t q = 0; q < s->samples; q++)
        for (size_t i = s->start[q]; i < s->start[q + 1]; i++)
            s->targets[i] = i + 1 < s->start[q + 1] && (ar__rng_u64(&g, 10000 + i) % 3 || i == s->start[q]) ? s->ids[i + 1] : -1;
    s->segment = (ar_segment){0, s->samples, s->at ? s->at->ops : NULL};
    s->batch = (ar_batch){.rows = {.count = s->tokens, .samples = s->samples, .start = s->start, .key = s->key, .segment_count = 1},
                          .ids = s->ids,
                          .targets = s->targets};
}

static void fill(ar_model *m, int64_t layer, ar_slot slot, float value) {
    size_t module = ar__module_at(layer, slot);
    for (size_t i = 0; m->owned[module].weight && i < (size_t)m->modules[module].n_out; i++) m->owned[module].weight[i] = value;
}

/* Where scores are not divided by the root of a head's size and all that is added is normed, random weights make a landscape so rough that
 * no difference shows its slope: q and what is added are smaller, as in trained models.  Layers' factors are other than 1. */
static void make_gentle(ar_model *m) {
    for (int64_t l = 0; m->arch.layer_scalar && l < m->arch.layers; l++) {
        fill(m, l, AR_SLOT_Q_NORM, 0.3f);
        fill(m, l, AR_SLOT_ATTN_OUT_NORM, 0.4f);
        fill(m, l, AR_SLOT_MLP_OUT_NORM, 0.4f);
        fill(m, l, AR_SLOT_DENSE_OUT_NORM, 0.5f);
        fill(m, l, AR_SLOT_EXPERTS_OUT_NORM, 0.4f);
        fill(m, l, AR_SLOT_PLE_NORM, 0.3f);
        m->layers[l].scalar = 0.8f + 0.1f * (float)l;
    }
}

static const ar_ops *operators;
static const char *device;
static ar_compute compute;

void small_use(const ar_ops *ops) { operators = ops; }
void small_use_bf16(bool on) { compute = on ? AR_COMPUTE_BF16 : AR_COMPUTE_F32; }
void small_use_device(const char *name) { device = name; }

small small_open(const small_case *c, const size_t *lengths, int threads, const char *isa, const char *backend, bool recompute) {
    small s = {0};
    ar_error err;
    char path[] = "/tmp/alphar-config-XXXXXX";
    ar_runtime_options o = {.threads = threads, .isa = isa, .backend = backend, .compute = compute, .device = device};
    must(ar_runtime_new(&s.rt, &o, &err), &err);
    if (operators) ar__runtime_use_ops(s.rt, operators);
    write_config(path, c->config);
    must(ar__model_init(&s.model, s.rt, path, 1, &err), &err);
    unlink(path);
    for (size_t i = 0; i < s.model->module_count; i++)
        if (s.model->owned[i].bias)
            jitter(s.model->owned[i].bias, (size_t)s.model->modules[i].n_out, ar__rng_hash(s.model->modules[i].path) + 1, 0.2);
    make_gentle(s.model);
    if (c->full)
        must(ar__trainables_from_model(&s.list, s.model, false, &err), &err);
    else
        make_adapter(&s, c);
    make_batch(&s, lengths);
    ar_pass_spec spec = {.tokens = s.tokens,
                         .samples = s.samples,
                         .longest = s.tokens,
                         .ranks = s.at ? s.at->ranks : NULL,
                         .dora = c->dora,
                         .dropout = c->dropout > 0.0,
                         .train = true,
                         .again = recompute ? SIZE_MAX : 0,
                         .lowest_layer = s.list.lowest_layer,
                         .embed_grad = s.list.embed,
                         .ple_grad = s.list.ple};
    must(ar__pass_new(&s.pass, s.model, &spec, &err), &err);
    return s;
}

/* The choices of a pass, layer by layer, and its operators with these in place of the router's own. */
static struct {
    ar_ops ops;
    int32_t *chosen[4];
    size_t layers, call;
    bool known;
} held;

static void route_held(const ar_runtime *rt, int32_t *chosen, float *weight, const ar_router *r, const float *logits, size_t rows) {
    size_t n = rows * r->used, layer = held.call++ % held.layers;
    if (!held.known) {
        ar__ops_cpu.route_fwd(rt, chosen, weight, r, logits, rows);
        memcpy(held.chosen[layer], chosen, n * sizeof *chosen);
        held.known = layer + 1 == held.layers;
        return;
    }
    memcpy(chosen, held.chosen[layer], n * sizeof *chosen);
    for (size_t i = 0; i < n; i++) {
        const float *l = logits + i / r->used * r->experts;
        const int32_t *own = chosen + i / r->used * r->used;
        double sum = 0.0;
        for (size_t e = 0; e < (r->of_all ? r->experts : r->used); e++)
            sum += exp((double)l[r->of_all ? e : (size_t)own[e]] - (double)l[chosen[i]]);
        weight[i] = (float)(1.0 / sum);
    }
}

void small_hold_choices(small *s) {
    const ar_arch *a = &s->model->arch;
    held.layers = held.call = 0;
    held.known = false;
    for (int64_t l = 0; a->experts && l < a->layers; l++) {
        if (ar__layer_is_dense(a, l)) continue;
        free(held.chosen[held.layers]);
        held.chosen[held.layers++] = calloc(s->tokens * (size_t)a->experts_used, sizeof(int32_t));
    }
    if (!held.layers) return;
    held.ops = ar__ops_cpu;
    held.ops.route_fwd = route_held;
    ar__runtime_use_ops(s->rt, &held.ops);
}

static void new_pass(small *s, const ar_pass_spec *spec) {
    ar_error err;
    ar__pass_free(s->pass);
    must(ar__pass_new(&s->pass, s->model, spec, &err), &err);
}

void small_keep(small *s, size_t again, size_t mlp_again) {
    ar_pass_spec spec = s->pass->spec;
    spec.again = again;
    spec.mlp_again = mlp_again;
    new_pass(s, &spec);
}

void small_keep_pieces(small *s, size_t head_pieces) {
    ar_pass_spec spec = s->pass->spec;
    spec.head_pieces = head_pieces;
    new_pass(s, &spec);
}

void small_close(small *s) {
    ar__pass_free(s->pass);
    ar__trainables_release(&s->list);
    ar__attach_free(s->at);
    ar_model_free(s->model);
    ar_adapter_free(s->adapter);
    ar_runtime_free(s->rt);
    free(s->start);
    free(s->key);
    free(s->ids);
    free(s->targets);
}

static size_t supervised(const small *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->tokens; i++) n += s->targets[i] >= 0;
    return n;
}

static double run(small *s, const ar_batch *b, bool gradients, float scale) {
    double nll[64], sum = 0.0;
    ar__pass_forward(s->pass, b, NULL);
    ar__pass_loss(s->pass, b, nll, NULL, gradients ? scale : 0.0f);
    if (gradients) ar__pass_backward(s->pass, b);
    for (size_t i = 0; i < b->rows.samples; i++) sum += nll[i];
    return sum;
}

double small_loss(small *s, bool gradients) {
    size_t n = supervised(s);
    s->batch.rows.segments = &s->segment; /* the struct may have moved since it was made */
    if (gradients) s->rt->ops->zero_grads(s->rt, s->list.at, s->list.count);
    double sum = run(s, &s->batch, gradients, (float)(1.0 / (double)n));
    if (gradients) s->rt->ops->join_grads(s->rt, s->list.at, s->list.count);
    return sum / (double)n;
}

double small_loss_apart(small *s, bool gradients) {
    size_t n = supervised(s);
    double sum = 0.0;
    if (gradients) s->rt->ops->zero_grads(s->rt, s->list.at, s->list.count);
    for (size_t i = 0; i < s->samples; i++) {
        size_t first = s->start[i], start[2] = {0, s->start[i + 1] - first};
        ar_segment seg = {0, 1, s->segment.pairs};
        ar_batch b = {.rows = {.count = start[1], .samples = 1, .start = start, .key = s->key + i, .segments = &seg, .segment_count = 1},
                      .ids = s->ids + first,
                      .targets = s->targets + first};
        sum += run(s, &b, gradients, (float)(1.0 / (double)n));
    }
    if (gradients) s->rt->ops->join_grads(s->rt, s->list.at, s->list.count);
    return sum / (double)n;
}

/* The DoRA norm is a constant of backward: the gains follow the magnitudes alone. */
static void hold_norms(small *s) {
    for (size_t i = 0; s->at && i < s->at->dora_count; i++) {
        ar_dora_site *d = &s->at->dora[i];
        for (size_t j = 0; j < (size_t)d->pair->n_out; j++) d->gain[j] = d->pair->magnitude[j] * d->inv_norm[j];
    }
}

/* What is checked: a loss, of which tensor. */
typedef struct slopes {
    small *s;
    small_loss_fn *loss;
    const void *user;
    const char *name;
} slopes;

static double loss_at(const slopes *q, ar_trainable *x, const float *origin, const double *way, double t) {
    for (size_t j = 0; j < x->count; j++) x->value[j] = (float)((double)origin[j] + t * way[j]);
    hold_norms(q->s);
    return q->loss(q->s, false, q->user);
}

static double slope(const slopes *q, ar_trainable *x, const float *origin, const double *way, double t) {
    return (loss_at(q, x, origin, way, t) - loss_at(q, x, origin, way, -t)) / (2.0 * t);
}

/* One tensor: along a unit direction, half towards the gradient (so that rounding of the loss does not drown the
 * slope) and half random (so that a wrong component shows). */
static void check_tensor(const slopes *q, ar_trainable *x) {
    double *way = calloc(x->count, sizeof *way), norm = 0.0, length = 0.0, along = 0.0, size = 0.0;
    float *origin = malloc(x->count * sizeof *origin);
    ar_rng g = ar__rng_stream(17, AR_RNG_SAMPLE, ar__rng_hash(x->name), 1);
    memcpy(origin, x->value, x->count * sizeof *origin);
    for (size_t j = 0; j < x->count; j++) norm += (double)x->grad[j] * (double)x->grad[j];
    norm = sqrt(norm);
    for (size_t j = 0; j < x->count; j++) {
        way[j] = (double)x->grad[j] / (norm + 1e-30) + ar__rng_normal(&g, j) / sqrt((double)x->count);
        length += way[j] * way[j];
        size += (double)origin[j] * (double)origin[j];
    }
    for (size_t j = 0; j < x->count; j++) along += (double)x->grad[j] * (way[j] /= sqrt(length));
    double t = fmin(0.01 / (norm + 1e-3), 0.02 * sqrt(size));
    double numeric = (4.0 * slope(q, x, origin, way, t / 2) - slope(q, x, origin, way, t)) / 3.0;
    if (fabs(along - numeric) > 1e-3 * fmax(fabs(numeric), 0.02))
        fail_msg("%s: %s: backward says %.7g, finite differences %.7g", q->name, x->name, along, numeric);
    loss_at(q, x, origin, way, 0.0);
    free(way);
    free(origin);
}

void small_check_slopes(small *s, small_loss_fn *loss, const void *user, const char *name) {
    slopes q = {s, loss, user, name};
    loss(s, true, user);
    for (size_t i = 0; i < s->list.count; i++) check_tensor(&q, &s->list.at[i]);
}
