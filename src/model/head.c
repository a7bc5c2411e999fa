/* The head and the loss, on supervised rows only, a chunk at a time: the logits never exist as a whole.
 *
 * A chunk is filled with pieces: runs of up to `piece` supervised rows of one sample, cut at multiples of `piece` within
 * the sample, never split over chunks.  To the linear a piece is a sample, so the head's own gradients are summed piece
 * by piece, in an order that depends neither on the micro-batch nor on how many pieces a chunk holds. */
#include <assert.h>

#include "model/pass.h"

/* Where filling goes on: sample, row within the batch, rows taken before; and pieces. */
typedef struct cursor {
    size_t sample, row, taken, piece;
} cursor;

static size_t piece_length(const ar_pass *p, const ar_batch *b, cursor c) {
    size_t n = 0;
    for (size_t i = c.row; i < b->rows.start[c.sample + 1] && n < p->head.piece; i++) n += b->targets[i] >= 0;
    return n;
}

static void add_segment(ar_pass *p, const ar_batch *b, ar_rows *rows, size_t sample) {
    const ar_segment *from = NULL;
    assert(p->head.segments);
    for (size_t i = 0; i < b->rows.segment_count; i++)
        if (sample >= b->rows.segments[i].first && sample < b->rows.segments[i].last) from = &b->rows.segments[i];
    const ar_pair_op *pairs = from ? from->pairs : NULL;
    ar_segment *last = rows->segment_count ? &p->head.segments[rows->segment_count - 1] : NULL;
    if (last && last->pairs == pairs)
        last->last = rows->samples;
    else
        p->head.segments[rows->segment_count++] = (ar_segment){rows->samples - 1, rows->samples, pairs};
}

/* Takes the next pieces; false when there are none left. */
static bool fill_chunk(ar_pass *p, const ar_batch *b, cursor *c, ar_rows *rows) {
    *rows = (ar_rows){.start = p->head.start,
                      .key = b->rows.key ? p->head.key : NULL,
                      .segments = p->head.segments,
                      .slot = b->head_slot ? p->head.slot : NULL,
                      .slot_stride = b->head_slot_stride,
                      .dscale_stride = b->head_dscale,
                      .dscale_first = b->head_first + c->piece};
    p->head.start[0] = 0;
    p->head.slot[0] = b->head_slot ? b->head_slot[0] + c->piece : 0;
    while (c->sample < b->rows.samples) {
        size_t n = piece_length(p, b, *c), sample = c->sample;
        if (rows->count + n > p->head.most) break;
        while (n) {
            if (b->targets[c->row] >= 0) {
                p->head.at[rows->count] = p->tail.on ? c->taken : c->row;
                c->taken++;
                p->head.target[rows->count++] = b->targets[c->row];
                n--;
            }
            c->row++;
        }
        if (rows->count > p->head.start[rows->samples]) {
            p->head.key[rows->samples] = b->rows.key ? b->rows.key[sample] + ((uint64_t)(c->row - b->rows.start[sample]) << 40) : 0;
            p->head.sample[rows->samples++] = sample;
            p->head.start[rows->samples] = rows->count;
            p->head.slot[rows->samples] = p->head.slot[0] + rows->samples;
            c->piece++;
            assert(!b->head_slot || b->head_slot[sample] + 1 <= p->head.slot[rows->samples]);
            add_segment(p, b, rows, sample);
        }
        if (piece_length(p, b, *c) == 0) {
            c->sample++;
            if (c->sample < b->rows.samples) c->row = b->rows.start[c->sample];
        }
    }
    return rows->count > 0;
}

static void gather(ar_pass *p, const size_t *row, size_t count) {
    const ar_runtime *rt = p->model->rt;
    size_t d = (size_t)p->model->arch.dim;
    const float *x = p->acts[p->model->arch.layers].x;
    rt->ops->rows_take(rt, p->head.x, x, row, count, d);
    rt->ops->norm_fwd(rt, p->head.h, p->head.rstd, &p->model->norm, p->head.x, count, d);
}

static void chunk_backward(ar_pass *p, const ar_rows *rows) {
    const ar_model *m = p->model;
    size_t d = (size_t)m->arch.dim;
    m->rt->ops->scale(m->rt, p->head.logits, m->arch.logit_scale, rows->count * (size_t)m->arch.vocab);
    m->rt->ops->linear_bwd(m->rt, p->head.dh, false, p->head.logits, &m->head, p->head.h, p->head.su, rows, &p->linear);
    m->rt->ops->norm_bwd(m->rt, p->head.dh, false, p->head.dh, &m->norm, p->head.x, p->head.rstd, rows, 1, d);
    m->rt->ops->rows_put(m->rt, p->dx, p->head.dh, p->head.at, rows->count, d);
}

