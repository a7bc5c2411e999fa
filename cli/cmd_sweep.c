/* alphar sweep: many candidates trained at once, and the best of them.
 *
 *     --rank 8,16 --lr 1e-4,3e-4,1e-3      a candidate for every combination, at most 99 */
#include "alphar/ranks.h"
#include "alphar/sweep.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "lists.h"
#include "ranks.h"
#include "resume.h"
#include "session.h"
#include "settings.h"

enum { CANDIDATES = 99, TEXT = 400 };

/* ---- candidates ------------------------------------------------------------------------------------------------------*/

struct grid {
    ar_learner_options *candidates;
    int count;
    struct train_values *values; /* [count] where their texts are parsed into */
    double *in_ranks;            /* [count] alpha as a multiple of the rank; 0: a number */
    bool owns_texts;             /* lists of texts are its own, not those of the options */
};

/* Lists of texts that a candidate has. */
static ar_texts *texts_of(ar_learner_options *l, int i) { return i ? &l->alpha_patterns : &l->rank_patterns; }

static void grid_release(struct grid *g) {
    for (int k = 0; g->owns_texts && g->values && k < g->count; k++)
        for (int i = 0; i < 2; i++) free((void *)(uintptr_t)texts_of(&g->values[k].o.learner, i)->items);
    free(g->candidates);
    free(g->values);
    free(g->in_ranks);
}

static size_t bytes_of(const ar_setting *s) {
    switch (s->type) {
    case AR_SETTING_FLAG: return sizeof(bool);
    case AR_SETTING_INT:
    case AR_SETTING_CHOICE: return sizeof(int);
    case AR_SETTING_LONG:
    case AR_SETTING_BYTES: return sizeof(int64_t);
    case AR_SETTING_NUMBER: return sizeof(double);
    case AR_SETTING_TEXT:
    case AR_SETTING_NAMES:
    case AR_SETTING_PATH: return sizeof(const char *);
    case AR_SETTING_TEXTS:
    case AR_SETTING_FILES: return sizeof(ar_texts);
    case AR_SETTING_SECTION: break;
    }
    return 0;
}

/* What every candidate has: defaults, and what was given once. */
static ar_train_options common_of(const cli_args *args) {
    const struct sweep_values *v = args->values;
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    ar_train_options o;
    ar_train_options_init(&o);
    for (size_t i = 0; i < count; i++) {
        int option = cli_option_find(args->command, rows[i].name);
        const cli_option *row = option < 0 ? NULL : cli_option_at(args->command, option);
        bool same = row && row->at == offsetof(struct sweep_values, train.o) + rows[i].offset;
        if (same) memcpy((char *)&o + rows[i].offset, (const char *)&v->train.o + rows[i].offset, bytes_of(&rows[i]));
    }
    o.course.train_on = cli_train_on((int)o.course.train_on);
    return o;
}

/* One value of one candidate. */
static int put(cli *c, cli_args *args, struct train_values *into, const ar_setting *s, const char *text) {
    cli_option o = cli_setting_option(s);
    char place[120];
    void *own = args->values;
    snprintf(place, sizeof place, "sweep --%s", s->name);
    args->values = &into->o;
    int code = cli_value_set(args, &o, text, place);
    args->values = own;
    if (code) return cli_fail_code(c, code, code == CLI_USAGE ? "usage" : "io", args->message);
    if (s->given) *(bool *)((char *)&into->o + s->given) = true;
    return CLI_OK;
}

/* The k-th of the values that a list has, kept; their number is returned. */
static int item_of(const char **out, cli_args *args, const char *list, char between, int k) {
    int count = 0;
    *out = NULL;
    for (const char *p = list; p; count++) {
        size_t n = 0;
        while (p[n] && p[n] != between) n++;
        if (count == k) {
            size_t begin = strspn(p, " "), end = n;
            while (end > begin && p[end - 1] == ' ') end--;
            *out = cli_args_own(args, p + begin, end > begin ? end - begin : 0);
        }
        p = p[n] ? p + n + 1 : NULL;
    }
    return count;
}

static char separator(const ar_setting *s) { return s->type == AR_SETTING_NAMES ? ';' : ','; }

