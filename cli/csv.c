#include "csv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cli_csv_field(const json_t *v, bool first) {
    char *dumped = json_is_string(v) || json_is_null(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    const char *text = json_is_string(v) ? json_string_value(v) : dumped ? dumped : "";
    if (!first) putchar(',');
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, stdout);
    } else {
        putchar('"');
        for (const char *p = text; *p; p++) {
            if (*p == '"') putchar('"');
            putchar(*p);
        }
        putchar('"');
    }
    free(dumped);
}

void cli_csv_end(void) { fputs("\r\n", stdout); }
