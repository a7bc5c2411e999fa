/* Reading a PEFT folder, as its files share it: keys to sites (peft_sort), a site to its pair (peft_pair), the folder
 * (peft_read). */
#ifndef AR_ADAPTER_PEFT_IMPL_H
#define AR_ADAPTER_PEFT_IMPL_H

#include "adapter/peft.h"
#include "base/map.h"

/* The tensors of one site. */
typedef struct ar_peft_site {
    char *path; /* as ar__site_name has it */
    char *raw;  /* as the first key has it, which patterns may mean */
    const ar_tensor *part[AR_PEFT_PART_COUNT];
} ar_peft_site;

typedef struct ar_peft_reader {
    const char *place; /* path of the weights */
    const ar_read_context *c;
    ar_st_set *st;
    ar_adapter *ad;
    ar_peft_site *site;
    size_t count, cap;
    ar_map names;
    ar_pattern_set ranks, alphas;
    const char *odd, *named; /* keys that PEFT, or its releases before 0.21, would pass over; NULL: none */
    bool has_other_base;
} ar_peft_reader;

static inline ar_stored ar__peft_stored(const ar_tensor *t) {
    return (ar_stored){.name = t->name, .bytes = t->data, .type = t->dtype, .is_there = true};
}

/* One tensor by its key: a part of a site, a whole tensor, or a copy of the base. */
ar_status ar__peft_sort(ar_peft_reader *r, const char *name, ar_error *err);
/* The pair (or, of stacked experts, the pairs) of a site whose tensors are all there. */
ar_status ar__peft_read_pair(ar_peft_reader *r, const ar_peft_site *site, ar_error *err);
ar_status ar__peft_not_gathered(const ar_peft_reader *r, const ar_tensor *t, ar_error *err);

#endif
