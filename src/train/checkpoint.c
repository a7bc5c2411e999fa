#include "train/checkpoint.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/peft.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/size.h"
#include "model/mirror.h"
#include "train/record.h"

#define STATE "state.safetensors"
#define FROZEN_A ".lora_A#frozen" /* beside the trainables: of a pair that has a frozen part, its rows of A, and all of B */
#define WHOLE_B ".lora_B#whole"
#define HALF ".half-" /* begins the names of folders that are being written or removed */

static char *half_path(const char *dir, const char *what) {
    ar_buf b = {0};
    ar__buf_printf(&b, "%s/checkpoints/" HALF "%s", dir, what);
    return b.failed ? NULL : b.data;
}

static char *step_path(const char *dir, int64_t step, const char *file) {
    ar_buf b = {0};
    ar__buf_printf(&b, "%s/checkpoints/step-%" PRId64 "%s%s", dir, step, file ? "/" : "", file ? file : "");
    return b.failed ? NULL : b.data;
}

static ar_status add(ar_st_writer *w, const char *name, const char *suffix, const float *data, size_t count, ar_error *err) {
    ar_buf full = {0};
    ar__buf_printf(&full, "%s%s", name, suffix);
    ar_status s =
        full.failed ? ar__fail_memory(err, name) : ar__st_writer_add(w, full.data, AR_F32, 1, (const int64_t[]){(int64_t)count}, data, err);
    ar__buf_release(&full);
    return s;
}

/* What a pair has beside what learns (train/start.h): computed from W, but kept, since another machine would compute other last bits. */
static ar_status add_frozen(ar_st_writer *w, const ar_learner *l, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && l->adapter && l->attachment && i < l->adapter->pair_count; i++) {
        const ar_pair *p = &l->adapter->pair[i];
        size_t learned = ar__pair_learned(&l->attachment->ops[l->attachment->module[i]]), n = (size_t)p->rank;
        if (learned == n) continue;
        s = add(w, p->site, FROZEN_A, p->a + learned * (size_t)p->n_in, (n - learned) * (size_t)p->n_in, err);
        if (!s) s = add(w, p->site, WHOLE_B, p->b, n * (size_t)p->n_out, err);
    }
    return s;
}

static ar_status add_number(ar_st_writer *w, const char *key, double value, ar_error *err) {
    char text[64];
    snprintf(text, sizeof text, "%.17g", value);
    return ar__st_writer_meta(w, key, text, err);
}

/* A moment, which is the operators' own: read a piece at a time, as the file is written. */
typedef struct moment {
    const ar_runtime *rt;
    const float *from;
    size_t count;
} moment;

static ar_status write_moment(void *user, ar_writer *file, ar_error *err) {
    enum { PIECE = 1 << 18 };
    const moment *x = user;
    float *piece = ar__alloc(PIECE, sizeof *piece);
    ar_status s = piece ? AR_OK : ar__fail_memory(err, STATE);
    for (size_t at = 0; !s && at < x->count; at += PIECE) {
        size_t n = ar__min(x->count - at, PIECE);
        x->rt->ops->memory->read(x->rt, piece, x->from + at, n * sizeof *piece);
        s = ar__writer_put(file, piece, n * sizeof *piece, err);
    }
    free(piece);
    return s;
}

static ar_status add_moment(ar_st_writer *w, const char *name, const char *suffix, moment *x, ar_error *err) {
    if (!x->from) return AR_OK;
    if (x->rt->ops->memory->is_host) return add(w, name, suffix, x->from, x->count, err);
    ar_buf full = {0};
    ar__buf_printf(&full, "%s%s", name, suffix);
    ar_status s = full.failed
                      ? ar__fail_memory(err, name)
                      : ar__st_writer_add_stream(w, full.data, AR_F32, 1, (const int64_t[]){(int64_t)x->count}, write_moment, x, err);
    ar__buf_release(&full);
    return s;
}

