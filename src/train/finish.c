/* ar_train_finish: the result of a run that was stopped, from its newest whole checkpoint, or from the best one where the run
 * was to end at the best.  Nothing is trained; --resume can still go on afterwards. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/file.h"
#include "format/json.h"
#include "train/checkpoint.h"
#include "train/curve.h"
#include "train/learner.h"
#include "train/output.h"

static ar_status read_settings(json_t **run, json_t **settings, const char *dir, ar_error *err) {
    char *path = ar__path_join(dir, "run.json");
    ar_status s = path ? AR_OK : ar__fail_memory(err, dir);
    if (!s && !ar__path_exists(path))
        s = ar__fail(err, AR_ERR_NOT_FOUND, "%s: no run.json there, wanted a folder that alphar train writes into", dir);
    if (!s) s = ar__json_load_object(run, path, 1 << 24, err);
    *settings = json_object_get(*run, "settings");
    if (!s && !json_is_object(*settings)) s = ar__fail(err, AR_ERR_FORMAT, "%s: holds no settings of a run", path);
    free(path);
    return s;
}

static const char *text(const json_t *settings, const char *key) { return json_string_value(json_object_get(settings, key)); }

static bool is(const json_t *settings, const char *key, const char *value) {
    const char *found = text(settings, key);
    return found && !strcmp(found, value);
}

/* All weights at that checkpoint, as a model folder: the base is opened for its shapes, configuration and tokenizer. */
static ar_status write_model(const json_t *settings, const ar_runtime *rt, const char *dir, int64_t step, ar_error *err) {
    ar_train_options o;
    ar_course c;
    ar_learner l = {0};
    ar_train_options_init(&o);
    o.learner.method = AR_METHOD_FULL;
    o.course.model = text(settings, "model");
    o.course.init = text(settings, "init");
    o.course.model_config = text(settings, "model-config");
    o.learner.optimizer = AR_OPTIMIZER_SGD; /* no moments are wanted */
    ar_status s = ar__course_open(&c, rt, &o, AR_DATA_NOT, err);
    if (!s) s = ar__learner_open(&l, &c, &o, err);
    if (!s) s = ar__checkpoint_load_values(&l, dir, step, err);
    if (!s) s = ar__model_save(c.model, dir, c.tokenizer_path, err);
    ar__learner_close(&l);
    ar__course_close(&c);
    return s;
}

static ar_status finish(ar_train_result *result, const ar_runtime *rt, const char *dir, ar_error *err) {
    json_t *run = NULL, *settings;
    ar_curve curve = {0};
    int64_t newest = ar__checkpoint_newest(dir), step = newest;
    ar_status s = read_settings(&run, &settings, dir, err);
    if (!s && newest < 0)
        s = ar__fail(err, AR_ERR_NOT_FOUND, "%s: the run has no whole checkpoint yet; alphar train --resume %s goes on with it", dir, dir);
    if (!s && json_integer_value(json_object_get(settings, "early-stop")) > 0) {
        int64_t best = (int64_t)ar__checkpoint_number(dir, newest, "best_step", 0);
        if (best > 0 && ar__checkpoint_is_whole(dir, best)) step = best;
    }
    if (!s) s = is(settings, "method", "full") ? write_model(settings, rt, dir, step, err) : ar__checkpoint_publish(dir, step, err);
    if (!s) s = ar__curve_read(&curve, dir, step, err);
    if (!s) {
        result->steps = step;
        result->loss = ar__checkpoint_number(dir, step, "loss", 0);
        result->eval_loss = ar__checkpoint_number(dir, step, "eval_loss", -1);
        result->smoothed_loss = curve.last;
        result->curve_count = (int)ar__curve_reduce(result->curve, AR_CURVE_POINTS, &curve);
    }
    ar__curve_release(&curve);
    json_decref(run);
    return s;
}

ar_status ar_train_finish(ar_train_result *result, const ar_runtime *rt, const char *dir, ar_error *err) {
    double began = ar__clock_seconds();
    ar_lock lock = AR_LOCK_NONE;
    *result = (ar_train_result){.eval_loss = -1.0};
    AR_ONE_CALL(rt, err);
    if (!ar__path_is_dir(dir)) return ar__fail(err, AR_ERR_NOT_FOUND, "%s: no such folder, wanted one that alphar train writes into", dir);
    ar_status s = ar__lock_take(&lock, dir, err);
    if (!s) s = finish(result, rt, dir, err);
    result->seconds = ar__clock_seconds() - began;
    ar__lock_drop(&lock);
    return s;
}
