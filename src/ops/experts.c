/* Rows by expert: a counting sort that keeps the order of the batch. */
#include "ops/experts.h"

#include <string.h>

void ar__routes_sort(ar_routes *out, const ar_router *router, const int32_t *chosen, const ar_rows *rows) {
    size_t used = router->used, experts = router->experts, samples = rows->samples, *next = out->first;
    memset(out->first, 0, (experts + 1) * sizeof *out->first);
    for (size_t i = 0; i < rows->count * used; i++) out->first[chosen[i] + 1]++;
    for (size_t e = 0; e < experts; e++) out->first[e + 1] += out->first[e];
    for (size_t s = 0; s < samples; s++) {
        for (size_t e = 0; e < experts; e++) out->start[e * (samples + 1) + s] = next[e];
        for (size_t i = rows->start[s]; i < rows->start[s + 1]; i++)
            for (size_t j = 0; j < used; j++) {
                size_t at = next[chosen[i * used + j]]++;
                out->row[at] = i;
                out->pick[at] = i * used + j;
                out->position[at] = rows->position ? rows->position[i] : i - rows->start[s];
            }
    }
    for (size_t e = 0; e < experts; e++) out->start[e * (samples + 1) + samples] = next[e];
    memmove(out->first + 1, out->first, experts * sizeof *out->first); /* each has moved to the end of its expert */
    out->first[0] = 0;
    for (size_t e = 0; e < experts; e++)
        for (size_t s = 0; s <= samples; s++) out->start[e * (samples + 1) + s] -= out->first[e];
}

ar_rows ar__routes_rows(const ar_routes *routes, size_t expert, const ar_rows *rows) {
    ar_rows own = *rows;
    own.count = routes->first[expert + 1] - routes->first[expert];
    own.start = routes->start + expert * (rows->samples + 1);
    own.position = routes->position + routes->first[expert];
    own.decoding = own.some = rows->decoding && rows->count == rows->samples; /* an expert's rows of a prompt may be as many as samples */
    return own;
}
