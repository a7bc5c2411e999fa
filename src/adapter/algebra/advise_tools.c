/* What other tools call it, and what they cannot hold.
 *
 * A tool that lacks rsLoRA gets the standard alpha of the same s.  One that takes whole alphas only gets the nearest, and
 * the rest of s goes into the ratio of the rates; one without such a ratio has it multiplied into s:
 *
 *     Adam  s · ratio stays        SGD  s² · ratio stays
 *
 * Read from the tools' sources in 2026; docs/alpha.md lists what was found. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "adapter/adapter.h"
#include "adapter/algebra/advise.h"

/* What became of the recipe in a tool. */
struct fit {
    const ar_recipe *recipe;
    ar_policy policy;
    double wanted; /* the alpha of the recipe's s, before it was made whole */
    double alpha, scale, ratio;
    bool folded; /* the ratio is in s now */
};

/* A setting's name, and what stands before its value when it is typed; name NULL: there is none. */
struct word {
    const char *name, *before;
};

struct tool {
    const char *key, *title;
    struct word rank, alpha, rslora, rate, ratio;
    const char *end; /* behind the adapter's settings, before the rates */
    bool whole_alpha, alpha_is_scale, runs_only;
    void (*remarks)(ar_advice_tool *t, const struct fit *f);
};

static void note(ar_advice_tool *t, const char *format, ...) AR_PRINTF(2, 3);
static void note(ar_advice_tool *t, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    vsnprintf(t->notes[t->note_count++], AR_ADVICE_TEXT, format, ap);
    va_end(ap);
}

static bool is_whole(double x) { return x == round(x); }

/* ---- remarks --------------------------------------------------------------------------------------------------- */
static void remark_loraplus(ar_advice_tool *t, const struct fit *f, const char *how) {
    if (f->ratio == 1.0) return;
    note(t, "%s%s%s", how, f->recipe->embedding ? "; embedding sites learn at loraplus_lr_embedding, 1e-6 where left out" : "",
         f->recipe->dora ? "; DoRA's magnitudes learn at B's rate" : "");
}

static void remark_no_dora(ar_advice_tool *t, const struct fit *f) {
    if (f->recipe->dora) note(t, "holds no DoRA that readers agree on: merge the adapter into its base instead");
}

static void remark_peft(ar_advice_tool *t, const struct fit *f) {
    remark_loraplus(t, f, "LoRA+ is peft.optimizers.create_loraplus_optimizer(…, lr, loraplus_lr_ratio)");
    if (!is_whole(f->alpha)) note(t, "lora_alpha is declared as int, but not checked: a fraction is kept");
}

static void remark_unsloth(ar_advice_tool *t, const struct fit *f) {
    if (f->folded) note(t, "has no option for LoRA+: the ratio is in lora_alpha");
    if (!is_whole(f->alpha)) note(t, "lora_alpha is declared as int, but not checked: a fraction is kept");
}

static void remark_axolotl(ar_advice_tool *t, const struct fit *f) {
    if (f->alpha != f->wanted)
        note(t, "lora_alpha must be whole (%.10g is rejected): the rest of s is in loraplus_lr_ratio, which trains the same update",
             f->wanted);
    remark_loraplus(t, f, "loraplus_lr_ratio is PEFT's");
}

static void remark_llama_factory(ar_advice_tool *t, const struct fit *f) {
    if (!is_whole(f->alpha)) note(t, "a fraction is kept from a YAML file, but rejected as --lora_alpha");
    remark_loraplus(t, f, "loraplus_lr_ratio is PEFT's");
}

static void remark_mlx(ar_advice_tool *t, const struct fit *f) {
    note(t, "scale is s itself, 20 where left out, and the rank is not in it: leave it when the rank changes");
    if (f->folded) note(t, "has no ratio of rates: it is in scale");
    if (f->recipe->optimizer == AR_OPTIMIZER_ADAMW)
        note(t, "Adam has no bias correction by default: optimizer_config: {adamw: {bias_correction: true}}; gradients are not clipped");
}

static void remark_kohya(ar_advice_tool *t, const struct fit *f) {
    if (f->recipe->policy == AR_POLICY_RSLORA) note(t, "has no rsLoRA: network_alpha is s*rank");
    note(t, "trains diffusion models; network_alpha is 1 where left out, so s = 1/rank");
    remark_no_dora(t, f);
}

static void remark_llama_cpp(ar_advice_tool *t, const struct fit *f) {
    double stored = (double)(float)f->alpha;
    note(t, "runs adapters, trains none: s = scale * alpha / rank, one alpha a file, the rank from each tensor");
    if (f->recipe->policy == AR_POLICY_RSLORA)
        note(t, "its converter copies lora_alpha as if it were standard: a file that it made wants --lora-scaled FILE:%.10g",
             sqrt((double)f->recipe->rank));
    if (stored != f->alpha)
        note(t, "alpha is stored as f32: %.10g becomes %.10g, %.1g off", f->alpha, stored, fabs(stored / f->alpha - 1.0));
    remark_no_dora(t, f);
}

