/* Which modules of a base an adapter touches: PEFT's rules (tuners_utils.check_target_module_exists, utils/other.py),
 * read from PEFT 0.21 and compared with it in tests/oracle/peft_files.py.
 *
 *     exclude             list: exact path or `.suffix`; string: full match             wins over everything
 *     modules_to_save     a module, or anything below one, whose path ends so           saved whole, gets no pair
 *     target_modules      list: exact path (whatever the layers) or `.suffix` in one of the layers;
 *                         string: full match; "all-linear" in any case: every linear but the head
 *     layers_to_transform the first `.NAME.N.` of the path, NAME one of layers_pattern
 */
#ifndef AR_ADAPTER_TARGETS_H
#define AR_ADAPTER_TARGETS_H

#include "adapter/regex.h"
#include "adapter/settings.h"
#include "arch/module.h"
#include "base/mem.h"

typedef enum ar_target { AR_TARGET_NONE, AR_TARGET_PAIR, AR_TARGET_WHOLE } ar_target;

/* A base as targets see it. */
typedef struct ar_module_list {
    const ar_module *at;
    int count;
    const char *const *defaults; /* suffixes that stand in where the settings name no targets */
    int default_count;
} ar_module_list;

/* out[count].  Errors: nothing gets a pair (the message lists what there is), a target that can carry no pair, a module
 * both adapted and saved whole, a name to save that matches nothing, a pattern that does not compile. */
ar_status ar__targets_resolve(ar_target *out, const ar_adapter_settings *s, const ar_module_list *base, ar_error *err);

/* Every name that was given, and every pattern, must mean a module of the base: PEFT lets one that means nothing pass, and
 * so a slip goes unseen.  Errors: AR_ERR_NOT_FOUND naming it and the names there are. */
ar_status ar__targets_check_names(const ar_adapter_settings *s, const ar_module_list *base, ar_error *err);
/* Appends the last names of the modules that may carry a pair (with_norms: of all), the nearest to `wanted` first. */
void ar__targets_list(ar_buf *out, const ar_module_list *base, const char *wanted, bool with_norms);
/* The one message for a name that means nothing; AR_ERR_NOT_FOUND. */
ar_status ar__targets_no_such(const char *field, const char *name, const ar_module_list *base, bool with_norms, ar_error *err);
/* Does a list select the module: its path itself, or its end behind a dot? */
bool ar__targets_in_list(const ar_strings *list, const char *path, bool *exact);

/* Rewrites s->targets so that any PEFT release selects the modules in `chosen`: a list or regex stays as it is;
 * all-linear and the default become suffixes where those select the same modules, else full paths. */
ar_status ar__targets_describe(ar_adapter_settings *s, const ar_target *chosen, const ar_module_list *base, ar_error *err);

/* rank_pattern or alpha_pattern, compiled. */
typedef struct ar_pattern_set {
    const ar_patterns *patterns;
    ar_regex **regex;
} ar_pattern_set;
ar_status ar__pattern_set_init(ar_pattern_set *out, const ar_patterns *patterns, ar_error *err);
void ar__pattern_set_release(ar_pattern_set *set);
/* The value of the first pattern that matches the path; *out is left alone where none does. */
ar_status ar__pattern_set_find(double *out, const ar_pattern_set *set, const char *path, ar_error *err);
/* Of an adapter's site: of one of stacked experts, `PATH.down_proj[3]`, also by its parameter. */
ar_status ar__pattern_set_find_site(double *out, const ar_pattern_set *set, const char *site, ar_error *err);

#endif