static ar_status write_state(const ar_learner *l, const char *path, ar_error *err) {
    const ar_runtime *rt = l->course->rt;
    ar_st_writer *w = NULL;
    moment *moments = ar__alloc(2 * l->list.count, sizeof *moments);
    ar_status s = moments ? ar__st_writer_new(&w, err) : ar__fail_memory(err, path);
    for (size_t i = 0; !s && i < l->list.count; i++) {
        const ar_trainable *x = &l->list.at[i];
        moments[2 * i] = (moment){rt, x->m, x->count};
        moments[2 * i + 1] = (moment){rt, x->v, x->count};
        s = add(w, x->name, "", x->value, x->count, err);
        if (!s) s = add_moment(w, x->name, "#m", &moments[2 * i], err);
        if (!s) s = add_moment(w, x->name, "#v", &moments[2 * i + 1], err);
    }
    if (!s) s = add_frozen(w, l, err);
    if (!s) s = add_number(w, "step", (double)l->step, err);
    if (!s) s = add_number(w, "loss", l->loss, err);
    if (!s) s = add_number(w, "eval_loss", l->eval_loss, err);
    if (!s) s = add_number(w, "strength", l->strength, err);
    if (!s) s = add_number(w, "best_eval", l->best_eval, err);
    if (!s) s = add_number(w, "best_step", (double)l->best_step, err);
    if (!s) s = add_number(w, "evals_since_best", (double)l->evals_since_best, err);
    if (!s) s = ar__st_writer_save(w, path, err);
    if (!s) s = rt->ops->memory->settle(rt, err);
    ar__st_writer_free(w);
    free(moments);
    return s;
}

/* Whether a name in checkpoints/ is one that a checkpoint is given; *step is its number then. */
static bool is_step(int64_t *step, const char *name) {
    char own[32];
    if (strncmp(name, "step-", 5) != 0) return false;
    *step = strtoll(name + 5, NULL, 10);
    snprintf(own, sizeof own, "step-%" PRId64, *step);
    return *step >= 0 && !strcmp(name, own);
}

/* Step numbers of the checkpoints, newest first.  Returns their count; *out is malloc'ed. */
static size_t list_steps(int64_t **out, const char *dir) {
    char *folder = ar__path_join(dir, "checkpoints");
    DIR *d = folder ? opendir(folder) : NULL;
    size_t n = 0, cap = 0;
    *out = NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        int64_t step, *list = is_step(&step, e->d_name) ? ar__grow(*out, &cap, n + 1, sizeof *list) : NULL;
        if (!list) continue;
        *out = list;
        size_t at = n++;
        for (; at > 0 && list[at - 1] < step; at--) list[at] = list[at - 1];
        list[at] = step;
    }
    if (d) closedir(d);
    free(folder);
    return n;
}

/* A state that does not open, or is that of another step, is no checkpoint, whatever its folder's name says. */
bool ar__checkpoint_is_whole(const char *dir, int64_t step) { return (int64_t)ar__checkpoint_number(dir, step, "step", -1) == step; }

size_t ar__checkpoint_list(int64_t **out, const char *dir) {
    size_t n = list_steps(out, dir), whole = 0;
    for (size_t i = 0; i < n; i++)
        if (ar__checkpoint_is_whole(dir, (*out)[i])) (*out)[whole++] = (*out)[i];
    return whole;
}

int64_t ar__checkpoint_newest(const char *dir) {
    int64_t *steps, newest = -1;
    size_t n = list_steps(&steps, dir);
    for (size_t i = 0; newest < 0 && i < n; i++)
        if (ar__checkpoint_is_whole(dir, steps[i])) newest = steps[i];
    free(steps);
    return newest;
}

void ar__checkpoint_sweep(const char *dir) {
    char *folder = ar__path_join(dir, "checkpoints");
    DIR *d = folder ? opendir(folder) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        char *path = strncmp(e->d_name, HALF, sizeof HALF - 1) ? NULL : ar__path_join(folder, e->d_name);
        if (path) ar__dir_remove(path, NULL);
        free(path);
    }
    if (d) closedir(d);
    free(folder);
}

/* Another name first: a checkpoint is whole as long as it has its own. */
ar_status ar__checkpoint_drop(const char *dir, int64_t step, ar_error *err) {
    char *path = step_path(dir, step, NULL), *half = half_path(dir, "old");
    ar_status s = path && half ? AR_OK : ar__fail_memory(err, dir);
    if (!s) s = ar__dir_remove(half, err);
    if (!s && ar__path_exists(path)) s = ar__path_rename(path, half, err);
    if (!s) s = ar__dir_remove(half, err);
    free(path);
    free(half);
    return s;
}

/* Keeps the newest `keep` and the best; *dropped: how many went.  What is no checkpoint of this run is none of these, and is
 * left alone: somebody put it there. */
static ar_status prune(size_t *dropped, const ar_learner *l, const char *dir, size_t keep, ar_error *err) {
    int64_t *steps;
    size_t n = list_steps(&steps, dir), kept = 0;
    bool newest = true;
    ar_status s = AR_OK;
    *dropped = 0;
    for (size_t i = 0; !s && i < n; i++) {
        if (!ar__checkpoint_is_whole(dir, steps[i])) continue;
        bool best = steps[i] == l->best_step && l->o.run.early_stop;
        kept += best ? newest : 1; /* the best counts among the newest where it is the newest */
        newest = false;
        if (best || kept <= keep) continue;
        s = ar__checkpoint_drop(dir, steps[i], err);
        *dropped += !s;
    }
    free(steps);
    return s;
}

