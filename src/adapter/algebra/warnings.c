#include "adapter/algebra/warnings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/correction.h"
#include "adapter/fingerprint.h"
#include "base/fail.h"
#include "base/mem.h"

enum { SHOWN = 3 }; /* sites named in one warning */

typedef bool (*test)(const ar_site_figures *f);

static bool is_untrained(const ar_site_figures *f) { return f->norm_b == 0 && !f->site.embedding; }
static bool is_dead(const ar_site_figures *f) { return f->norm_update == 0 && f->site.scale != 0 && !is_untrained(f); }
static bool is_off(const ar_site_figures *f) { return f->site.scale == 0; }
static bool is_negative(const ar_site_figures *f) { return f->site.scale < 0; }
static bool is_weak(const ar_site_figures *f) { return f->site.scale != 0 && fabs(f->site.scale) < 0.1; }
static bool is_strong(const ar_site_figures *f) { return fabs(f->site.scale) > 8; }
static bool is_fractional(const ar_site_figures *f) { return f->site.alpha != floor(f->site.alpha); }
static bool is_oversized(const ar_site_figures *f) { return f->site.rank >= 8 && f->rank_99 > 0 && f->rank_99 <= f->site.rank / 4; }
static bool is_overwhelming(const ar_site_figures *f) { return f->strength > 1; }

/* Each is one warning for all sites that it holds for. */
static const struct rule {
    const char *code;
    test holds;
    const char *text;
} rules[] = {
    {"untrained", is_untrained, "B is all zero, so the adapter does nothing there: it was never trained, or the wrong file was saved"},
    {"no_effect", is_dead, "B·A is zero, so the adapter does nothing there"},
    {"alpha_zero", is_off,
     "alpha is 0, so the adapter is off there (some tools read 0 as 'not given' and turn it on): set another with "
     "alphar rescale"},
    {"alpha_negative", is_negative,
     "alpha is negative: the update is subtracted.  Meant for taking an adapter away, and refused by trainers"},
    {"scale_small", is_weak,
     "s is below 0.1: tools that know another rule may have been meant (rsLoRA's s is alpha / sqrt(rank)), or rank "
     "was raised while alpha stayed; see alphar advise"},
    {"scale_large", is_strong, "s is above 8: was alpha meant for a higher rank, or is it an rsLoRA alpha? See alphar advise"},
    {"alpha_fractional", is_fractional,
     "alpha is no whole number: some tools cut it to one.  Alphar's files are exact; convert --fold puts s "
     "into B"},
    {"rank_unused", is_oversized,
     "a quarter of the rank or less holds 99 % of the update: alphar resize makes the file smaller at no loss"},
    {"overwhelming", is_overwhelming,
     "the update is larger than the weight that it changes: the base is hardly there any more; try a smaller "
     "alpha with alphar eval --alpha"},
};

static ar_status add(ar_inspection *x, const char *code, ar_buf *text, ar_error *err) {
    ar_warning *list = realloc(x->warnings, (x->warning_count + 1) * sizeof *list);
    if (list) x->warnings = list;
    if (!list || text->failed) {
        ar__buf_release(text);
        return ar__fail_memory(err, "warnings");
    }
    list[x->warning_count++] = (ar_warning){code, text->data};
    return AR_OK;
}

static ar_status apply(ar_inspection *x, const struct rule *rule, ar_error *err) {
    ar_buf text = {0};
    size_t count = 0;
    for (size_t i = 0; i < x->count; i++) count += rule->holds(&x->sites[i]);
    if (!count) return AR_OK;
    if (count < x->count)
        ar__buf_printf(&text, "%zu of %zu sites (", count, x->count);
    else
        ar__buf_printf(&text, "%s site%s (", count == 1 ? "the only" : "all", count == 1 ? "" : "s");
    for (size_t i = 0, shown = 0; i < x->count && shown < SHOWN; i++)
        if (rule->holds(&x->sites[i])) ar__buf_printf(&text, "%s%s", shown++ ? ", " : "", x->sites[i].site.name);
    ar__buf_printf(&text, "%s): %s", count > SHOWN ? ", …" : "", rule->text);
    return add(x, rule->code, &text, err);
}

/* One α and several ranks: s differs from site to site though nobody asked for it.  GGUF has one α for all by its nature. */
static ar_status check_patterns(ar_inspection *x, const ar_adapter *ad, ar_error *err) {
    ar_buf text = {0};
    bool one_alpha = true;
    for (size_t i = 1; i < x->count; i++) one_alpha &= x->sites[i].site.alpha == x->sites[0].site.alpha;
    if (strcmp(ad->format, "peft") != 0 || !one_alpha || x->rank_min == x->rank_max) return AR_OK;
    ar__buf_printf(&text, "ranks go from %d to %d under one alpha of %.6g, so that s goes from %.4g to %.4g:", x->rank_min, x->rank_max,
                   x->sites[0].site.alpha, x->scale_min, x->scale_max);
    for (int rank = x->rank_min; rank <= x->rank_max; rank++) {
        size_t count = 0;
        double scale = 0;
        for (size_t i = 0; i < x->count; i++) {
            if (x->sites[i].site.rank != rank) continue;
            count++;
            scale = x->sites[i].site.scale;
        }
        if (count) ar__buf_printf(&text, " rank %d s %.4g at %zu;", rank, scale, count);
    }
    ar__buf_puts(&text, " if that was not meant, an alpha_pattern (alphar rescale --sites) evens it out");
    return add(x, "rank_pattern_alone", &text, err);
}

static ar_status check_base(ar_inspection *x, const ar_adapter *ad, const ar_base *base, ar_error *err) {
    ar_base_match match = ar__base_compare(ad, base);
    ar_buf text = {0};
    const char *how = ar__base_info(base)->quantised ? ar__base_info(base)->quantised : "in GGUF types that are not read";
    for (size_t i = 0; how && i < x->count; i++)
        if (isnan(x->sites[i].norm_weight)) {
            ar__buf_printf(&text,
                           "the base %s is quantised (%s), so that nothing can be said of the update's strength: name the unquantised "
                           "model that it was made from",
                           ar__base_info(base)->path, how);
            return add(x, "base_quantised", &text, err);
        }
    if (match == AR_BASE_UNKNOWN || match == AR_BASE_SAME) return AR_OK;
    ar__base_match_say(&text, match, ad->inputs.count ? ad->inputs.at[0] : "the adapter", base);
    return add(x, "other_base", &text, err);
}

/* Right over one quantised base alone (train/start.h). */
static ar_status check_correction(ar_inspection *x, const ar_adapter *ad, ar_error *err) {
    const char *type = ar__adapter_corrects(ad);
    ar_buf text = {0};
    if (!type) return AR_OK;
    ar__buf_printf(
        &text,
        "the pairs began with what quantising to %s took off the base (loftq): they are right over the base quantised so, and one "
        "error more over another; alphar combine OUT THIS:1 THIS/start:-1 takes that away",
        type);
    return add(x, "corrects_quantising", &text, err);
}

ar_status ar__inspection_warn(ar_inspection *x, const ar_adapter *ad, const ar_base *base, ar_error *err) {
    ar_status s = check_patterns(x, ad, err);
    if (!s) s = check_correction(x, ad, err);
    for (size_t i = 0; !s && i < sizeof rules / sizeof *rules; i++) s = apply(x, &rules[i], err);
    return s || !base ? s : check_base(x, ad, base, err);
}
