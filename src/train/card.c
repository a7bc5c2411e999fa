#include "train/card.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/file.h"

static void add_head(ar_buf *card, const char *base, bool lora) {
    ar__buf_puts(card, "---\n");
    if (lora) ar__buf_printf(card, "base_model: %s\nlibrary_name: peft\n", base);
    ar__buf_printf(card, "tags:\n- alphar\n%s---\n\n", lora ? "- lora\n" : "");
    ar__buf_printf(card, "# %s of %s\n\n", lora ? "LoRA adapter" : "Fine-tuned copy", base);
}

static void add_adapter(ar_buf *card, const ar_learner *l) {
    const ar_train_options *o = &l->o;
    bool patterns = o->learner.rank_patterns.count || o->learner.alpha_patterns.count;
    ar__buf_printf(card, "- rank %d, alpha %g, policy %s%s", o->learner.rank, o->learner.alpha, ar_policy_name(o->learner.policy),
                   o->learner.dora ? ", DoRA" : "");
    if (l->adapter->pair_count)
        ar__buf_printf(card, ": s = %g%s", l->adapter->pair[0].scale, patterns ? " at the first site (patterns differ)" : "");
    ar__buf_printf(card, "\n- targets %s\n", o->learner.targets ? o->learner.targets : "all-linear");
}

/* Over which base the pairs are right, where they began with numbers of W (train/start.h). */
static void add_start(ar_buf *card, const ar_learner *l) {
    const char *init = l->o.course.init, *type = l->o.course.quantize;
    if (l->course->init.kind == AR_INIT_PISSA)
        ar__buf_printf(
            card,
            "- the pairs began with the largest singular triples of W (%s). The adapter is one for the base as it is, in twice the "
            "rank and at the same s: its second half takes the beginning away again, which no rounding bears: keep it in f32\n",
            init);
    if (l->course->init.kind == AR_INIT_LOFTQ)
        ar__buf_printf(card,
                       "- the pairs began with what quantising took off W (%s). The adapter is right over the base quantised to %s "
                       "(`--quantize %s`), not over the base as it is. For that one: `alphar combine OUT THIS:1 THIS/start:-1`\n",
                       init, type, type);
}

static void add_course(ar_buf *card, const ar_learner *l, const ar_curve *curve) {
    const ar_train_options *o = &l->o;
    ar__buf_printf(card, "- %s, rate %g, LoRA+ ratio %g, weight decay %g, clip %g, seed %" PRIu64 "\n",
                   o->learner.optimizer == AR_OPTIMIZER_SGD ? "SGD" : "AdamW", o->learner.lr, o->learner.lr_ratio, o->learner.weight_decay,
                   o->learner.clip, o->learner.seed);
    if (o->learner.router_aux_loss > 0.0) ar__buf_printf(card, "- %g times the routers' load-balancing loss\n", o->learner.router_aux_loss);
    ar__buf_printf(card, "- final loss %.4f (smoothed), %.4f at the start", curve->last, curve->first);
    if (l->eval_loss >= 0.0) ar__buf_printf(card, "; held-out loss %.4f", l->eval_loss);
    if (l->eval_loss >= 0.0 && !ar__has_objective(o)) ar__buf_printf(card, " (perplexity %.3f)", exp(l->eval_loss));
    if (l->strength >= 0.0) ar__buf_printf(card, "\n- strength (mean of ‖sBA‖ / ‖W‖): %.4g", l->strength);
    ar__buf_puts(card, "\n");
}

static void add_objective(ar_buf *card, const ar_learner *l) {
    const ar_preference *p = &l->o.learner.preference;
    ar__buf_printf(card, "- objective %s, beta %g", ar__objective_name(p->objective), p->beta);
    if (p->objective == AR_OBJECTIVE_SIMPO) ar__buf_printf(card, ", gamma %g", p->gamma);
    if (p->label_smoothing > 0.0) ar__buf_printf(card, ", label smoothing %g", p->label_smoothing);
    if (ar__has_reference(p))
        ar__buf_printf(card, ", against %s", ar__begins_with_pairs(l) ? "the adapter that it began with" : "the base");
    ar__buf_puts(card, "\n");
}

/* At most 12 points, the first and the last among them. */
static void add_curve(ar_buf *card, const ar_curve *c) {
    size_t last = c->count > 1 ? c->count - 1 : 1;
    ar__buf_puts(card, "\n| step | loss |\n|---|---|\n");
    for (size_t i = 0; i < c->count; i++) {
        bool first_of_its_share = i == 0 || i * 11 / last != (i - 1) * 11 / last;
        if (c->count <= 12 || first_of_its_share) ar__buf_printf(card, "| %" PRId64 " | %.4f |\n", c->step[i], c->loss[i]);
    }
}

ar_status ar__card_write(const ar_learner *l, const char *dir, const ar_curve *curve, const ar_remarks *remarks, ar_error *err) {
    const ar_train_options *o = &l->o;
    const ar_texts *files = &o->course.data.files;
    ar_buf b = {0};
    bool lora = o->learner.method == AR_METHOD_LORA, pairs = ar__has_objective(o);
    const char *base = o->course.model ? ar__path_base(o->course.model) : "random weights";
    add_head(&b, base, lora);
    ar__buf_printf(&b, "Trained by Alphar %s on %s%s (%zu %s, %zu supervised tokens), ", ar_version(),
                   files->count ? ar__path_base(files->items[0]) : "samples in memory", files->count > 1 ? " and other files" : "",
                   ar__dataset_count(l->course->data) / (pairs ? 2 : 1), pairs ? "pairs" : "samples", l->course->stats.supervised);
    if (l->step < l->steps) ar__buf_printf(&b, "%" PRId64 " of ", l->step);
    ar__buf_printf(&b, "%" PRId64 " steps of %d %s.\n\n", l->steps, o->learner.batch, pairs ? "pairs" : "samples");
    if (lora) add_adapter(&b, l);
    if (lora) add_start(&b, l);
    if (pairs) add_objective(&b, l);
    add_course(&b, l, curve);
    for (int i = 0; i < remarks->count; i++) ar__buf_printf(&b, "\n> **Note:** %s\n", remarks->text[i]);
    add_curve(&b, curve);
    if (!lora) ar__buf_puts(&b, "\nLoad as any Hugging Face folder, or ask with `alphar generate --model THIS`.\n");
    if (lora)
        ar__buf_puts(&b, "\nLoad with PEFT: `PeftModel.from_pretrained(base, \"path/to/this/folder\")`, or ask with `alphar generate "
                         "--model BASE --adapter THIS`.\n");
    char *path = ar__path_join(dir, "README.md");
    ar_status s = b.failed || !path ? ar__fail_memory(err, dir) : ar__file_write(path, b.data, b.len, err);
    ar__buf_release(&b);
    free(path);
    return s;
}