bool ar__checkpoint_thin(const ar_learner *l, const char *dir) {
    size_t dropped;
    prune(&dropped, l, dir, 1, NULL);
    return dropped > 0;
}

/* Numbers of what is frozen in the adapter's pairs, and with the state's whole B. */
static int64_t frozen_numbers(const ar_learner *l) {
    int64_t count = 0;
    for (size_t i = 0; l->adapter && l->attachment && i < l->adapter->pair_count; i++) {
        const ar_pair *p = &l->adapter->pair[i];
        int64_t frozen = l->attachment->ops[l->attachment->module[i]].frozen;
        if (frozen) count += 2 * frozen * p->n_in + (frozen + p->rank) * p->n_out;
    }
    return count;
}

int64_t ar__checkpoint_bytes(const ar_learner *l) {
    enum { HEADERS = 1 << 16 };
    int64_t copies = 1 + (l->adapter != NULL) + (l->o.learner.optimizer == AR_OPTIMIZER_ADAMW ? 2 : 0);
    return ((int64_t)l->list.total * copies + frozen_numbers(l)) * (int64_t)sizeof(float) + HEADERS;
}

int64_t ar__checkpoint_room(const ar_learner *l) {
    int64_t count = l->o.run.keep + 1 + (l->o.run.early_stop > 0);
    int64_t model = l->adapter ? 0 : (int64_t)l->list.total * (int64_t)sizeof(float);
    return count * ar__checkpoint_bytes(l) + model;
}

static ar_status write_files(ar_learner *l, const char *folder, ar_error *err) {
    char *state = ar__path_join(folder, STATE);
    ar__trainables_get(&l->list);
    ar_status s = state ? l->course->rt->ops->memory->settle(l->course->rt, err) : ar__fail_memory(err, folder);
    if (!s) s = ar__dir_make(folder, err);
    if (!s && l->adapter) s = ar__record_provenance(l, err);
    if (!s && l->adapter) s = ar_adapter_save(l->adapter, folder, false, err);
    if (!s) s = write_state(l, state, err);
    free(state);
    return s;
}

char *ar__checkpoint_folder(const char *dir, int64_t step) { return step_path(dir, step, NULL); }

ar_status ar__checkpoint_receive(char **half, const char *dir, ar_error *err) {
    *half = half_path(dir, "new");
    ar_status s = *half ? ar__dir_remove(*half, err) : ar__fail_memory(err, dir);
    return s ? s : ar__dir_make(*half, err);
}

ar_status ar__checkpoint_adopt(const char *dir, int64_t step, ar_error *err) {
    char *folder = step_path(dir, step, NULL), *half = half_path(dir, "new");
    ar_status s = folder && half ? ar__dir_sync(half, err) : ar__fail_memory(err, dir);
    if (!s && ar__path_exists(folder)) s = ar__checkpoint_drop(dir, step, err); /* one that did not open */
    if (!s) s = ar__path_rename(half, folder, err);
    free(folder);
    free(half);
    return s;
}

ar_status ar__checkpoint_save(ar_learner *l, const char *dir, ar_error *err) {
    char *folder = step_path(dir, l->step, NULL), *half = half_path(dir, "new");
    size_t dropped;
    ar_status s = folder && half ? ar__dir_remove(half, err) : ar__fail_memory(err, dir);
    if (!s && ((s = write_files(l, half, err)) || (s = ar__checkpoint_adopt(dir, l->step, err)))) ar__fail_rename(err, half, folder);
    if (s && half) ar__dir_remove(half, NULL);
    if (!s && l->adapter) s = ar__checkpoint_publish(dir, l->step, err);
    if (!s) s = prune(&dropped, l, dir, (size_t)l->o.run.keep, err);
    free(folder);
    free(half);
    return s;
}

/* The file under a second name where the file system can, else a copy; either way it appears at once. */
static ar_status publish_file(const char *dir, int64_t step, const char *file, bool link_it, ar_error *err) {
    char *from = step_path(dir, step, file), *to = ar__path_join(dir, file);
    ar_status s = from && to ? AR_OK : ar__fail_memory(err, dir);
    if (!s) s = link_it ? ar__file_link(from, to, err) : ar__file_copy(from, to, err);
    free(from);
    free(to);
    return s;
}

ar_status ar__checkpoint_publish(const char *dir, int64_t step, ar_error *err) {
    ar_status s = publish_file(dir, step, AR_PEFT_WEIGHTS, true, err);
    /* A copy, since people edit configurations in place; last, so that there is none without its weights. */
    return s ? s : publish_file(dir, step, AR_PEFT_CONFIG, false, err);
}

