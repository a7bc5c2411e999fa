/* alphar tune: alpha of each site fitted to samples, after training. */
#include "alphar/tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "interrupt.h"
#include "lists.h"
#include "session.h"

enum { ROWS = 20 };

struct values {
    struct session_values session;
    ar_texts data, test_data;
    const char *map, *ignore_fields, *out;
    int max_length, train_on, groups;
    bool pack, skip_bad, overwrite;
    int64_t steps, batch;
    double lr, pull, prune;
};
#define AT(member) offsetof(struct values, member)

static cli_option options[] = {
    CLI_SESSION_QUANTIZE(AT(session.quantize)),
    {.name = "data",
     .kind = CLI_SETTING,
     .at = AT(data),
     .flags = CLI_REQUIRED,
     .help = "samples to fit to, held out of the training; may repeat"},
    {.name = "test-data",
     .kind = CLI_LIST,
     .at = AT(test_data),
     .value = "FILE",
     .help = "samples that choose where to stop; without, every fifth of the data"},
    {.name = "out", .kind = CLI_STRING, .at = AT(out), .value = "DIR", .flags = CLI_REQUIRED, .about = "folder for the adapter (PEFT)"},
    {.name = "overwrite", .kind = CLI_FLAG, .at = AT(overwrite), .help = "folder for the adapter", .about = "it may exist"},
    {.name = "groups", .kind = CLI_CHOICE, .at = AT(groups), .value = "site|role|layer|all", .help = "what has a scale of its own"},
    {.name = "steps", .kind = CLI_INT, .at = AT(steps), .value = "N", .initial = "100", .min = 1, .about = "steps of gradient descent"},
    {.name = "batch", .kind = CLI_INT, .at = AT(batch), .value = "N", .initial = "16", .min = 1, .max = 1 << 20, .about = "samples a step"},
    {.name = "lr",
     .kind = CLI_NUMBER,
     .at = AT(lr),
     .value = "X",
     .initial = "0.05",
     .max = 1,
     .flags = CLI_ABOVE,
     .about = "the most that a scale moves in a step, as a share of what it was"},
    {.name = "pull",
     .kind = CLI_NUMBER,
     .at = AT(pull),
     .value = "X",
     .initial = "0.1",
     .max = 1e6,
     .help = "its rate (a share of s), and the pull towards the start",
     .about = "decay of the change, which pulls scales towards where they began"},
    {.name = "prune",
     .kind = CLI_NUMBER,
     .at = AT(prune),
     .value = "E",
     .initial = "0",
     .max = 1e6,
     .help = "switch weak sites off while the test loss stays within 1+E times"},
    {.name = "max-length", .kind = CLI_SETTING, .at = AT(max_length), .shown = "the adapter's"},
    {.name = "pack", .kind = CLI_SETTING, .at = AT(pack)},
    {.name = "train-on", .kind = CLI_SETTING, .at = AT(train_on), .help = "what counts", .about = "what counts"},
    {.name = "map", .kind = CLI_SETTING, .at = AT(map)},
    {.name = "ignore-fields", .kind = CLI_SETTING, .at = AT(ignore_fields)},
    {.name = "skip-bad", .kind = CLI_SETTING, .at = AT(skip_bad), .help = "leave bad lines out, and count them"},
    {0},
};

static void show(void *user, const ar_tune_progress *p) {
    cli *c = user;
    cli_progress_show(&c->progress, p->step == p->steps, "step %lld/%lld  loss %.4f  test loss %.4f", (long long)p->step,
                      (long long)p->steps, p->loss, p->test_loss);
}

static json_t *sites_json(const ar_tune_result *r) {
    json_t *list = json_array();
    for (int i = 0; list && i < r->site_count; i++) {
        const ar_tuned_site *s = &r->sites[i];
        json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o, s:b}", "name", s->name, "before", cli_json_real(s->before), "after",
                                              cli_json_real(s->after), "alpha", cli_json_real(s->alpha), "pruned", s->pruned));
    }
    return list;
}

static json_t *to_json(const char *out, const ar_tune_result *r) {
    return json_pack("{s:s, s:{s:o, s:o}, s:{s:o, s:o}, s:I, s:i, s:i, s:o}", "out", out, "before", "loss", cli_json_real(r->before),
                     "data_loss", cli_json_real(r->data_before), "after", "loss", cli_json_real(r->after), "data_loss",
                     cli_json_real(r->data_after), "step", (json_int_t)r->step, "groups", r->groups, "pruned", r->pruned, "sites",
                     sites_json(r));
}

