/* What a batch and its operands look like, whoever computes on them: the pairs of segments, attention's blocks. */
#include "base/size.h"
#include "ops/attention.h"
#include "ops/linear.h"

const ar_pair_op *ar__segment_pair(const ar_segment *seg, int site) {
    return seg->pairs && site >= 0 && seg->pairs[site].rank > 0 ? &seg->pairs[site] : NULL;
}

size_t ar__pair_width(const ar_rows *rows, int site) {
    size_t r = 0;
    for (size_t i = 0; i < rows->segment_count; i++) {
        const ar_pair_op *p = ar__segment_pair(&rows->segments[i], site);
        if (p && (size_t)p->rank > r) r = (size_t)p->rank;
    }
    return r;
}

bool ar__linear_needs_input(const ar_linear *lin, const ar_rows *rows) { return lin->dw || ar__pair_width(rows, lin->site) > 0; }

size_t ar__attention_blocks(ar_block *out, const ar_rows *rows, const size_t *past, const size_t *keys) {
    size_t n = 0;
    for (size_t s = 0; s < rows->samples; s++) {
        size_t first = rows->start[s], count = rows->start[s + 1] - first, p = past ? past[s] : 0, k = keys ? keys[s] : first;
        for (size_t i = 0; i < count; i += AR_ATTENTION_BLOCK)
            out[n++] = (ar_block){first + i, ar__min(AR_ATTENTION_BLOCK, count - i), k, p + i, p + count};
    }
    return n;
}