static ar_status find(const ar_tensor **out, size_t count, const ar_st_set *st, const char *path, const char *name, const char *suffix,
                      ar_error *err) {
    ar_buf full = {0};
    ar__buf_printf(&full, "%s%s", name, suffix);
    const ar_tensor *x = full.failed ? NULL : ar__st_find(st, full.data);
    ar__buf_release(&full);
    if (!x || x->dtype != AR_F32 || x->count != count)
        return ar__fail(err, AR_ERR_MISMATCH, "%s: holds no '%s%s' of %zu numbers; the checkpoint belongs to another run", path, name,
                        suffix, count);
    *out = x;
    return AR_OK;
}

static ar_status take(float *out, size_t count, const ar_st_set *st, const char *path, const char *name, const char *suffix,
                      ar_error *err) {
    const ar_tensor *x;
    ar_status s = find(&x, count, st, path, name, suffix, err);
    if (!s) memcpy(out, x->data, count * sizeof *out);
    return s;
}

/* To memory that is the operators' own; NULL: there is none. */
static ar_status take_moment(const ar_runtime *rt, float *to, size_t count, const ar_st_set *st, const char *path, const char *name,
                             const char *suffix, ar_error *err) {
    const ar_tensor *x;
    if (!to) return AR_OK;
    ar_status s = find(&x, count, st, path, name, suffix, err);
    if (!s) rt->ops->memory->write(rt, to, x->data, count * sizeof *to);
    return s;
}

static ar_status take_frozen(const ar_learner *l, const ar_st_set *st, const char *path, ar_error *err) {
    ar_status s = AR_OK;
    for (size_t i = 0; !s && l->adapter && l->attachment && i < l->adapter->pair_count; i++) {
        const ar_pair *p = &l->adapter->pair[i];
        size_t learned = ar__pair_learned(&l->attachment->ops[l->attachment->module[i]]), n = (size_t)p->rank;
        if (learned == n) continue;
        s = take(p->a + learned * (size_t)p->n_in, (n - learned) * (size_t)p->n_in, st, path, p->site, FROZEN_A, err);
        if (!s) s = take(p->b, n * (size_t)p->n_out, st, path, p->site, WHOLE_B, err);
    }
    return s;
}

static double number(const ar_st_set *st, const char *key, double otherwise) {
    const char *text = ar__st_metadata(st, key);
    return text ? strtod(text, NULL) : otherwise;
}

double ar__checkpoint_number(const char *dir, int64_t step, const char *key, double otherwise) {
    char *path = step_path(dir, step, STATE);
    ar_st_set *st = NULL;
    if (path && ar__st_open(&st, path, NULL) == AR_OK) otherwise = number(st, key, otherwise);
    ar__st_close(st);
    free(path);
    return otherwise;
}

static ar_status load(ar_learner *l, const char *dir, int64_t step, bool values_only, ar_error *err) {
    char *path = step_path(dir, step, STATE);
    ar_st_set *st = NULL;
    ar_status s = path ? ar__st_open(&st, path, err) : ar__fail_memory(err, dir);
    for (size_t i = 0; !s && i < l->list.count; i++) {
        ar_trainable *x = &l->list.at[i];
        s = take(x->value, x->count, st, path, x->name, "", err);
        if (!s && !values_only) s = take_moment(l->course->rt, x->m, x->count, st, path, x->name, "#m", err);
        if (!s && !values_only) s = take_moment(l->course->rt, x->v, x->count, st, path, x->name, "#v", err);
    }
    if (!s) s = take_frozen(l, st, path, err);
    if (!s) s = ar__model_mirror(l->course->model, err); /* of which values may be */
    if (!s && l->attachment) ar__attach_put(l->attachment);
    if (!s) ar__trainables_put(&l->list);
    if (!s && !values_only) {
        l->step = step;
        l->loss = number(st, "loss", 0.0);
        l->eval_loss = number(st, "eval_loss", -1.0);
        l->strength = number(st, "strength", -1.0);
        l->best_eval = number(st, "best_eval", l->best_eval);
        l->best_step = (int64_t)number(st, "best_step", 0.0);
        l->evals_since_best = (int64_t)number(st, "evals_since_best", 0.0);
    }
    if (!s) ar__learner_refresh(l);
    ar__st_close(st);
    free(path);
    return s;
}

ar_status ar__checkpoint_load(ar_learner *l, const char *dir, int64_t step, ar_error *err) { return load(l, dir, step, false, err); }
ar_status ar__checkpoint_load_values(ar_learner *l, const char *dir, int64_t step, ar_error *err) { return load(l, dir, step, true, err); }
