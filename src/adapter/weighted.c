#include "adapter/weighted.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

ar_status ar__weighted_split(char **path, double *factor, const char *text, ar_error *err) {
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    *path = NULL;
    *factor = 1.0;
    double value = colon ? strtod(colon + 1, &end) : 0.0;
    bool number = colon && end != colon + 1 && *end == '\0' && !ar__path_exists(text);
    if (number && !isfinite(value)) return ar__fail(err, AR_ERR_VALUE, "%s: the factor is not a finite number", text);
    if (number) *factor = value;
    *path = ar__strndup(text, number ? (size_t)(colon - text) : strlen(text));
    return *path ? AR_OK : ar__fail_memory(err, text);
}
