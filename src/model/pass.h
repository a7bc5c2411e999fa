/* One forward (and backward) over a batch of rows: what is kept, what is formed again, and where it all lies.
 *
 * The layout is decided before the first step and is the very memory then used (decision 4 of docs/design.md).  Of each layer
 * a training keeps one of three things (ar_level); which, the plan chooses layer by layer:
 *
 *   arena | common: the residual stream, norm output, gradients of both, rope tables, scratch of linears and attention
 *         | kept: x of every layer from the lowest that trains; mid, q, k, v, attention; gate, up         [training only]
 *         | the larger of { one set of what is not kept, attention's or the MLP's buffers } { the head's chunk }
 *
 * Under bf16 arithmetic what is kept is rounded (model/acts.h, ops/activation.h), and the f32 of it, one layer's, is in the last part.
 *
 * The set of what is not kept is the top layer's own where that layer is kept: forward writes it last, backward is done
 * with it first.  Nothing is allocated after ar__pass_new.
 *
 * Where operators' memory is not the host's, what tells them what to do (lists of rows, blocks, targets) lies in an arena of its own. */
#ifndef AR_MODEL_PASS_H
#define AR_MODEL_PASS_H

#include "base/mem.h"
#include "model/model.h"
#include "ops/ops.h"

/* What a pass must be able to hold. */
typedef struct ar_pass_spec {
    size_t tokens, samples, longest; /* most of each in one batch; longest: of a sample */
    const int *ranks;                /* per module: largest rank of a pair there; NULL: no pairs at all */
    bool dora, dropout;              /* some pair has it */
    bool train;                      /* backward will be called */
    size_t again, mlp_again;         /* layers that keep x alone, the lowest ones; and above these, that keep all but gate and up */
    int lowest_layer;                /* backward stops below this layer; layers: only the head trains */
    bool embed_grad;                 /* something below layer 0 trains */
    bool ple_grad;                   /* of per-layer embeddings what stands before the layers trains */
    bool balance;                    /* routers may be held to use all experts alike (ar_batch.balance) */
    size_t head_pieces;              /* of the head's rows that are held at a time; 0: one */
} ar_pass_spec;

/* What a layer keeps from forward to backward.  A layer below the lowest that trains keeps nothing. */
typedef enum ar_level { AR_LEVEL_NOTHING, AR_LEVEL_X, AR_LEVEL_ATTENTION, AR_LEVEL_ALL } ar_level;

/* What a layer keeps whose MLP is experts (model/experts.h).  Picks: a row as one of its experts sees it, in the order of the experts. */
typedef struct ar_expert_acts {
    float *logits, *weight; /* [T, experts]; [T, used] of those chosen */
    int32_t *chosen;
    float *gate, *up;                     /* [T * used, expert_ff] by pick */
    float *shared_gate, *shared_up, *mix; /* [T, shared_ff]; [T] its weight */
    uint16_t *kept, *shared_kept;         /* under bf16 arithmetic the two above as ops/activation.h keeps them, instead */
    /* Beside a dense MLP: [T, dim] what that gave and the experts, [T] of the norms of both, and of those of what experts and router read.
     */
    float *dense_out, *out, *rstd_dense, *rstd_out, *rstd_in, *rstd_router;
    float *su[AR_EXPERT_PARTS]; /* by pick, rank[part] floats for each */
    size_t rank[AR_EXPERT_PARTS];
} ar_expert_acts;

/* Activations of one layer. */
typedef struct ar_acts {
    float *x;                   /* [T, dim] its input */
    float *mid;                 /* [T, dim] residual after attention */
    float *q, *k, *v;           /* q, k after RoPE; but raw where the family norms them, whose backward reads them */
    float *att, *lse;           /* attention output, log-sum-exp [T, heads] */
    float *gate, *up;           /* rows ar__mlp_ld apart, of one matrix where one linear gives both; gate NULL: the MLP has none */
    uint16_t *kept;             /* under bf16 arithmetic gate and up as ops/activation.h keeps them; those above are all layers' then */
    float *head_gate;           /* [T, heads * head_dim] where attention is gated */
    float *columns, *z, *b, *a; /* of a layer that mixes by the delta rule: what its linears gave; what the rule gave is att, */
    float *rstd_delta;          /* and this of its norm [T, value_heads]; they lie where q, k, v of other layers do */
    /* Of a layer that mixes by a short convolution, in the same place: what goes through, its gates in front and behind; what the
     * convolution gave is att. */
    float *through, *gate_front, *gate_behind;
    float *rstd_attn, *rstd_mlp, *rstd_q, *rstd_k, *rstd_v;
    float *o, *down;                          /* [T, dim] what the sublayers' last linears gave, where a norm stands behind them */
    float *rstd_o, *rstd_down;                /* of these norms */
    float *y, *ple_gate, *ple_out, *rstd_ple; /* of per-layer embeddings: model/ple.h */
    float *su[AR_SLOT_COUNT];                 /* s A x of each site, for slots that carry pairs */
    uint16_t *rounded;                        /* where the wide ones are kept so: model/acts.h */
    ar_expert_acts experts;
} ar_acts;