static void scale_chunk(ar_pass *p, const ar_batch *b, const ar_rows *rows, float scale) {
    for (size_t q = 0; q < rows->samples; q++)
        for (size_t i = rows->start[q]; i < rows->start[q + 1]; i++)
            p->head.scale[i] = b->weight ? scale * b->weight[p->head.sample[q]] : scale;
}

/* Once for all chunks, so that a device is waited for once. */
static void read_losses(ar_pass *p, const ar_batch *b, size_t count, double *sample_nll, float *token_nll) {
    const ar_runtime *rt = p->model->rt;
    rt->ops->memory->read(rt, p->head.read, p->head.nll, count * sizeof *p->head.read);
    size_t at = 0;
    for (size_t s = 0; s < b->rows.samples; s++) {
        sample_nll[s] = 0.0;
        for (size_t i = b->rows.start[s]; i < b->rows.start[s + 1]; i++) {
            if (b->targets[i] < 0) continue;
            sample_nll[s] += (double)p->head.read[at];
            if (token_nll) token_nll[i] = p->head.read[at];
            at++;
        }
    }
    assert(at == count);
}

void ar__pass_loss(ar_pass *p, const ar_batch *b, double *sample_nll, float *token_nll, float grad_scale) {
    const ar_model *m = p->model;
    cursor c = {.row = b->rows.samples ? b->rows.start[0] : 0};
    ar_rows rows;
    size_t count = 0;
    if (grad_scale != 0.0f && !p->tail.on) m->rt->ops->zero_rows(m->rt, p->dx, b->rows.count, (size_t)m->arch.dim);
    while (fill_chunk(p, b, &c, &rows)) {
        if (grad_scale != 0.0f) scale_chunk(p, b, &rows, grad_scale);
        gather(p, p->head.at, rows.count);
        m->rt->ops->linear_fwd(m->rt, p->head.logits, p->head.su, &m->head, p->head.h, &rows, &p->linear);
        m->rt->ops->scale(m->rt, p->head.logits, m->arch.logit_scale, rows.count * (size_t)m->arch.vocab);
        m->rt->ops->cross_entropy(m->rt, p->head.nll + count, p->head.logits, p->head.target, rows.count, (size_t)m->arch.vocab,
                                  m->arch.logit_cap, grad_scale != 0.0f ? p->head.scale : NULL);
        if (grad_scale != 0.0f) chunk_backward(p, &rows);
        count += rows.count;
    }
    read_losses(p, b, count, sample_nll, token_nll);
}

/* Where a row of the batch lies among the final hidden states. */
static size_t final_row(const ar_tail *t, size_t row) {
    size_t low = 0, high = t->rows.count;
    if (!t->on) return row;
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (t->row[mid] <= row)
            low = mid;
        else
            high = mid;
    }
    assert(t->row[low] == row);
    return low;
}

/* Decoding, each row is a sample of its own, as it was in the layers. */
void ar__pass_logits(ar_pass *p, float *logits, const ar_batch *b, const size_t *row, size_t count) {
    const ar_model *m = p->model;
    const ar_runtime *rt = m->rt;
    size_t vocab = (size_t)m->arch.vocab;
    for (size_t at = 0; at < count; at += p->head.most) {
        size_t n = count - at < p->head.most ? count - at : p->head.most, samples = b->rows.decoding ? n : 1;
        ar_segment seg = b->rows.segment_count ? (ar_segment){0, samples, b->rows.segments[0].pairs} : (ar_segment){0};
        for (size_t i = 0; i <= samples; i++) p->head.start[i] = b->rows.decoding ? i : i * n;
        ar_rows rows = {.count = n,
                        .samples = samples,
                        .start = p->head.start,
                        .segments = &seg,
                        .segment_count = b->rows.segment_count ? 1 : 0,
                        .decoding = b->rows.decoding};
        for (size_t i = 0; i < n; i++) p->head.at[i] = final_row(&p->tail, row[at + i]);
        gather(p, p->head.at, n);
        float *to = rt->ops->memory->is_host ? logits + at * vocab : p->head.logits;
        rt->ops->linear_fwd(rt, to, p->head.su, &m->head, p->head.h, &rows, &p->linear);
        rt->ops->scale(rt, to, m->arch.logit_scale, n * vocab);
        rt->ops->softcap(rt, to, m->arch.logit_cap, n, vocab);
        if (to == p->head.logits) rt->ops->memory->read(rt, logits + at * vocab, to, n * vocab * sizeof *to);
    }
}