static int allocate(struct grid *g, cli *c, const cli_args *args, int count) {
    g->count = count;
    g->candidates = calloc((size_t)count, sizeof *g->candidates);
    g->values = calloc((size_t)count, sizeof *g->values);
    g->in_ranks = calloc((size_t)count, sizeof *g->in_ranks);
    if (!g->candidates || !g->values || !g->in_ranks) return cli_fail_memory(c);
    for (int i = 0; i < count; i++) g->values[i].o = common_of(args);
    return CLI_OK;
}

static const void *value_at(const ar_learner_options *l, const ar_setting *s) {
    return (const char *)l + (s->offset - offsetof(ar_train_options, learner));
}

static bool is_text(const ar_setting *s) { return s->type == AR_SETTING_TEXT || s->type == AR_SETTING_NAMES; }

static bool same_texts(const ar_texts *a, const ar_texts *b) {
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) same = !strcmp(a->items[i], b->items[i]);
    return same;
}

static bool same_value(const ar_learner_options *a, const ar_learner_options *b, const ar_setting *s) {
    if (s->type == AR_SETTING_TEXTS) return same_texts(value_at(a, s), value_at(b, s));
    if (!is_text(s)) return !memcmp(value_at(a, s), value_at(b, s), bytes_of(s));
    const char *x = *(const char *const *)value_at(a, s), *y = *(const char *const *)value_at(b, s);
    return x && y ? !strcmp(x, y) : x == y;
}

static bool same_candidate(const ar_learner_options *a, const ar_learner_options *b) {
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    bool same = true;
    for (size_t i = 0; same && i < count; i++) {
        bool own = rows[i].type != AR_SETTING_SECTION && ar_setting_part_of(&rows[i]) == AR_PART_LEARNER;
        same = !own || same_value(a, b, &rows[i]);
    }
    return same;
}

/* Values that come to the same, as 2r and 32 of rank 16, are trained once. */
static void drop_twins(struct grid *g, cli *c) {
    int kept = 0, all = g->count;
    for (int k = 0; k < all; k++) {
        bool there = false;
        for (int i = 0; i < kept && !there; i++) there = same_candidate(&g->candidates[i], &g->candidates[k]);
        if (!there) g->candidates[kept++] = g->candidates[k];
    }
    g->count = kept;
    char line[120];
    snprintf(line, sizeof line, "%d of %d candidates come to the same as others and are trained once: %d remain", all - kept, all, kept);
    if (kept < all) cli_log(c, AR_LOG_WARNING, line);
}

/* Every combination, the last list running fastest. */
static int expand(struct grid *g, cli *c, cli_args *args) {
    const struct sweep_values *v = args->values;
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    double all = 1;
    for (size_t i = 0; i < count; i++) {
        const char *item;
        if (v->list[i]) all *= item_of(&item, args, v->list[i], separator(&rows[i]), -1);
    }
    if (all > CANDIDATES) return cli_fail_usage(c, "found %.0f candidates, wanted at most %d: shorter lists", all, CANDIDATES);
    int code = allocate(g, c, args, (int)all), runs = (int)all;
    for (size_t i = 0; !code && i < count; i++) {
        const char *item;
        if (!v->list[i]) continue;
        int n = item_of(&item, args, v->list[i], separator(&rows[i]), -1);
        runs /= n;
        for (int k = 0; !code && k < g->count; k++) {
            item_of(&item, args, v->list[i], separator(&rows[i]), k / runs % n);
            code = item ? put(c, args, &g->values[k], &rows[i], item) : cli_fail_memory(c);
            if (rows[i].flags & AR_SETTING_RANKS) g->in_ranks[k] = args->in_ranks;
        }
    }
    for (int k = 0; !code && k < g->count; k++) {
        ar_learner_options *l = &g->values[k].o.learner;
        if (g->in_ranks[k] > 0) l->alpha = g->in_ranks[k] * l->rank;
        g->candidates[k] = *l;
    }
    if (!code) drop_twins(g, c);
    return code;
}

/* ---- going on --------------------------------------------------------------------------------------------------------*/

static bool any_list(const struct sweep_values *v) {
    for (size_t i = 0; i < CLI_SETTINGS_MOST; i++)
        if (v->list[i]) return true;
    return false;
}