/* Keys and values of several sequences, per layer, after RoPE; of layers that mix otherwise than by attention their states.  A sequence
 * begins anew when its past is set to 0. */
typedef struct ar_kv_cache {
    size_t sequences, capacity;
    ar_arena arena;        /* the operators' own memory: of k, v, state, conv */
    size_t *past;          /* [sequences] tokens that each holds */
    float **k, **v;        /* [layers] of [sequences, capacity, kv_heads * head_dim], or an earlier layer's; NULL where there is a state: */
    float **state, **conv; /* [layers] of [sequences, …], as ar_recurrence has them; NULL where there are keys */
    size_t *reach;         /* [sequences] tokens that each will hold, where that is known: longrope turns by it; 0: what it holds */
    /* [sequences] of the batch at work, per sample: position of its first row, row of its first key, its sequence */
    size_t *begin, *keys, *sequence;
} ar_kv_cache;

/* The rows that the last layer needs behind its attention: those with a target.  Keys and values are formed of all. */
typedef struct ar_tail {
    bool on;
    ar_rows rows; /* samples and segments of the batch, its rows left out */
    size_t *row, *start, *position;
} ar_tail;

/* Keys and values, turned and normed, that later layers take too, and what their gradients come to; of layers without and with the window.
 */
typedef struct ar_kv_lent {
    float *k, *v, *dk, *dv;
} ar_kv_lent;

/* Of per-layer embeddings (model/ple.h): [T, layers · P], a slice of it, [T, P], and the MLP-like product's. */
typedef struct ar_ple_memory {
    float *input, *grad, *rstd, *slice, *act, *su_table, *su_mix;
} ar_ple_memory;

/* Attention's: of one layer at a time. */
typedef struct ar_attention_memory {
    float *joined;        /* q, k, v (and their gradients) as one linear gives them; NULL: three linears do */
    float *q_rot, *k_rot; /* NULL unless the family norms q and k, */
    float *v_normed;      /* values */
    float *wide;          /* [T, 2 heads * head_dim] where attention is gated: q and gate of each head, as one linear has them */
    float *gated;         /* what the mixer's last linear reads where that is not att: att by its gate; NULL: it is in every layer */
    float *dq, *dk, *dv, *dout, *dsum; /* its backward's */
    float *scratch;                    /* all threads' */
    ar_block *blocks;
    size_t block_count;
} ar_attention_memory;

/* The experts': of one layer at a time. */
typedef struct ar_expert_memory {
    ar_routes routes;
    float *weight, *dweight; /* by pick; of the shared expert by row */
    float *dchosen;          /* [T, used] */
    float *x, *y, *dh;       /* [T, dim] one expert's rows; the sum of the gradients */
    float *plain;            /* the MLP's product without its weight */
    float *g, *u;            /* [T, widest] gate and up of one expert's rows, where layers keep theirs as bf16; NULL elsewhere */
    float *h, *d;            /* [T, dim] beside a dense MLP: what router or experts read; a gradient; NULL elsewhere */
    /* Of the load-balancing loss, NULL elsewhere: [samples, experts] over all layers, [samples] of its slopes, [T, experts] a gradient. */
    float *count, *share, *by, *dlogits;
    bool balanced; /* the batch at hand asks for it */
} ar_expert_memory;

/* Of a layer that mixes by the delta rule, in the place of attention's. */
typedef struct ar_delta_memory {
    float *conv, *d_conv; /* [T, columns] behind the convolution, and its gradient */
    float *scratch;       /* all threads' */
} ar_delta_memory;

/* Of a layer that mixes by a short convolution, in the same place. */
typedef struct ar_conv_memory {
    float *joined; /* [T, 3 dim] as its first linear gives them; then [T, dim] what the convolution reads, or the gradient of that */
} ar_conv_memory;

/* The head's: a chunk of supervised rows, in pieces of samples (model/head.c). */
typedef struct ar_head_memory {
    size_t piece, most; /* rows of a piece; of a chunk, at most */
    size_t *at;         /* of each row of the chunk: its place among the final hidden states */
    int32_t *target;
    size_t *start, *sample, *slot; /* of each piece */
    uint64_t *key;
    ar_segment *segments;
    float *x, *h, *dh, *rstd, *scale, *logits, *su;
    float *nll, *read; /* [T] of all targets of the batch, one behind the other; and in the host's memory */
} ar_head_memory;

