/* The last layer behind its attention runs on rows with a target alone: no other row's output is read there, and the gradients
 * of the others are zero.
 *
 *   rows of the batch  | p p p t t | p t t |     p: prompt, t: has a target       row       3 4 6 7
 *   rows of the tail   | t t | t t |             samples and segments stay        position  3 4 1 2   (for dropout) */
#include "model/forward.h"

void ar__tail_begin(ar_pass *p, const ar_batch *b) {
    ar_tail *t = &p->tail;
    t->on = b->targets && !b->all_rows && !b->balance; /* routers see all rows */
    t->rows = b->rows;
    if (!t->on) return;
    size_t n = 0;
    for (size_t s = 0; s < b->rows.samples; s++) {
        t->start[s] = n;
        for (size_t i = b->rows.start[s]; i < b->rows.start[s + 1]; i++) {
            if (b->targets[i] < 0) continue;
            t->row[n] = i;
            t->position[n++] = i - b->rows.start[s];
        }
    }
    t->start[b->rows.samples] = n;
    t->rows.count = n;
    t->rows.start = t->start;
    t->rows.position = t->position;
}

const ar_rows *ar__rows_behind(const ar_pass *p, size_t layer, const ar_rows *rows) {
    return p->tail.on && layer + 1 == (size_t)p->model->arch.layers ? &p->tail.rows : rows;
}
