#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { PAGE_COUNT = AR_UNICODE_COUNT / AR_UNICODE_PAGE };

const char *const ar__unicode_categories[] = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No",
                                              "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So",
                                              "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn", NULL};
const char *const ar__unicode_scripts[] = {"Han",    "Hiragana", "Katakana",   "Hangul",  "Latin", "Greek", "Cyrillic", "Arabic",
                                           "Hebrew", "Thai",     "Devanagari", "Bengali", "Tamil", "Khmer", "Lao",      NULL};

/* Fills one page from the run that holds its first code point on; returns the run of its last. */
static size_t fill_page(uint32_t *page, uint32_t first, size_t run) {
    for (uint32_t i = 0; i < AR_UNICODE_PAGE; i++) {
        while (run + 1 < ar__unicode_run_count && ar__unicode_runs[run + 1].first <= first + i) run++;
        page[i] = ar__unicode_runs[run].value;
    }
    return run;
}

bool ar__unicode_init(ar_unicode *u) {
    u->pages = ar__alloc(PAGE_COUNT, sizeof *u->pages);
    if (!u->pages) return false;
    size_t run = 0, used = 0;
    for (uint32_t p = 0; p < PAGE_COUNT; p++) {
        run = fill_page(u->pages[used], p * AR_UNICODE_PAGE, run);
        /* Long stretches repeat one page: only the neighbour is compared, which catches them all but a few. */
        if (used && memcmp(u->pages[used - 1], u->pages[used], sizeof *u->pages) == 0) {
            u->index[p] = (uint16_t)(used - 1);
        } else {
            u->index[p] = (uint16_t)used++;
        }
    }
    void *smaller = realloc(u->pages, used * sizeof *u->pages);
    if (smaller) u->pages = smaller;
    return true;
}

void ar__unicode_release(ar_unicode *u) {
    free(u->pages);
    u->pages = NULL;
}

int ar__unicode_to_lower(uint32_t out[2], uint32_t c) {
    size_t low = 0, high = ar__unicode_lower_count;
    while (low < high) { /* the last run that starts at or before c */
        size_t mid = (low + high) / 2;
        if (ar__unicode_lowers[mid].first <= c)
            low = mid + 1;
        else
            high = mid;
    }
    out[0] = c;
    if (!low) return 1;
    const ar_unicode_lower *r = &ar__unicode_lowers[low - 1];
    uint32_t off = c - r->first;
    if (off % r->step != 0 || off / r->step >= r->count) return 1;
    out[0] = (uint32_t)((int32_t)c + r->delta);
    if (c != 0x130) return 1;
    out[1] = 0x307; /* the only one that grows: İ is i and a dot above */
    return 2;
}