/* A value of sweep.json as the text of an option; "" for none. */
static const char *text_of(cli_args *args, const json_t *value) {
    char number[40];
    if (json_is_string(value)) return cli_args_own(args, json_string_value(value), json_string_length(value));
    if (json_is_boolean(value)) return json_is_true(value) ? "true" : "false";
    if (json_is_integer(value))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, sizeof number, "%.17g", json_real_value(value));
    else
        return "";
    return cli_args_own(args, number, strlen(number));
}

/* The candidates that the sweep was started with. */
static int restore(struct grid *g, cli *c, cli_args *args) {
    const struct sweep_values *v = args->values;
    const json_t *list = json_object_get(v->stored, "candidates");
    int code = json_array_size(list) && json_array_size(list) <= CANDIDATES
                   ? allocate(g, c, args, (int)json_array_size(list))
                   : cli_fail_usage(c, "--resume: sweep.json holds no candidates; give the options again");
    g->owns_texts = !code;
    for (int k = 0; !code && k < g->count; k++)
        for (int i = 0; i < 2; i++) *texts_of(&g->values[k].o.learner, i) = (ar_texts){0};
    for (int k = 0; !code && k < g->count; k++) {
        const json_t *one = json_array_get(list, (size_t)k), *given = json_object_get(one, "given");
        const char *key;
        json_t *value;
        json_object_foreach(json_object_get(one, "settings"), key, value) {
            const ar_setting *s = ar_train_setting(key);
            bool derived = s && s->given && !cli_json_holds(given, key);
            if (code || !s || derived || json_is_null(value)) continue;
            if (json_is_array(value)) {
                size_t i;
                json_t *item;
                json_array_foreach(value, i, item) if (!code) code = put(c, args, &g->values[k], s, text_of(args, item));
                continue;
            }
            if (json_is_number(value) && json_number_value(value) == 0 && s->flags & AR_SETTING_OR_ZERO) continue;
            const char *text = text_of(args, value);
            code = text ? put(c, args, &g->values[k], s, text) : cli_fail_memory(c);
        }
        if (!code) g->candidates[k] = g->values[k].o.learner;
    }
    return code;
}

/* More values than before: those who were there keep their places, and the new ones follow.  Where one of them is missing all stays as it
 * is, and the library says that the candidates are others. */
static int extend(struct grid *g, cli *c, cli_args *args) {
    struct grid old = {0};
    int code = restore(&old, c, args), kept = 0;
    for (int k = 0; !code && k < old.count; k++) {
        int at = kept;
        while (at < g->count && !same_candidate(&g->candidates[at], &old.candidates[k])) at++;
        if (at == g->count) break;
        ar_learner_options one = g->candidates[at];
        memmove(&g->candidates[kept + 1], &g->candidates[kept], (size_t)(at - kept) * sizeof one);
        g->candidates[kept++] = one;
    }
    char line[120];
    snprintf(line, sizeof line, "%d of %d candidates are new: from run-%02d on", g->count - kept, g->count, kept + 1);
    if (!code && kept == old.count && kept < g->count) cli_log(c, AR_LOG_INFO, line);
    grid_release(&old);
    return code;
}

static int prepare(cli_args *args) {
    struct sweep_values *v = args->values;
    const char *dir;
    char path[4400];
    json_error_t error;
    json_t *none = json_array();
    int code = v->grid ? cli_config_read(args, v->grid) : CLI_OK;
    if (!code) code = cli_resume_folder(&dir, args);
    if (!code && dir) {
        snprintf(path, sizeof path, "%.4000s/sweep.json", dir);
        char *text = NULL;
        code = cli_resume_read(&text, args, path);
        if (!code && text && !(v->stored = json_loads(text, 0, &error)))
            code = cli_args_fail(args, CLI_FAILED, "%s:%d: %s; give the options again", path, error.line, error.text);
        free(text);
        if (!code && v->stored) {
            int halving = cli_option_find(args->command, "halving");
            code = cli_resume_take(args, json_object_get(v->stored, "settings"), none, path);
            if (!args->given[halving]) v->halving = json_is_true(json_object_get(v->stored, "halving"));
        }
    }
    json_decref(none);
    return code;
}

/* ---- results ---------------------------------------------------------------------------------------------------------*/

