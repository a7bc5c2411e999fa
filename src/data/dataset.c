/* What a dataset hands out. */
#include "data/dataset.h"

#include <assert.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"
#include "data/reader.h"

void ar__dataset_free(ar_dataset *ds) {
    if (!ds) return;
    ar__reader_free(ds->reader);
    for (ar_chunk *c = ds->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(ds->entries);
    free(ds);
}

size_t ar__dataset_count(const ar_dataset *ds) { return ds->count; }

ar_sample ar__dataset_at(const ar_dataset *ds, size_t i) {
    assert(i < ds->count);
    const ar_entry *e = &ds->entries[i];
    const int32_t *ids = e->ids;
    assert(ids);
    return (ar_sample){.ids = ids, .learned = e->learned, .count = e->count, .supervised = e->supervised, .line = e->line};
}

int ar__dataset_longest(const ar_dataset *ds) { return ds->longest; }

ar_data_kind ar__dataset_kind(const ar_dataset *ds) {
    for (int k = 0; k < AR_DATA_KINDS; k++)
        if (ds->kinds == 1u << k) return (ar_data_kind)k;
    return AR_DATA_KINDS;
}

ar_status ar__dataset_part(ar_dataset **out, const ar_dataset *ds, size_t n, bool taken, ar_error *err) {
    ar_dataset *part = ar__alloc(1, sizeof *part);
    *out = NULL;
    if (!part) return ar__fail_memory(err, "samples");
    part->kinds = ds->kinds;
    part->entries = ar__alloc(ds->count + 1, sizeof *part->entries);
    for (size_t i = 0; part->entries && i < ds->count; i++) {
        if ((i % n == n - 1) != taken) continue;
        const ar_entry *e = &ds->entries[i];
        part->entries[part->count++] = *e;
        if (e->count > part->longest) part->longest = e->count;
    }
    if (!part->entries) {
        ar__dataset_free(part);
        return ar__fail_memory(err, "samples");
    }
    *out = part;
    return AR_OK;
}
