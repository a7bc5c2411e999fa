/* The JSON of `alphar advise`. */
#ifndef ALPHAR_CLI_ADVISE_JSON_H
#define ALPHAR_CLI_ADVISE_JSON_H

#include "alphar/advise.h"
#include "output.h"

/* What the command found out. */
typedef struct advise_result {
    ar_advice advice; /* of the recipe in the end */
    bool moved;       /* --to-rank: from another one */
    ar_recipe from;
    ar_keep keep;
    ar_recipe_group *groups; /* --adapter: its sites */
    int group_count;
} advise_result;

/* s·lr now over s·lr before; without a rate that of s. */
double cli_advise_change(const advise_result *r);

/* NULL when memory runs out. */
json_t *cli_advise_json(const advise_result *r);

#endif
