/* A course: what all that learn at once share.  One base, one set of samples, one pass with its memory.
 *
 *     course   base | samples | plan | pass | batches
 *                 ^        ^       ^      ^
 *     learners   (adapter, optimizer, schedule) × n       each takes a part of every micro-batch (train/learner.h) */
#ifndef AR_TRAIN_COURSE_H
#define AR_TRAIN_COURSE_H

#include "alphar/train.h"
#include "train/batcher.h"
#include "train/init.h"
#include "train/share.h"

/* What the plan decided. */
typedef struct ar_choice {
    int micro_rows;
    size_t again, mlp_again; /* layers that are computed again in backward: whole, their MLP (struct ar_pass_spec) */
    size_t head_pieces;      /* that are formed at a time */
    size_t tokens;           /* most in a micro-batch */
    size_t bytes;            /* of the pass */
    size_t packing;          /* bytes beside it that the operators take */
    bool fits;
} ar_choice;

typedef struct ar_course {
    const ar_runtime *rt;
    ar_course_options o; /* with every default resolved */
    ar_init init;
    bool pairs;    /* samples are pairs: 2k was chosen, 2k + 1 rejected */
    uint64_t seed; /* of the rows that parts of files take, and of random weights */
    char *tokenizer_path;
    ar_model *model;
    ar_tokenizer *tokenizer;
    ar_chat *chat;     /* how conversations are written; NULL: no way is known */
    bool own_template; /* that way is the run's, not the base's: it is kept with what is trained */
    bool turns;        /* pairs of plain texts are conversations, written so */
    ar_dataset *data, *eval_data;
    ar_data_stats stats, eval_stats;
    ar_pass_spec
        need;        /* what the learners need of a pass, all together: samples, ranks, dora, dropout, lowest_layer, embed_grad, ple_grad */
    int *ranks;      /* of it: the largest by module */
    size_t learners; /* that joined */
    int64_t state_bytes; /* of the learners' parameters, gradients and moments */
    int64_t
        fixed_bytes; /* anonymous memory before the pass: parameters, state, tokenizer, data, libraries; on a device the base, and theirs */
    int64_t budget;  /* what is left for the pass; 0: unknown */
    ar_choice choice;
    ar_pass *pass;
    ar_batcher batcher, eval_batcher;
    ar_part *parts; /* [learners]; and [need.samples, of list and nll all of an evaluation that is shared out] of a list being served: */
    uint32_t *list, *missing;
    double *nll;
    float *weight;
    float *balance; /* of routers' load-balancing loss, where a learner has it (else NULL): each sample's slope, */
    double *uneven; /* and each sample's loss */
    ar_share share; /* of the steps over ranks */
    int beside;     /* ranks on this machine, this one too: memory is shared out among them */
    bool borrows;   /* model and datasets are another's */
} ar_course;

typedef enum ar_data_when {
    AR_DATA_NOT,   /* a plan may do without */
    AR_DATA_PART,  /* enough of it for an estimate */
    AR_DATA_FIRST, /* all of it before anything else */
    AR_DATA_AHEAD  /* while the first steps run, where that is possible */
} ar_data_when;

/* Opens everything that can fail because of its input: nothing is written yet.  Of o, what is the learner's says whether samples
 * are pairs, and which seed parts of files and random weights follow.  Close in any case. */
ar_status ar__course_open(ar_course *c, const ar_runtime *rt, const ar_train_options *o, ar_data_when data, ar_error *err);
/* Once the learners are there (ar__learner_open): what is left of the memory. */
void ar__course_set_budget(ar_course *c);
/* Behind that: the memory of the steps. */
ar_status ar__course_allocate(ar_course *c, ar_error *err);
/* A course over what another has opened: its model and datasets are not closed with it. */
ar_status ar__course_borrow(ar_course *c, const ar_runtime *rt, const ar_course_options *o, ar_model *model, ar_dataset *data,
                            ar_dataset *eval_data, ar_error *err);
void ar__course_close(ar_course *c);

/* Micro-batch, recomputation and size of the pass for samples of up to `longest` tokens. */
ar_choice ar__plan_choose(const ar_course *c, size_t longest);
ar_pass_spec ar__plan_spec(const ar_course *c, const ar_choice *choice, size_t longest);

/* Anonymous bytes of this process now; −1: not known. */
int64_t ar__memory_anonymous(void);

#endif
