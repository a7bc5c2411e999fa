#include "train/changes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "format/json.h"
#include "train/objective.h"
#include "train/output.h"

typedef struct recipe {
    ar_policy policy;
    double alpha, scale;
    int rank;
} recipe;

static recipe make_recipe(ar_policy policy, double alpha, int rank) {
    return (recipe){policy, alpha, rank > 0 ? ar__policy_scale(policy, alpha, rank) : 0, rank};
}

static void warn_of_scale(const char *place, const recipe *old, const recipe *now, const ar_log *log) {
    double kept = ar__policy_alpha(now->policy, old->scale, now->rank);
    if (now->alpha != old->alpha) return;
    if (now->rank > old->rank)
        ar__log_warn(log, "%s: rank goes from %d to %d while alpha stays %g, so that s falls from %g to %g; --alpha %g keeps it", place,
                     old->rank, now->rank, now->alpha, old->scale, now->scale, kept);
    if (now->policy != old->policy)
        ar__log_warn(log, "%s: the policy goes from %s to %s while alpha stays %g, so that s goes from %g to %g; --alpha %g keeps it",
                     place, ar_policy_name(old->policy), ar_policy_name(now->policy), now->alpha, old->scale, now->scale, kept);
}

static recipe own_recipe(const ar_train_options *o) { return make_recipe(o->learner.policy, o->learner.alpha, o->learner.rank); }

void ar__changes_warn_of_adapter(const ar_adapter *from, const ar_train_options *o, const ar_log *log) {
    const char *noted = ar__adapter_note(from, "train.lr");
    double rate = noted ? strtod(noted, NULL) : 0;
    recipe old = make_recipe(from->settings.policy, from->settings.alpha, from->settings.rank), now = own_recipe(o);
    double ratio = old.scale != 0 && rate > 0 ? now.scale * o->learner.lr / (old.scale * rate) : 1;
    warn_of_scale(o->course.init_adapter, &old, &now, log);
    if (!ar__has_objective(o) && (ratio > 2 || ratio < 0.5)) /* preferences are learned at lower rates */
        ar__log_warn(log, "%s: was trained with s·lr = %g, this run has %g: more than twice as %s", o->course.init_adapter,
                     old.scale * rate, now.scale * o->learner.lr, ratio > 1 ? "fast" : "slow");
}

void ar__changes_warn_of_run(const ar_train_options *o, const ar_log *log) {
    char *path = ar__path_join(o->run.out, AR_RUN_RECORD);
    json_t *run = NULL;
    if (path && ar__path_exists(path) && !ar__json_load_object(&run, path, 1 << 24, NULL)) {
        const json_t *settings = json_object_get(run, "settings");
        const char *policy = json_string_value(json_object_get(settings, "policy"));
        int64_t rank;
        double alpha;
        bool known = policy && ar__json_as_int(&rank, json_object_get(settings, "rank")) && rank > 0 && rank <= INT32_MAX &&
                     ar__json_as_double(&alpha, json_object_get(settings, "alpha"));
        if (known) {
            bool rslora = !strcmp(policy, ar_policy_name(AR_POLICY_RSLORA));
            recipe old = make_recipe(rslora ? AR_POLICY_RSLORA : AR_POLICY_STANDARD, alpha, (int)rank), now = own_recipe(o);
            warn_of_scale(o->run.out, &old, &now, log);
        }
    }
    json_decref(run);
    free(path);
}