typedef struct ar_pass {
    const ar_model *model;
    ar_pass_spec spec;
    ar_arena arena;                 /* the operators' own memory (ops/memory.h) */
    ar_arena *index;                /* index arrays: there too where that is the host's, else */
    ar_arena own_index;             /* here */
    ar_acts *acts;                  /* [layers + 1]; the last holds only x: the final hidden states */
    ar_acts wide;                   /* the set of the wide ones, where layers keep theirs rounded: model/acts.h */
    float *h, *dx, *dh;             /* [T, dim] */
    float *act;                     /* the MLP's product, then its gradient */
    float *gate, *up;               /* where layers keep theirs as bf16: [T, widest] each, or [T, 2 widest] of one linear for both */
    float *dh_mlp;                  /* [T, dim] where attention and MLP are parallel: the gradient of what the MLP read; NULL elsewhere */
    float *su_embed, *su_positions; /* [T, r] */
    int32_t *position;              /* [T] where positions have embeddings */
    ar_attention_memory attention;
    ar_delta_memory delta;
    ar_conv_memory conv;
    ar_head_memory head;
    ar_expert_memory experts;
    ar_tail tail;
    ar_linear_scratch linear;
    ar_rope rope[AR_ROPES];
    bool *far; /* [samples] of the batch: turned by rope's far tables; NULL: there are none */
    ar_kv_lent lent[2];
    ar_ple_memory ple;
    size_t rope_length;                      /* of the sequence that the tables were made for (dynamic scaling) */
    void (*on_layer)(void *user, int layer); /* backward of the layer is done; NULL: nobody asks */
    void *on_layer_user;
} ar_pass;

/* One batch.  Memory is the caller's and must live until backward is done. */
typedef struct ar_batch {
    ar_rows rows;
    const int32_t *ids;
    const int32_t *targets; /* -1: not supervised; NULL: none are */
    const float *weight;    /* [samples] multiplies the gradient of each one's loss; NULL: 1 */
    bool all_rows;          /* final hidden states of rows without a target are wanted too (as they are without targets) */
    const float *balance;   /* [samples] the slope by each one's load-balancing loss, which all its rows have; NULL: there is none */
    const size_t *sequence; /* with a cache, per sample: which of the cache's it goes on; NULL: 0, 1, 2, … */
    /* As rows.slot, of what is behind the layers: a slot for each of a sample's pieces (ar__head_pieces), [samples + 1]. */
    const size_t *head_slot;
    ptrdiff_t head_slot_stride;
    /* And as rows.dscale_first: piece i of the batch has number head_first + i. */
    bool head_dscale;
    size_t head_first;
} ar_batch;

ar_status ar__pass_new(ar_pass **out, const ar_model *m, const ar_pass_spec *spec, ar_error *err);
void ar__pass_free(ar_pass *p);
ar_level ar__pass_level(const ar_pass *p, size_t layer);
/* Bytes of the operators' memory that ar__pass_new would take. */
size_t ar__pass_bytes(const ar_model *m, const ar_pass_spec *spec);
/* Bytes beside it that the operators take. */
size_t ar__pass_scratch_bytes(const ar_model *m, const ar_pass_spec *spec);
/* Rows of logits in a piece: the fewest that are formed at a time. */
size_t ar__head_piece(const ar_model *m);
/* Pieces of a sample with so many targets. */
size_t ar__head_pieces(const ar_model *m, size_t supervised);

/* Runs all layers.  cache (may be NULL): each sample goes on a sequence of it, one that no other sample does: its keys and
 * values are appended, its positions go on from the sequence's past, which is advanced. */
void ar__pass_forward(ar_pass *p, const ar_batch *b, ar_kv_cache *cache);

/* Loss of the supervised tokens after forward: nll sums per sample in sample_nll [samples] (double), and each token's
 * nll in token_nll [rows] where that is not NULL (rows without a target are left alone).
 * With grad_scale != 0 the gradient of sum(nll) * grad_scale, each sample's by its weight, starts in p->dx, and the head's
 * parameters get theirs.  Without, what forward left stays, so that the loss may be asked for again. */
void ar__pass_loss(ar_pass *p, const ar_batch *b, double *sample_nll, float *token_nll, float grad_scale);

/* After a forward with ar_batch.balance: each sample's load-balancing loss (ops/experts.h), out [samples]. */
void ar__pass_balance(ar_pass *p, const ar_batch *b, double *out);

/* Continues from ar__pass_loss down to the lowest layer that trains. */
void ar__pass_backward(ar_pass *p, const ar_batch *b);

/* Logits [count, vocab], in the host's memory, of given rows after forward, rows with a target unless all were wanted. */
void ar__pass_logits(ar_pass *p, float *logits, const ar_batch *b, const size_t *row, size_t count);

/* Memory for `sequences` of up to `capacity` tokens; ar__kv_bytes: of one, SIZE_MAX where it cannot be counted. */
ar_status ar__kv_new(ar_kv_cache **out, const ar_model *m, size_t sequences, size_t capacity, ar_error *err);
size_t ar__kv_bytes(const ar_model *m, size_t capacity);
void ar__kv_free(ar_kv_cache *c, const ar_model *m);
/* What ar__pass_forward does to the cache before its layers and behind them. */
void ar__kv_begin(ar_kv_cache *c, const ar_batch *b);
void ar__kv_end(ar_kv_cache *c, const ar_batch *b);
/* What a layer that mixes otherwise than by attention goes on from: the delta rule's state, and its convolution's rows. */
ar_recurrence ar__kv_state(const ar_kv_cache *c, const ar_model *m, size_t layer);
ar_recurrence ar__kv_conv(const ar_kv_cache *c, const ar_model *m, size_t layer);

#endif
