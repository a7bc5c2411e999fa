/* Advice: one LoRA training in the words of other tools, and at another rank (docs/alpha.md has the derivations).
 *
 *     standard  s = alpha / rank        rslora  s = alpha / √rank
 *     Adam:  (s, η_A, η_B) trains the same update s·B·A as (s′, η_A, η_B · s/s′)
 *     SGD:   (s, η_A, η_B)                              as (s′, η_A, η_B · (s/s′)²)         B′ = s/s′ · B
 *
 * Nothing here runs a model or allocates, but for the groups of ar_recipe_from_adapter.  Thread-safe. */
#ifndef ALPHAR_ADVISE_H
#define ALPHAR_ADVISE_H

#include <stdbool.h>

#include "alphar/adapter.h"
#include "alphar/error.h"
#include "alphar/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a training is set to.  0 stands for "not given" in rank, alpha, scale and lr. */
typedef struct ar_recipe {
    int rank;
    double alpha;
    ar_policy policy;
    double scale;    /* s */
    double lr;       /* of A */
    double lr_ratio; /* B learns at lr_ratio · lr; 1 but with LoRA+ */
    ar_optimizer optimizer;
    bool dora, embedding; /* the adapter has DoRA magnitudes, embedding sites */
} ar_recipe;

/* Fills in what is missing of rank, alpha and scale by the policy: any two give the third.
 * Errors: AR_ERR_USAGE, saying what is missing or what contradicts; alpha never has a default. */
AR_API ar_status ar_recipe_solve(ar_recipe *r, ar_error *err);

/* Sites of an adapter that share rank, alpha, policy and s. */
typedef struct ar_recipe_group {
    int rank;
    double alpha, scale;
    ar_policy policy;
    int sites;
} ar_recipe_group;

/* *out: what most sites have (of equals the first), and the learning rate that the file says it was trained with, if it
 * says one; *groups: all that occur, most sites first, *count of them.  Caller frees *groups, NULL after an error.
 * Errors: AR_ERR_VALUE for an adapter without sites. */
AR_API ar_status ar_recipe_from_adapter(ar_recipe *out, ar_recipe_group **groups, int *count, const ar_adapter *ad, ar_error *err);

/* What stays when the rank changes. */
typedef enum ar_keep {
    AR_KEEP_SCALE,   /* s: alpha grows with the rank (standard), with its root (rslora) */
    AR_KEEP_RSLORA,  /* s·√rank, whatever the policy */
    AR_KEEP_SCALE_LR /* alpha, and s·lr through the rate; needs lr */
} ar_keep;
AR_API const char *ar_keep_name(ar_keep keep); /* "s", "rslora", "s-lr" */

/* from: solved.  Errors: AR_ERR_USAGE for a rank below 1, or without lr where that is kept. */
AR_API ar_status ar_recipe_to_rank(ar_recipe *out, const ar_recipe *from, int rank, ar_keep keep, ar_error *err);

/* The ratio of B's rate to A's at which s = 1 trains the same update: what alpha amounts to. */
AR_API double ar_recipe_ratio(const ar_recipe *r);

enum { AR_ADVICE_TOOLS = 7, AR_ADVICE_VALUES = 5, AR_ADVICE_NOTES = 5, AR_ADVICE_TEXT = 320 };

typedef enum ar_value_kind { AR_VALUE_NUMBER, AR_VALUE_FLAG } ar_value_kind;

/* One setting under the tool's own name. */
typedef struct ar_advice_value {
    const char *name;
    ar_value_kind kind;
    double value;
} ar_advice_value;

typedef struct ar_advice_tool {
    const char *key, *title; /* "llama_factory", "LLaMA-Factory" */
    ar_advice_value value[AR_ADVICE_VALUES];
    int value_count;
    char text[AR_ADVICE_TEXT]; /* the settings as one types them */
    double scale;              /* s that the tool then works with */
    double b_factor;           /* its B is the given recipe's times this; 1 where s is the same */
    char notes[AR_ADVICE_NOTES][AR_ADVICE_TEXT];
    int note_count;
} ar_advice_tool;

/* A remark: a code for programs, a sentence for people. */
typedef struct ar_advice_note {
    const char *code;
    char text[AR_ADVICE_TEXT];
} ar_advice_note;

typedef struct ar_advice {
    ar_recipe recipe;
    ar_advice_tool tools[AR_ADVICE_TOOLS]; /* peft, unsloth, axolotl, llama_factory, mlx, kohya, llama_cpp */
    ar_advice_note assumptions[8], conventions[8], warnings[4];
    int assumption_count, convention_count, warning_count;
} ar_advice;

/* recipe: solved.  Errors: AR_ERR_VALUE for an alpha that is not above 0, for which tools do not agree. */
AR_API ar_status ar_advise(ar_advice *out, const ar_recipe *recipe, ar_error *err);

#ifdef __cplusplus
}
#endif
#endif
