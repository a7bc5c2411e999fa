/* Text to values, strictly: the whole text must be the value. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

static void *target(const cli_args *args, const cli_option *o) { return (char *)args->values + o->at; }

/* "an integer from 1 to 8", "a number above 0", … */
static void describe(char *out, size_t size, const cli_option *o) {
    const char *ranks = o->flags & CLI_RANKS ? ", or a multiple of the rank such as 2r" : "";
    char low[48] = "", high[48] = "";
    bool whole = o->kind == CLI_INT || o->kind == CLI_COUNT, bounded = o->min < o->max || o->min > 0 || whole;
    if (bounded) snprintf(low, sizeof low, o->flags & CLI_ABOVE ? " above %.10g" : " of at least %.10g", o->min);
    double most = whole ? (double)INT32_MAX : 0;
    if (o->max > o->min) most = o->max;
    if (most > 0) snprintf(high, sizeof high, o->flags & CLI_BELOW ? "%s below %.10g" : "%s at most %.10g", *low ? " and" : "", most);
    snprintf(out, size, "%s%s%s%s%s%s", whole ? "an integer" : "a number", low, high, o->word ? ", or " : "", o->word ? o->word : "",
             ranks);
}

static int refuse(cli_args *args, const cli_option *o, const char *text, const char *place) {
    char wanted[160];
    describe(wanted, sizeof wanted, o);
    return cli_args_fail(args, CLI_USAGE, "%s: found '%.100s', wanted %s", place, text, wanted);
}

static bool in_range(const cli_option *o, double x) {
    if (o->min > o->max || o->max > o->min) {
        if (x < o->min || ((o->flags & CLI_ABOVE) && x <= o->min)) return false;
        if (o->max > o->min && (x > o->max || ((o->flags & CLI_BELOW) && x >= o->max))) return false;
    }
    return true;
}

static void put_int(cli_args *args, const cli_option *o, int64_t v) {
    if (o->kind == CLI_COUNT)
        *(int *)target(args, o) = (int)v;
    else
        *(int64_t *)target(args, o) = v;
}

static int set_int(cli_args *args, const cli_option *o, const char *text, const char *place) {
    char *end;
    if (o->word && !strcmp(text, o->word)) {
        put_int(args, o, 0);
        return CLI_OK;
    }
    errno = 0;
    long long v = strtoll(text, &end, 10);
    bool sane = *text && (*text == '-' || (*text >= '0' && *text <= '9')) && !*end && !errno;
    if (!sane || v < 0 || (o->max <= 0 && v > INT32_MAX) || !in_range(o, (double)v)) return refuse(args, o, text, place);
    put_int(args, o, v);
    return CLI_OK;
}

/* "2r", "0.5r", "r": the multiple; 0: it is none. */
static double ranks_in(const cli_option *o, const char *text) {
    size_t n = strlen(text);
    char *end = NULL;
    if (!(o->flags & CLI_RANKS) || !n || text[n - 1] != 'r') return 0;
    if (n == 1) return 1;
    double v = strspn(text, ".0123456789") == n - 1 ? strtod(text, &end) : 0;
    return v > 0 && end == text + n - 1 && v < 1e30 ? v : 0;
}

static int set_number(cli_args *args, const cli_option *o, const char *text, const char *place) {
    char *end;
    double v = strtod(text, &end), ranks = ranks_in(o, text);
    if (o->flags & CLI_RANKS) args->in_ranks = ranks;
    if (ranks > 0) return CLI_OK;
    bool sane = *text && strspn(text, "+-.0123456789eE") == strlen(text) && !*end && isfinite(v);
    if (!sane || !in_range(o, v)) return refuse(args, o, text, place);
    *(double *)target(args, o) = v;
    return CLI_OK;
}

static int set_size(cli_args *args, const cli_option *o, const char *text, const char *place) {
    static const char units[] = "KMGT";
    char *end;
    double v = strtod(text, &end);
    bool sane = strspn(text, "0123456789.") > 0 && strspn(text, "0123456789.") == (size_t)(end - text);
    const char *unit = *end ? strchr(units, *end >= 'a' && *end <= 'z' ? *end - 32 : *end) : NULL;
    if (unit) {
        v = ldexp(v, 10 * (int)(unit - units + 1));
        end++;
        if (*end == 'i') end++;
    }
    if (*end == 'B') end++;
    if (!sane || *end || v < 1 || v >= 0x1p63)
        return cli_args_fail(args, CLI_USAGE, "%s: found '%.100s', wanted a size such as 512M or 3G", place, text);
    *(uint64_t *)target(args, o) = (uint64_t)v;
    return CLI_OK;
}

static int set_choice(cli_args *args, const cli_option *o, const char *text, const char *place) {
    size_t n = strlen(text);
    int index = 0;
    for (const char *p = o->choices ? o->choices : o->value; p; index++) {
        size_t len = strcspn(p, "|");
        if (len == n && !memcmp(p, text, n)) {
            *(int *)target(args, o) = index;
            return CLI_OK;
        }
        p = p[len] ? p + len + 1 : NULL;
    }
    return cli_args_fail(args, CLI_USAGE, "%s: found '%.100s', wanted %s", place, text, o->value);
}

static int set_flag(cli_args *args, const cli_option *o, const char *text, bool negated, const char *place) {
    bool value = !negated;
    if (text && !strcmp(text, "false"))
        value = false;
    else if (text && strcmp(text, "true") != 0)
        return cli_args_fail(args, CLI_USAGE, "%s: found '%.100s', wanted true or false", place, text);
    *(bool *)target(args, o) = value;
    return CLI_OK;
}

static int add_item(cli_args *args, const cli_option *o, const char *text, bool anew) {
    ar_texts *list = target(args, o);
    if (anew) list->count = 0;
    const char **grown = realloc((void *)(uintptr_t)list->items, (list->count + 1) * sizeof *grown);
    if (!grown) return cli_args_fail(args, CLI_FAILED, "--%s: out of memory", o->name);
    grown[list->count++] = text;
    list->items = grown;
    return CLI_OK;
}

static int set(cli_args *args, const cli_option *o, const char *text, bool negated, bool anew, const char *place) {
    switch (o->kind) {
    case CLI_FLAG: return set_flag(args, o, text, negated, place);
    case CLI_INT:
    case CLI_COUNT: return set_int(args, o, text, place);
    case CLI_NUMBER: return set_number(args, o, text, place);
    case CLI_SIZE: return set_size(args, o, text, place);
    case CLI_CHOICE: return set_choice(args, o, text, place);
    case CLI_LIST: return add_item(args, o, text, anew);
    case CLI_STRING: *(const char **)target(args, o) = text; return CLI_OK;
    case CLI_SECTION:
    case CLI_SETTING: break;
    }
    return cli_args_fail(args, CLI_USAGE, "%s: not an option", place);
}

int cli_option_set(cli_args *args, int option, const char *text, bool negated, int source, const char *place) {
    bool anew = args->given[option] < source;
    if (anew) args->given[option] = (unsigned char)source;
    return set(args, cli_option_at(args->command, option), text, negated, anew, place);
}

int cli_value_set(cli_args *args, const cli_option *o, const char *text, const char *place) {
    return set(args, o, text, false, false, place);
}
