#include "lists.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char separators[] = ", \t\r\n";

int cli_parse_ids(int32_t **out, size_t *count, cli *c, const char *option, const char *text) {
    int32_t *ids = malloc((strlen(text) / 2 + 1) * sizeof *ids); /* each id takes a digit and a separator */
    *out = NULL;
    *count = 0;
    if (!ids) return cli_fail_memory(c);
    for (const char *p = text + strspn(text, separators); *p; p += strspn(p, separators)) {
        char *end;
        errno = 0;
        long v = strtol(p, &end, 10);
        if (*p < '0' || *p > '9' || errno || v > INT32_MAX || (*end && !strchr(separators, *end))) {
            free(ids);
            return cli_fail_usage(c, "%s: found '%.40s', wanted token ids as in 1,2,3", option, p);
        }
        ids[(*count)++] = (int32_t)v;
        p = end;
    }
    *out = ids;
    return CLI_OK;
}

json_t *cli_json_ids(const int32_t *ids, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, json_integer(ids[i])) == 0) continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}

/* A finite number and nothing else in [p, end). */
static bool read_number(double *out, const char *p, const char *end) {
    char *stop;
    size_t n = (size_t)(end - p);
    if (!n || strspn(p, "+-.0123456789eE") < n) return false;
    *out = strtod(p, &stop);
    return stop == end && isfinite(*out);
}

int cli_parse_numbers(double **out, size_t *count, cli *c, const char *option, const char *text) {
    double *numbers = malloc((strlen(text) / 2 + 1) * sizeof *numbers);
    *out = NULL;
    *count = 0;
    if (!numbers) return cli_fail_memory(c);
    for (const char *p = text;; p++) {
        p += strspn(p, " ");
        const char *end = p + strcspn(p, ", ");
        if (!read_number(&numbers[*count], p, end)) {
            free(numbers);
            return cli_fail_usage(c, "%s: found '%.40s', wanted numbers as in 0,8,16", option, text);
        }
        ++*count;
        p = end + strspn(end, " ");
        if (!*p) break;
    }
    *out = numbers;
    return CLI_OK;
}

enum { MAX_LAYERS = 100000 };

/* One "N" or "N-M" at *p, which is moved behind it. */
static bool read_range(long *first, long *last, const char **p) {
    char *end;
    if (**p < '0' || **p > '9') return false;
    *first = *last = strtol(*p, &end, 10);
    if (*end == '-') {
        if (end[1] < '0' || end[1] > '9') return false;
        *last = strtol(end + 1, &end, 10);
    }
    *p = end;
    return *last >= *first && *last < MAX_LAYERS && (!*end || *end == ',');
}

int cli_parse_layers(int **out, size_t *count, cli *c, const char *option, const char *text) {
    int *layers = NULL;
    size_t n = 0;
    const char *p = text;
    *out = NULL;
    *count = 0;
    for (bool more = true; more;) {
        long first, last;
        bool ok = read_range(&first, &last, &p);
        int *grown = ok ? realloc(layers, (n + (size_t)(last - first + 1)) * sizeof *layers) : NULL;
        if (!grown) {
            free(layers);
            return ok ? cli_fail_memory(c) : cli_fail_usage(c, "%s: found '%.60s', wanted layers as in 0-11 or 0,2,5-7", option, text);
        }
        layers = grown;
        while (first <= last) layers[n++] = (int)first++;
        more = *p == ',';
        if (more) p++;
    }
    *out = layers;
    *count = n;
    return CLI_OK;
}

int cli_parse_names(char ***out, size_t *count, cli *c, const char *option, const char *text) {
    size_t most = 1;
    *out = NULL;
    *count = 0;
    for (const char *p = text; *p; p++) most += *p == ',';
    char **names = malloc(most * sizeof *names + strlen(text) + 1);
    if (!names) return cli_fail_memory(c);
    char *store = (char *)(names + most);
    for (const char *p = text;;) {
        p += strspn(p, " ");
        size_t n = strcspn(p, ","), kept = n;
        while (kept && p[kept - 1] == ' ') kept--;
        if (!kept) {
            free(names);
            return cli_fail_usage(c, "%s: found '%.60s', wanted names as in q_proj,v_proj", option, text);
        }
        memcpy(store, p, kept);
        store[kept] = '\0';
        names[(*count)++] = store;
        store += kept + 1;
        p += n;
        if (!*p++) break;
    }
    *out = names;
    return CLI_OK;
}

int cli_parse_pattern(char **name, double *value, cli *c, const char *option, const char *text) {
    const char *equals = strrchr(text, '=');
    *name = NULL;
    if (!equals || equals == text || !read_number(value, equals + 1, text + strlen(text)))
        return cli_fail_usage(c, "%s: found '%.200s', wanted PATTERN=NUMBER", option, text);
    *name = strndup(text, (size_t)(equals - text));
    return *name ? CLI_OK : cli_fail_memory(c);
}

int cli_parse_weighted(char **path, double *weight, cli *c, const char *text) {
    const char *colon = strrchr(text, ':');
    size_t n = strlen(text);
    *weight = 1;
    if (colon && colon > text && read_number(weight, colon + 1, text + n)) n = (size_t)(colon - text);
    *path = strndup(text, n);
    return *path ? CLI_OK : cli_fail_memory(c);
}
