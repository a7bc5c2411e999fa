/* alphar train: LoRA (or all weights) on a base, from samples to an adapter folder. */
#include <math.h>
#include <stdio.h>

#include "commands.h"
#include "interrupt.h"
#include "session.h"
#include "train_options.h"

static void tell_eval(cli *c, const ar_progress *p) {
    if (p->eval_loss < 0 || c->quiet) return;
    cli_progress_clear(&c->progress);
    fprintf(stderr, "step %lld: eval loss %.4f, perplexity %.3f\n", (long long)p->step, p->eval_loss, exp(p->eval_loss));
}

static void show(void *user, const ar_progress *p) {
    cli *c = user;
    char left[40], scale[80] = "", strength[40] = "";
    if (p->scale != 0) snprintf(scale, sizeof scale, "  s %.4g", p->scale);
    if (p->strength >= 0) snprintf(strength, sizeof strength, "  strength %.2e", p->strength);
    cli_progress_show(&c->progress, p->step == p->steps || p->step == 1, "step %lld/%lld  loss %.4f  %.0f tokens/s  %s left%s%s  lr %.2e",
                      (long long)p->step, (long long)p->steps, p->loss, p->tokens_per_second,
                      cli_duration(left, sizeof left, p->seconds_left), scale, strength, p->lr);
    tell_eval(c, p);
}

static int print_result(cli *c, const ar_train_options *o, const ar_train_result *r) {
    json_t *eval_loss = r->eval_loss < 0 ? json_null() : cli_json_real(r->eval_loss);
    if (c->json)
        return cli_print_json(c, json_pack("{s:s, s:I, s:o, s:o, s:o}", "out", o->out, "steps", (json_int_t)r->steps, "loss",
                                           cli_json_real(r->loss), "eval_loss", eval_loss, "seconds", cli_json_real(r->seconds)));
    json_decref(eval_loss);
    cli_progress_end(&c->progress);
    char time[40];
    printf("%s: %lld steps in %s, loss %.4f", o->out, (long long)r->steps, cli_duration(time, sizeof time, r->seconds), r->loss);
    if (r->eval_loss >= 0) printf(", eval loss %.4f", r->eval_loss);
    putchar('\n');
    return cli_finish(c);
}

static int run(cli *c, const cli_args *args) {
    ar_train_options o;
    ar_train_result result;
    ar_runtime *rt;
    ar_error err;
    int code = cli_train_map(&o, c, args);
    if (code) return code;
    if (!o.data) return cli_fail_usage(c, "--data is missing, wanted a JSON Lines file");
    if (!o.out) return cli_fail_usage(c, "--out is missing, wanted the folder for the result");
    if ((code = cli_runtime_open(&rt, c, args, o.compute))) return code;
    o.on_progress = show;
    o.should_stop = cli_interrupted;
    o.user = c;
    code = ar_train(&result, rt, &o, &err) ? cli_fail(c, &err) : print_result(c, &o, &result);
    ar_runtime_free(rt);
    return code;
}

const cli_command cli_train = {
    .name = "train",
    .summary = "Fine-tunes a base with LoRA on your samples and writes a PEFT adapter.",
    .usage = "alphar train --model FOLDER --data FILE.jsonl --out DIR [options]",
    .example = "alphar train --model demo/base --data demo/task/train.jsonl --out my-adapter --rank 8",
    .options = cli_train_options,
    .values_size = sizeof(struct train_values),
    .finishes_step = true,
    .run = run,
};
