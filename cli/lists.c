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
        const char *comma = strchr(end, ',');
        const char *next = end + strspn(end, separators);
        if (comma && comma < next && (!*next || memchr(comma + 1, ',', (size_t)(next - comma - 1)))) {
            free(ids);
            return cli_fail_usage(c, "%s: found an empty place before '%.40s', wanted token ids as in 1,2,3", option, next);
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

ar_train_on cli_train_on(int choice) {
    static const ar_train_on choices[] = {AR_TRAIN_ON_COMPLETION, AR_TRAIN_ON_LAST, AR_TRAIN_ON_ALL, AR_TRAIN_ON_COMPLETION};
    return choices[choice];
}