static void show(void *user, const ar_sweep_progress *p) {
    cli *c = user;
    char left[40], best[60] = "";
    if (p->best_loss >= 0) snprintf(best, sizeof best, "  best eval loss %.4f", p->best_loss);
    cli_progress_show(&c->progress, p->done == p->steps, "step %lld/%lld of all  %d of %d candidate%s%s  %.0f tokens/s  %s left",
                      (long long)p->done, (long long)p->steps, p->active, p->candidates, p->candidates == 1 ? "" : "s", best,
                      p->tokens_per_second, cli_duration(left, sizeof left, p->seconds_left));
}

static json_t *candidate_json(const ar_candidate *k, const ar_learner_options *l) {
    json_t *range = k->scale_least < k->scale_most ? json_pack("[f, f]", k->scale_least, k->scale_most) : NULL;
    return json_pack("{s:s, s:i, s:o, s:s, s:o, s:o*, s:o, s:I, s:I, s:o, s:o, s:s}", "dir", k->dir, "rank", k->rank, "alpha",
                     cli_json_real(k->alpha), "policy", ar_policy_name(l->policy), "scale", cli_json_real(k->scale), "scale_range", range,
                     "lr", cli_json_real(l->lr), "seed", (json_int_t)l->seed, "steps", (json_int_t)k->steps, "loss",
                     k->loss < 0 ? json_null() : cli_json_real(k->loss), "eval_loss",
                     k->eval_loss < 0 ? json_null() : cli_json_real(k->eval_loss), "state", ar_candidate_state_name(k->state));
}

static json_t *result_json(const char *out, const ar_sweep_result *r, const struct grid *g) {
    assert(g->candidates && r->candidates && "a sweep without an error has both");
    json_t *list = json_array();
    for (int i = 0; list && i < r->count; i++) json_array_append_new(list, candidate_json(&r->candidates[i], &g->candidates[i]));
    return json_pack("{s:s, s:o, s:o, s:o}", "out", out, "candidates", list, "best",
                     r->best < 0 ? json_null() : json_string(r->candidates[r->best].dir), "seconds", cli_json_real(r->seconds));
}

/* Whether the candidates have several values of a setting that the table has no column for. */
static bool is_shown(const ar_setting *s, const struct grid *g) {
    static const char *const columns[] = {"rank", "alpha", "lr"};
    if (s->type == AR_SETTING_SECTION || s->type == AR_SETTING_TEXTS || ar_setting_part_of(s) != AR_PART_LEARNER) return false;
    for (size_t k = 0; k < sizeof columns / sizeof *columns; k++)
        if (!strcmp(s->name, columns[k])) return false;
    for (int i = 1; i < g->count; i++)
        if (!same_value(&g->candidates[0], &g->candidates[i], s)) return true;
    return false;
}

static void print_choice(const ar_setting *s, int at) {
    const char *p = s->choices;
    for (; at > 0 && p; at--) p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL;
    if (p) printf("%.*s", (int)strcspn(p, "|"), p);
}

/* "  targets q_proj,v_proj  seed 3" */
static void print_others(const ar_learner_options *l, const struct grid *g) {
    size_t count;
    const ar_setting *rows = ar_train_settings(&count);
    for (size_t i = 0; i < count; i++) {
        const ar_setting *s = &rows[i];
        if (!is_shown(s, g)) continue;
        const void *at = value_at(l, s);
        printf("  %s ", s->name);
        if (is_text(s))
            fputs(*(const char *const *)at ? *(const char *const *)at : "-", stdout);
        else if (s->type == AR_SETTING_CHOICE)
            print_choice(s, *(const int *)at);
        else if (s->type == AR_SETTING_NUMBER)
            printf("%g", *(const double *)at);
        else if (s->type == AR_SETTING_LONG)
            printf("%lld", (long long)*(const int64_t *)at);
        else
            printf("%d", s->type == AR_SETTING_FLAG ? *(const bool *)at : *(const int *)at);
    }
}

/* The best first, those without a loss last. */
static const ar_sweep_result *sorting;
static int by_loss(const void *a, const void *b) {
    const ar_candidate *x = &sorting->candidates[*(const int *)a], *y = &sorting->candidates[*(const int *)b];
    bool xd = x->state == AR_CANDIDATE_DONE, yd = y->state == AR_CANDIDATE_DONE;
    if (xd != yd) return yd - xd;
    double l = x->eval_loss < 0 ? INFINITY : x->eval_loss, m = y->eval_loss < 0 ? INFINITY : y->eval_loss;
    return (l > m) - (l < m);
}

