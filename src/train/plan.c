/* What fits: micro-batch and layer recomputation from a byte budget, before step 1. */
#include "base/proc.h"
#include "base/size.h"
#include "ops/ops.h"
#include "train/course.h"

int64_t ar__memory_anonymous(void) { return ar__proc_bytes("/proc/self/status", "RssAnon:"); }

ar_pass_spec ar__plan_spec(const ar_course *c, const ar_choice *choice, size_t longest) {
    ar_pass_spec spec = c->need;
    spec.train = true;
    spec.tokens = choice->tokens;
    spec.longest = longest;
    spec.again = choice->again;
    spec.mlp_again = choice->mlp_again;
    spec.head_pieces = choice->head_pieces;
    return spec;
}

static void measure_choice(const ar_course *c, ar_choice *choice, size_t longest) {
    ar_pass_spec spec = ar__plan_spec(c, choice, longest);
    choice->bytes = ar__pass_bytes(c->model, &spec);
    choice->packing = ar__pass_scratch_bytes(c->model, &spec);
    choice->fits = c->budget <= 0 || (int64_t)(choice->bytes + choice->packing) <= c->budget;
}

static ar_choice try_choice(const ar_course *c, size_t longest, int rows, size_t again, size_t mlp_again) {
    ar_choice choice = {.micro_rows = rows, .again = again, .mlp_again = mlp_again};
    choice.tokens = ar__batcher_tokens(longest, c->need.samples, c->o.max_length, rows, c->o.pack);
    measure_choice(c, &choice, longest);
    return choice;
}

/* What is left goes to the head, which packs its weight once per chunk: as many pieces as help. */
static ar_choice widen_head(const ar_course *c, size_t longest, ar_choice choice) {
    size_t piece = ar__head_piece(c->model), rows = ar__min(choice.tokens, c->rt->ops->enough_head_rows);
    for (size_t n = (rows + piece - 1) / piece; n > 1 && choice.fits; n--) {
        ar_choice wide = choice;
        wide.head_pieces = n;
        measure_choice(c, &wide, longest);
        if (wide.fits) return wide;
    }
    return choice;
}

/* As few layers formed again as fit: their MLPs first, which hold most bytes for the time that they take, then whole ones.
 * The top layer is kept as long as any is, since it lends the others its memory. */
static ar_choice fewest_again(const ar_course *c, size_t longest, int rows) {
    size_t n = (size_t)c->model->arch.layers - (size_t)c->need.lowest_layer;
    ar_choice choice = {0};
    for (size_t i = 1; i + 1 < 2 * n; i++) {
        choice = i < n ? try_choice(c, longest, rows, 0, i) : try_choice(c, longest, rows, i - n + 1, 2 * n - 2 - i);
        if (choice.fits) return choice;
    }
    return try_choice(c, longest, rows, n, 0);
}

/* Where nobody set a limit and bf16 makes steps short, memory that costs little time is left to others: the MLPs of a quarter of the
 * layers, and logits of more than a piece of the head (docs/design.md, decision 4). */
static bool is_sparing(const ar_course *c) {
    return c->rt->bf16 && c->rt->ops->memory->is_host && c->o.memory <= 0 && c->o.checkpoint_layers != AR_SWITCH_OFF;
}

/* The most rows up to the target that fit with everything kept; failing that the fewest rows, and layers formed again. */
ar_choice ar__plan_choose(const ar_course *c, size_t longest) {
    int most = (int)c->need.samples, least = 1;
    if (c->o.micro_batch > 0) most = least = c->o.micro_batch < most ? c->o.micro_batch : most;
    size_t layers = c->o.checkpoint_layers == AR_SWITCH_ON ? SIZE_MAX : 0;
    ar_choice choice = {0};
    for (int rows = most;; rows = (rows + 1) / 2) {
        if (rows < least || rows == 1) rows = least;
        choice = try_choice(c, longest, rows, layers, 0);
        if (rows == least || (choice.fits && choice.tokens <= c->rt->ops->enough_rows)) break;
    }
    if (!choice.fits && c->o.checkpoint_layers == AR_SWITCH_AUTO)
        choice = fewest_again(c, longest, least);
    else if (is_sparing(c) && layers)
        return choice;
    else if (is_sparing(c))
        return try_choice(c, longest, choice.micro_rows, 0, ((size_t)c->model->arch.layers - (size_t)c->need.lowest_layer) / 4);
    return widen_head(c, longest, choice);
}
