/* alphar train: LoRA (or all weights) on a base, from samples to an adapter folder. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "alphar/ranks.h"
#include "commands.h"
#include "interrupt.h"
#include "ranks.h"
#include "resume.h"
#include "session.h"
#include "settings.h"

static void tell_eval(cli *c, const ar_progress *p) {
    if (p->eval_loss < 0 || c->quiet) return;
    cli_progress_clear(&c->progress);
    fprintf(stderr, "step %lld: eval loss %.4f, ", (long long)p->step, p->eval_loss);
    if (p->compared)
        fprintf(stderr, "margin %.4f, accuracy %.3f\n", p->eval_margin, p->eval_accuracy);
    else
        fprintf(stderr, "perplexity %.3f\n", exp(p->eval_loss));
}

static void show(void *user, const ar_progress *p) {
    cli *c = user;
    char left[40], scale[80] = "", strength[40] = "", won[80] = "";
    if (p->compared) snprintf(won, sizeof won, "  margin %.4f  accuracy %.2f", p->margin, p->accuracy);
    if (p->scale != 0) snprintf(scale, sizeof scale, "  s %.4g", p->scale);
    if (p->strength >= 0) snprintf(strength, sizeof strength, "  strength %.2e", p->strength);
    cli_progress_show(&c->progress, p->step == p->steps || p->step == 1, "step %lld/%lld  loss %.4f%s  %.0f tokens/s  %s left%s%s  lr %.2e",
                      (long long)p->step, (long long)p->steps, p->loss, won, p->tokens_per_second,
                      cli_duration(left, sizeof left, p->seconds_left), scale, strength, p->lr);
    tell_eval(c, p);
}

/* "5.10 ▇▆▄▃▂▁ 0.38": the loss from its beginning to its end, both smoothed. */
static void print_curve(const ar_train_result *r) {
    static const char *const bar[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double least = r->curve[0], most = r->curve[0];
    for (int i = 1; i < r->curve_count; i++) {
        least = fmin(least, r->curve[i]);
        most = fmax(most, r->curve[i]);
    }
    if (r->curve_count < 4 || !(most > least)) return;
    printf("loss %.4f ", r->curve[0]);
    for (int i = 0; i < r->curve_count; i++) fputs(bar[(int)(7.999 * (r->curve[i] - least) / (most - least))], stdout);
    printf(" %.4f\n", r->curve[r->curve_count - 1]);
}

static json_t *result_json(const char *out, const ar_train_result *r) {
    json_t *eval_loss = r->eval_loss < 0 ? json_null() : cli_json_real(r->eval_loss);
    return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "out", out, "steps", (json_int_t)r->steps, "loss", cli_json_real(r->loss),
                     "smoothed_loss", cli_json_real(r->smoothed_loss), "eval_loss", eval_loss, "seconds", cli_json_real(r->seconds));
}

static int print_result(cli *c, const char *out, const char *did, const ar_train_result *r) {
    bool more;
    int code = cli_keep_result(&more, c, result_json(out, r));
    if (!more) return code;
    cli_progress_end(&c->progress);
    print_curve(r);
    printf("%s: %s, loss %.4f", out, did, r->smoothed_loss);
    if (r->eval_loss >= 0) printf(", eval loss %.4f", r->eval_loss);
    putchar('\n');
    return cli_finish(c);
}

static int finish(cli *c, const cli_args *args, const char *dir) {
    static const char *const allowed[] = {"finish", "json", "quiet", "threads"};
    ar_runtime *rt;
    ar_train_result result;
    ar_error err;
    char did[80];
    const cli_option *o;
    if (((const struct train_values *)args->values)->o.run.resume)
        return cli_fail_usage(c, "found --finish and --resume, wanted one of them");
    for (int i = 0; (o = cli_option_at(args->command, i)); i++) {
        bool fine = !args->given[i] || o->kind == CLI_SECTION;
        for (size_t k = 0; !fine && k < sizeof allowed / sizeof *allowed; k++) fine = !strcmp(o->name, allowed[k]);
        if (!fine) return cli_fail_usage(c, "found --finish and --%s, wanted --finish alone: the run's own settings hold", o->name);
    }
    int code = cli_runtime_open(&rt, c, args, AR_COMPUTE_F32, NULL);
    if (code) return code;
    code = ar_train_finish(&result, rt, dir, &err) ? cli_fail(c, &err) : CLI_OK;
    snprintf(did, sizeof did, "the result of step %lld", (long long)result.steps);
    if (code == CLI_OK) code = print_result(c, dir, did, &result);
    ar_runtime_free(rt);
    return code;
}

static int train(cli *c, const cli_args *args, ar_train_options *o) {
    ar_train_result result;
    ar_runtime *rt;
    ar_error err;
    char time[40], did[120];
    int code = cli_runtime_open(&rt, c, args, ar_train_compute(o), o->course.device);
    if (code) return code;
    o->on_progress = show;
    o->should_stop = cli_interrupted;
    o->user = c;
    o->ranks = c->ranks;
    ar_status s = ar_train(&result, rt, o, &err);
    if (s && cli_step_down(c, &o->course.device, &rt, &err)) return train(c, args, o);
    code = s ? cli_fail(c, &err) : CLI_OK;
    snprintf(did, sizeof did, "%lld step%s in %s", (long long)result.steps, result.steps == 1 ? "" : "s",
             cli_duration(time, sizeof time, result.seconds));
    if (code == CLI_OK && !cli_helps(c)) code = print_result(c, o->run.out, did, &result);
    ar_runtime_free(rt);
    return code;
}

static int run(cli *c, const cli_args *args) {
    const struct train_values *v = args->values;
    ar_train_options o;
    if (v->finish && c->ranks && ar_ranks_count(c->ranks) > 1)
        return cli_fail_usage(c, "found --finish on several ranks, wanted one process");
    if (v->finish) return finish(c, args, v->finish);
    int code = cli_train_take(&o, c, args);
    if (code) return code;
    if (!o.course.data.files.count) return cli_fail_usage(c, "--data is missing, wanted a JSON Lines file");
    if (!o.run.out) return cli_fail_usage(c, "--out is missing, wanted the folder for the result");
    return train(c, args, &o);
}

static const cli_option options[] = {
    {.name = "finish",
     .kind = CLI_STRING,
     .at = offsetof(struct train_values, finish),
     .value = "DIR",
     .help = "end a stopped run; nothing else with it",
     .about = "nothing else with it: write the result of a run that was stopped"},
    {0},
};

const cli_command cli_train = {
    .name = "train",
    .summary = "Fine-tunes a base with LoRA on your samples and writes a PEFT adapter.",
    .usage = "alphar train --model FOLDER --data FILE.jsonl --out DIR [options]",
    .example = "alphar train --model demo/base --data demo/task/train.jsonl --out my-adapter",
    .options = options,
    .shared = cli_train_options,
    .values_size = sizeof(struct train_values),
    .positional_count = 1,
    .finishes_step = true,
    .shares = true,
    .prepare = cli_resume_prepare,
    .run = run,
};