/* "0.5-2" where patterns make it differ from site to site. */
static const char *scale_text(char *out, size_t size, const ar_candidate *k) {
    int n = snprintf(out, size, "%.5g", k->scale_least);
    if (k->scale_least < k->scale_most) snprintf(out + n, size - (size_t)n, "-%.5g", k->scale_most);
    return out;
}

static void print_loss(double x) {
    if (x < 0)
        printf(" %10s", "-");
    else
        printf(" %10.4f", x);
}

static const char *fate(const ar_candidate *k, bool best) {
    static const char *const text[] = {"", "", "  left behind", "  failed"};
    return best ? "  best" : text[k->state];
}

/* A best at the end of what was tried may have better ones beyond. */
static void print_edges(const ar_sweep_result *r, const struct grid *g) {
    const ar_candidate *best = &r->candidates[r->best];
    double lr = g->candidates[r->best].lr;
    bool lower_alpha = false, higher_alpha = false, lower_lr = false, higher_lr = false;
    for (int i = 0; i < r->count; i++) {
        bool same_rank = r->candidates[i].rank == best->rank;
        lower_alpha |= same_rank && r->candidates[i].alpha < best->alpha;
        higher_alpha |= same_rank && r->candidates[i].alpha > best->alpha;
        lower_lr |= g->candidates[i].lr < lr;
        higher_lr |= g->candidates[i].lr > lr;
    }
    const struct {
        const char *name;
        bool lower, higher;
    } of[] = {{"alpha", lower_alpha, higher_alpha}, {"lr", lower_lr, higher_lr}};
    for (size_t k = 0; k < sizeof of / sizeof *of; k++)
        if (of[k].lower != of[k].higher)
            printf("%s has the %s %s that was tried; a %s one may be better still\n", best->dir, of[k].lower ? "largest" : "smallest",
                   of[k].name, of[k].lower ? "larger" : "smaller");
}

static int print_table(cli *c, const char *out, const ar_sweep_result *r, const struct grid *g) {
    assert(g->candidates && r->candidates && "a sweep without an error has both");
    int *order = calloc((size_t)r->count, sizeof *order);
    char time[40], scale[60];
    int wide = 8;
    if (!order) return cli_fail_memory(c);
    for (int i = 0; i < r->count; i++) {
        int n = (int)strlen(scale_text(scale, sizeof scale, &r->candidates[i]));
        wide = n > wide ? n : wide;
        order[i] = i;
    }
    sorting = r;
    qsort(order, (size_t)r->count, sizeof *order, by_loss);
    cli_progress_end(&c->progress);
    printf("%-7s %5s %8s %*s %9s %6s %10s %10s\n", "", "rank", "alpha", wide, "s", "lr", "steps", "loss", "eval loss");
    for (int n = 0; n < r->count; n++) {
        const ar_candidate *k = &r->candidates[order[n]];
        const ar_learner_options *l = &g->candidates[order[n]];
        printf("%-7s %5d %8.6g %*s %9.3g %6lld", k->dir, k->rank, k->alpha, wide, scale_text(scale, sizeof scale, k), l->lr,
               (long long)k->steps);
        print_loss(k->loss);
        print_loss(k->eval_loss);
        print_others(l, g);
        puts(fate(k, order[n] == r->best));
    }
    free(order);
    printf("%s/best: the adapter of %s; %d candidate%s in %s\n", out, r->candidates[r->best].dir, r->count, r->count == 1 ? "" : "s",
           cli_duration(time, sizeof time, r->seconds));
    print_edges(r, g);
    return cli_finish(c);
}

/* ---- the command -----------------------------------------------------------------------------------------------------*/

/* With the arithmetic that the sweep had before, which is in rank 0's folder. */
static int open_runtime(ar_runtime **rt, cli *c, const cli_args *args, const ar_train_options *first) {
    static const char *const names[] = {[AR_COMPUTE_F32] = "f32", [AR_COMPUTE_BF16] = "bf16", [AR_COMPUTE_AUTO] = "auto"};
    char *text = strdup(names[ar_train_compute(first)]);
    ar_error err;
    ar_compute compute = AR_COMPUTE_F32;
    *rt = NULL;
    if (!text) return cli_fail_memory(c);
    int code = ar_ranks_text(c->ranks, &text, &err) ? cli_fail(c, &err) : CLI_OK;
    for (int i = 0; !code && text && i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(names[i], text)) compute = (ar_compute)i;
    free(text);
    return code ? code : cli_runtime_open(rt, c, args, compute, first->course.device);
}

