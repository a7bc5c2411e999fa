#include "base/strings.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

bool ar__strings_add(ar_strings *list, const char *s) {
    char **at = ar__grow(list->at, &list->cap, list->count + 1, sizeof *at);
    if (!at) return false;
    list->at = at;
    if (!(at[list->count] = ar__strdup(s))) return false;
    list->count++;
    return true;
}

bool ar__strings_has(const ar_strings *list, const char *s) {
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->at[i], s)) return true;
    return false;
}

bool ar__strings_copy(ar_strings *out, const ar_strings *from) {
    for (size_t i = 0; i < from->count; i++)
        if (!ar__strings_add(out, from->at[i])) return false;
    return true;
}

void ar__strings_release(ar_strings *list) {
    for (size_t i = 0; i < list->count; i++) free(list->at[i]);
    free(list->at);
    *list = (ar_strings){0};
}