/* ---- the tools ------------------------------------------------------------------------------------------------- */
static const struct tool tools[AR_ADVICE_TOOLS] = {
    {.key = "peft",
     .title = "PEFT",
     .rank = {"r", "LoraConfig(r="},
     .alpha = {"lora_alpha", ", lora_alpha="},
     .rslora = {"use_rslora", ", use_rslora="},
     .end = ")",
     .rate = {"learning_rate", ", learning_rate="},
     .ratio = {"loraplus_lr_ratio", ", loraplus_lr_ratio="},
     .remarks = remark_peft},
    {.key = "unsloth",
     .title = "Unsloth",
     .rank = {"r", "get_peft_model(model, r="},
     .alpha = {"lora_alpha", ", lora_alpha="},
     .rslora = {"use_rslora", ", use_rslora="},
     .end = ")",
     .rate = {"learning_rate", ", learning_rate="},
     .remarks = remark_unsloth},
    {.key = "axolotl",
     .title = "Axolotl",
     .rank = {"lora_r", "lora_r: "},
     .alpha = {"lora_alpha", ", lora_alpha: "},
     .rslora = {"peft_use_rslora", ", peft_use_rslora: "},
     .end = "",
     .rate = {"learning_rate", ", learning_rate: "},
     .ratio = {"loraplus_lr_ratio", ", loraplus_lr_ratio: "},
     .whole_alpha = true,
     .remarks = remark_axolotl},
    {.key = "llama_factory",
     .title = "LLaMA-Factory",
     .rank = {"lora_rank", "lora_rank: "},
     .alpha = {"lora_alpha", ", lora_alpha: "},
     .rslora = {"use_rslora", ", use_rslora: "},
     .end = "",
     .rate = {"learning_rate", ", learning_rate: "},
     .ratio = {"loraplus_lr_ratio", ", loraplus_lr_ratio: "},
     .remarks = remark_llama_factory},
    {.key = "mlx",
     .title = "MLX (mlx-lm)",
     .rank = {"rank", "lora_parameters: {rank: "},
     .alpha = {"scale", ", scale: "},
     .end = "}",
     .rate = {"learning_rate", ", learning_rate: "},
     .alpha_is_scale = true,
     .remarks = remark_mlx},
    {.key = "kohya",
     .title = "kohya",
     .rank = {"network_dim", "--network_dim "},
     .alpha = {"network_alpha", " --network_alpha "},
     .end = "",
     .rate = {"learning_rate", " --learning_rate "},
     .ratio = {"loraplus_lr_ratio", " --network_args loraplus_lr_ratio="},
     .remarks = remark_kohya},
    {.key = "llama_cpp",
     .title = "llama.cpp",
     .alpha = {"adapter.lora.alpha", "adapter.lora.alpha "},
     .end = " in the file, --lora-scaled FILE:1",
     .runs_only = true,
     .remarks = remark_llama_cpp},
};

static struct fit fit_to(const struct tool *tool, const ar_recipe *r) {
    double power = r->optimizer == AR_OPTIMIZER_SGD ? 2.0 : 1.0;
    struct fit f = {.recipe = r, .policy = tool->rslora.name ? r->policy : AR_POLICY_STANDARD, .ratio = r->lr_ratio, .scale = r->scale};
    if (!tool->ratio.name && !tool->runs_only && r->lr_ratio != 1.0) {
        f.scale *= pow(r->lr_ratio, 1.0 / power);
        f.ratio = 1.0;
        f.folded = true;
    }
    /* Where policy and s are the recipe's, alpha is what was given, to the last digit. */
    bool own = f.policy == r->policy && f.scale == ar__policy_scale(r->policy, r->alpha, r->rank);
    f.alpha = f.wanted = own ? r->alpha : ar__policy_alpha(f.policy, f.scale, r->rank);
    if (tool->whole_alpha && !is_whole(f.alpha)) {
        f.alpha = fmax(1.0, round(f.alpha));
        f.scale = ar__policy_scale(f.policy, f.alpha, r->rank);
        f.ratio *= pow(r->scale / f.scale, power);
    }
    return f;
}

static void type(ar_advice_tool *t, const char *format, ...) AR_PRINTF(2, 3);
static void type(ar_advice_tool *t, const char *format, ...) {
    size_t at = strlen(t->text);
    va_list ap;
    va_start(ap, format);
    vsnprintf(t->text + at, sizeof t->text - at, format, ap);
    va_end(ap);
}

static void add(ar_advice_tool *t, const struct word *w, double value) {
    if (!w->name) return;
    t->value[t->value_count++] = (ar_advice_value){w->name, AR_VALUE_NUMBER, value};
    type(t, "%s%.10g", w->before, value);
}

/* Typed only where it is on: off is every tool's default. */
static void add_flag(ar_advice_tool *t, const struct tool *tool, bool on) {
    if (!tool->rslora.name) return;
    t->value[t->value_count++] = (ar_advice_value){tool->rslora.name, AR_VALUE_FLAG, on};
    if (on) type(t, "%s%s", tool->rslora.before, tool->end[0] == ')' ? "True" : "true"); /* Python or YAML */
}

void ar__advise_tools(ar_advice *out) {
    const ar_recipe *r = &out->recipe;
    for (int i = 0; i < AR_ADVICE_TOOLS; i++) {
        const struct tool *tool = &tools[i];
        struct fit f = fit_to(tool, r);
        ar_advice_tool *t = &out->tools[i];
        t->key = tool->key;
        t->title = tool->title;
        t->scale = f.scale;
        t->b_factor = r->scale / f.scale;
        add(t, &tool->rank, r->rank);
        add(t, &tool->alpha, tool->alpha_is_scale ? f.scale : f.alpha);
        add_flag(t, tool, f.policy == AR_POLICY_RSLORA);
        type(t, "%s", tool->end);
        if (r->lr > 0.0) add(t, &tool->rate, r->lr);
        if (f.ratio != 1.0) add(t, &tool->ratio, f.ratio);
        if (tool->runs_only) t->value[t->value_count++] = (ar_advice_value){"lora_scaled", AR_VALUE_NUMBER, 1.0};
        tool->remarks(t, &f);
    }
}