static int sweep(cli *c, const cli_args *args, ar_train_options *common, const struct grid *g) {
    const struct sweep_values *v = args->values;
    ar_train_options first = *common;
    ar_runtime *rt;
    ar_sweep_result r;
    ar_error err;
    char run[4400];
    snprintf(run, sizeof run, "%.4000s/run-01", common->run.out);
    first.run.out = run;
    int code = open_runtime(&rt, c, args, &first);
    if (code) return code;
    ar_sweep_options o = {
        .common = *common, .candidates = g->candidates, .count = g->count, .halving = v->halving, .on_progress = show, .user = c};
    o.common.should_stop = cli_interrupted;
    o.common.user = c;
    o.common.ranks = c->ranks;
    ar_status s = ar_sweep(&r, rt, &o, &err);
    if (s && cli_step_down(c, &common->course.device, &rt, &err)) return sweep(c, args, common, g);
    code = s ? cli_fail(c, &err) : CLI_OK;
    bool more = false;
    if (!code && !cli_helps(c)) code = cli_keep_result(&more, c, result_json(common->run.out, &r, g));
    if (more) code = print_table(c, common->run.out, &r, g);
    ar_sweep_result_release(&r);
    ar_runtime_free(rt);
    return code;
}

static int run(cli *c, const cli_args *shared_args) {
    cli_args *args = (cli_args *)(uintptr_t)shared_args; /* texts of candidates are kept there */
    struct sweep_values *v = args->values;
    struct grid g = {0};
    ar_train_options common = common_of(args);
    if (!common.run.out) return cli_fail_usage(c, "--out is missing, wanted the folder for the results");
    if (common.run.resume && common.run.overwrite) return cli_fail_usage(c, "found --resume and --overwrite, wanted one of them");
    if (common.run.resume && !v->stored && !common.course.model)
        return cli_fail_usage(c, "--resume: found no sweep.json in %.200s to go on from, wanted the folder of a sweep", common.run.out);
    if (!common.course.model) return cli_fail_usage(c, "--model is missing, wanted a Hugging Face folder or a .gguf file");
    if (!common.course.data.files.count) return cli_fail_usage(c, "--data is missing, wanted a JSON Lines file");
    if (!common.course.eval_data.files.count)
        return cli_fail_usage(c, "--eval-data is missing, wanted samples by whose loss candidates are compared");
    if (cli_given(args, "steps") && cli_given(args, "epochs")) return cli_fail_usage(c, "found --steps and --epochs, wanted one of them");
    int code = v->stored && !any_list(v) ? restore(&g, c, args) : expand(&g, c, args);
    if (!code && v->stored && any_list(v)) code = extend(&g, c, args);
    if (!code && g.candidates) common.learner = g.candidates[0];
    if (!code) code = sweep(c, args, &common, &g);
    grid_release(&g);
    json_decref(v->stored);
    return code;
}

static const cli_option options[] = {
    {.name = "halving",
     .kind = CLI_FLAG,
     .at = offsetof(struct sweep_values, halving),
     .about = "at 1/2^k … 1/4, 1/2 of the steps the worse half is left behind"},
    {.name = "grid",
     .kind = CLI_STRING,
     .at = offsetof(struct sweep_values, grid),
     .value = "FILE.yaml",
     .help = "drop the worse half; lists in a file",
     .about = "options from a file, as --config, where lists are values to try"},
    {0},
};

const cli_command cli_sweep = {
    .name = "sweep",
    .summary = "Trains a candidate for every combination of listed settings, all at once over one base.",
    .usage = "alphar sweep --model FOLDER --data FILE.jsonl --eval-data FILE.jsonl --out DIR --rank 8,16 --lr 1e-4,1e-3 [options of train]",
    .example = "alphar sweep --model demo/base --data demo/task/train.jsonl --eval-data demo/task/eval.jsonl --rank 4,16 --out s",
    .options = options,
    .shared = cli_sweep_options,
    .values_size = sizeof(struct sweep_values),
    .positional_count = 1,
    .shares = true,
    .finishes_step = true,
    .prepare = prepare,
    .run = run,
};
