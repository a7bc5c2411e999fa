/* How tokens are drawn, and the adapter's strength, of commands that write text. */
#ifndef ALPHAR_CLI_SAMPLING_H
#define ALPHAR_CLI_SAMPLING_H

#include "alphar/eval.h"
#include "options.h"

struct sampling_values {
    int64_t max_tokens, top_k;
    double temperature, top_p, min_p, repeat_penalty, scale, alpha;
};

/* Rows of a table of options, where AT(sampling) is the place of the values; --max-tokens is each command's own. */
/* clang-format off */
#define CLI_SAMPLING_OPTIONS                                                                                                               \
    {.name = "temperature", .kind = CLI_NUMBER, .at = AT(sampling.temperature), .value = "X", .initial = "0", .max = 1e6,                  \
     .help = "0 always takes the likeliest token"},                                                                                        \
    {.name = "top-p", .kind = CLI_NUMBER, .at = AT(sampling.top_p), .value = "X", .initial = "1", .max = 1, .flags = CLI_ABOVE,            \
     .about = "draw from the likeliest that add up to P"},                                                                                 \
    {.name = "top-k", .kind = CLI_INT, .at = AT(sampling.top_k), .value = "N", .initial = "0", .about = "draw from the K likeliest"},      \
    {.name = "min-p", .kind = CLI_NUMBER, .at = AT(sampling.min_p), .value = "X", .initial = "0", .max = 1,                                \
     .help = "draw from the likeliest only", .about = "draw from tokens above P times the likeliest"},                                     \
    {.name = "repeat-penalty", .kind = CLI_NUMBER, .at = AT(sampling.repeat_penalty), .value = "X", .initial = "1", .max = 1e6,            \
     .flags = CLI_ABOVE, .help = "above 1: less of what was there"},                                                                       \
    {.name = "scale", .kind = CLI_NUMBER, .at = AT(sampling.scale), .value = "S", .about = "s of every site"},                             \
    {.name = "alpha", .kind = CLI_NUMBER, .at = AT(sampling.alpha), .value = "X", .help = "another strength of the adapter",               \
     .about = "alpha of every site"}
/* clang-format on */

static inline ar_generate_options cli_sampling(const struct sampling_values *v, int64_t seed) {
    ar_generate_options o;
    ar_generate_options_init(&o);
    o.max_tokens = (int)v->max_tokens;
    o.temperature = v->temperature;
    o.top_p = v->top_p;
    o.min_p = v->min_p;
    o.top_k = (int)v->top_k;
    o.repeat_penalty = v->repeat_penalty;
    o.seed = (uint64_t)seed;
    return o;
}

#endif