/* A group by its first site; the most changed first. */
struct row {
    const ar_tuned_site *first;
    int sites, off;
};

static double change_of(const struct row *r) { return r->first->after / r->first->before - 1; }

static int by_change(const void *a, const void *b) {
    double p = fabs(change_of(a)), q = fabs(change_of(b));
    return (p < q) - (p > q);
}

static int print_table(cli *c, const char *out, const ar_tune_result *r) {
    struct row *rows = calloc((size_t)r->groups, sizeof *rows);
    if (!rows) return cli_fail_memory(c);
    cli_progress_end(&c->progress);
    for (int i = 0; i < r->site_count; i++) {
        struct row *row = &rows[r->sites[i].group];
        if (!row->first || row->first->pruned) row->first = &r->sites[i];
        row->sites++;
        row->off += r->sites[i].pruned;
    }
    qsort(rows, (size_t)r->groups, sizeof *rows, by_change);
    printf("%9s %9s %10s\n", "s before", "after", "change");
    for (int i = 0; i < r->groups && i < ROWS; i++) {
        const struct row *row = &rows[i];
        printf("%9.4g %9.4g %+8.1f %%  %s", row->first->before, row->first->after, 100 * change_of(row), r->group_name[row->first->group]);
        if (row->sites > 1) printf(", %d sites", row->sites);
        if (row->off) printf(row->off == row->sites ? ", off" : ", %d off", row->off);
        putchar('\n');
    }
    if (r->groups > ROWS) printf("and %d that changed less\n", r->groups - ROWS);
    printf("test loss %.5f -> %.5f, of what was fitted to %.5f -> %.5f\n", r->before, r->after, r->data_before, r->data_after);
    printf("%s: %d scale%s, best at step %lld", out, r->groups, r->groups == 1 ? "" : "s", (long long)r->step);
    if (r->pruned) printf("; %d of %d sites are off", r->pruned, r->site_count);
    putchar('\n');
    free(rows);
    return cli_finish(c);
}

static int tune(cli *c, const struct values *v, ar_session *session, const ar_tune_options *o) {
    ar_tune_result r;
    ar_error err;
    int code = ar_tune(&r, session, o, &err) ? cli_fail(c, &err) : CLI_OK;
    if (!code && ar_session_save_adapter(session, v->out, v->overwrite, &err)) code = cli_fail(c, &err);
    bool more = false;
    if (!code) code = cli_keep_result(&more, c, to_json(v->out, &r));
    if (more) code = print_table(c, v->out, &r);
    ar_tune_result_release(&r);
    return code;
}

static int run(cli *c, const cli_args *args) {
    const struct values *v = args->values;
    ar_session_options so = {0};
    ar_session *session;
    ar_runtime *rt;
    ar_tune_options o;
    if (v->session.adapter.count != 1) return cli_fail_usage(c, "--adapter: wanted one, whose alpha is to be fitted");
    ar_error err;
    if (ar_session_check_folder(v->out, v->overwrite, &err)) return cli_fail(c, &err);
    int code = cli_session_open(&session, &rt, c, args, &so);
    if (code) return code;
    ar_tune_options_init(&o);
    o.eval.data.files = v->data;
    o.eval.map = v->map;
    o.eval.ignore_fields = v->ignore_fields;
    o.eval.max_length = v->max_length;
    o.eval.pack = v->pack;
    o.eval.train_on = cli_train_on(v->train_on);
    o.eval.skip_bad = v->skip_bad;
    o.eval.chat_for_pairs = v->session.chat_template != NULL;
    o.test_data.files = v->test_data;
    o.groups = (ar_tune_groups)v->groups;
    o.steps = v->steps;
    o.batch = (int)v->batch;
    o.lr = v->lr;
    o.pull = v->pull;
    o.prune = v->prune;
    o.seed = (uint64_t)v->session.common.seed;
    o.on_progress = show;
    o.should_stop = cli_interrupted;
    o.user = c;
    code = tune(c, v, session, &o);
    cli_session_close(session, rt);
    return code;
}

const cli_command cli_tune = {
    .name = "tune",
    .summary = "Fits alpha of each site to held-out samples, after training; A and B stay as they are.",
    .usage = "alphar tune --model FOLDER --adapter PATH --data FILE.jsonl --out DIR [--groups layer]",
    .example = "alphar tune --model demo/base --adapter my-adapter --data demo/task/eval.jsonl --out tuned",
    .options = options,
    .borrows = options,
    .shared = cli_session_options,
    .values_size = sizeof(struct values),
    .finishes_step = true,
    .run = run,
};
