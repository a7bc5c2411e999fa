/* Opening a course: model, tokenizer, samples; then the memory of its steps.  Nothing is written here. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/proc.h"
#include "base/size.h"
#include "model/mirror.h"
#include "ops/device.h"
#include "train/course.h"
#include "train/init_adapter.h"
#include "train/objective.h"
#include "train/settings.h"

enum { PLAN_BYTES = 2 << 20 };  /* more is judged by a part */
enum { AHEAD_BYTES = 1 << 20 }; /* smaller files are tokenized before a thread for it would pay */

/* As is asked for, else as the adapter that the run begins with was taught, else as the base does. */
static ar_status open_chat(ar_course *c, ar_error *err) {
    const ar_course_options *o = &c->o;
    char *text = NULL;
    bool turns = false;
    ar_status s = o->init_adapter ? ar__init_adapter_template(&text, &turns, o, err) : AR_OK;
    c->own_template = o->chat_template || text;
    c->turns = o->chat_template || turns;
    if (!s && text && !o->chat_template) {
        s = ar__chat_open_text(&c->chat, c->tokenizer_path, text, c->tokenizer, err);
    } else if (!s) {
        s = ar__chat_open(&c->chat, c->tokenizer_path, o->chat_template, c->tokenizer, err);
        if (!s && text && strcmp(c->chat->of[c->chat->standard].source, text) != 0)
            ar__log_warn(&c->rt->log, "%s: was trained with another chat template: what it learned was in another notation",
                         o->init_adapter);
    }
    free(text);
    return s;
}

static ar_status open_base(ar_course *c, ar_error *err) {
    const ar_course_options *o = &c->o;
    bool random = c->init.kind == AR_INIT_RANDOM;
    ar_status s = random ? ar__model_init(&c->model, c->rt, o->model_config, c->seed, err) : ar_model_open(&c->model, c->rt, o->model, err);
    if (!s && o->quantize) s = ar__model_quantise(c->model, o->quantize, err);
    if (s) return s;
    if (random) {
        const char *slash = strrchr(o->model_config, '/');
        c->tokenizer_path =
            slash ? ar__strndup(o->model_config, slash == o->model_config ? 1 : (size_t)(slash - o->model_config)) : ar__strdup(".");
    } else {
        c->tokenizer_path = ar__strdup(o->model);
    }
    if (!c->tokenizer_path) return ar__fail_memory(err, "tokenizer");
    s = ar_tokenizer_open(&c->tokenizer, c->tokenizer_path, err);
    return s ? s : open_chat(c, err);
}

/* A length that was asked for stands; the default is no longer than the base was made for. */
static void choose_length(ar_course *c) {
    int64_t positions = c->model->arch.max_positions;
    if (c->o.max_length) return;
    c->o.max_length = ar__length_default(positions);
    if (c->o.max_length < AR_LENGTH) ar__log_info(&c->rt->log, "max-length %d: the base was made for no more positions", c->o.max_length);
}

/* AR_DATA_AHEAD: a large file may be tokenized while the first steps run, unless samples can be longer than the base was made for. */
static ar_status load_data(ar_dataset **out, ar_course *c, const ar_data_source *from, ar_data_when when, ar_data_stats *stats,
                           ar_error *err) {
    const ar_arch *a = &c->model->arch;
    const char *path = from->files.count ? from->files.items[0] : "samples";
    ar_data_options d = {.max_length = c->o.max_length,
                         .seed = c->seed,
                         .threads = c->rt->threads,
                         .eos_id = a->eos_count ? a->eos[0] : -1,
                         .train_on = c->o.train_on,
                         .skip_bad = c->o.skip_bad,
                         .ahead_bytes = when == AR_DATA_AHEAD && c->o.max_length <= a->max_positions ? AHEAD_BYTES : 0,
                         .sample_bytes = when == AR_DATA_PART && !from->sample_count ? PLAN_BYTES : 0,
                         .vocab = (int32_t)(a->vocab < INT32_MAX ? a->vocab : INT32_MAX),
                         .log = &c->rt->log,
                         .map = c->o.map,
                         .ignore_fields = c->o.ignore_fields,
                         .rows = c->pairs ? AR_ROWS_PAIRS : AR_ROWS_SAMPLES,
                         .chat = c->chat,
                         .chat_for_plain = c->turns};
    ar_status s = ar__dataset_load(out, from, c->tokenizer, &d, stats, err);
    if (!s && when == AR_DATA_AHEAD) ar__chat_remark(c->chat, c->tokenizer, ar__dataset_kind(*out), &c->rt->log);
    if (s || ar__dataset_is_reading(*out)) return s;
    if (ar__rope_is_dynamic(a) && ar__dataset_longest(*out) > a->max_positions)
        s = ar__fail(err, AR_ERR_UNSUPPORTED,
                     "%s: a sample has %d tokens, past the original maximum of %lld, and RoPE 'dynamic' changes with the length; use a "
                     "base with yarn or linear, or --max-length",
                     path, ar__dataset_longest(*out), (long long)a->max_positions);
    if (!s && !ar__arch_holds(a, (size_t)ar__dataset_longest(*out)))
        s = ar__fail(err, AR_ERR_VALUE, "%s: a sample has %d tokens, and the base has embeddings of %lld positions; use --max-length", path,
                     ar__dataset_longest(*out), (long long)a->max_positions);
    if (!s && ar__dataset_longest(*out) > a->max_positions)
        ar__log_warn(&c->rt->log, "%s: a sample has %d tokens, the base was made for %lld", path, ar__dataset_longest(*out),
                     (long long)a->max_positions);
    return s;
}

static ar_status begin(ar_course *c, ar_error *err) {
    c->need = (ar_pass_spec){.lowest_layer = (int)c->model->arch.layers};
    c->ranks = ar__alloc(c->model->module_count, sizeof *c->ranks);
    return c->ranks ? AR_OK : ar__fail_memory(err, "adapter");
}

ar_status ar__course_open(ar_course *c, const ar_runtime *rt, const ar_train_options *o, ar_data_when data, ar_error *err) {
    *c = (ar_course){.rt = rt, .o = o->course, .pairs = ar__has_objective(o), .seed = o->learner.seed, .beside = ar__ranks_here(o->ranks)};
    c->o.compute = ar_runtime_compute(rt);
    c->o.device = ar_runtime_device(rt);
    const char *product = rt->device ? ar__device_info(rt).product : rt->gemm[0]->name;
    if (c->o.compute == AR_COMPUTE_BF16) ar__log_info(&rt->log, "compute bf16: products with the base's weights on %s", product);
    ar_status s = ar_train_options_check(o, err);
    if (!s) s = ar__init_read(&c->init, o->course.init, err);
    if (!s && data && !ar__has_samples(&c->o.data)) s = ar__fail(err, AR_ERR_VALUE, "data: not given");
    if (!s) s = open_base(c, err);
    if (!s) choose_length(c);
    /* A resumed run compares its samples with those of before, and rows without packing are as long as the longest sample:
     * both want all of them first, as do ranks, which compare theirs. */
    if (data == AR_DATA_AHEAD && (o->run.resume || !c->o.pack || ar__is_shared(o->ranks))) data = AR_DATA_FIRST;
    if (!s && data) s = load_data(&c->data, c, &c->o.data, data, &c->stats, err);
    if (!s && data && ar__has_samples(&c->o.eval_data))
        s = load_data(&c->eval_data, c, &c->o.eval_data, data == AR_DATA_PART ? data : AR_DATA_FIRST, &c->eval_stats, err);
    if (s) return s;
    return begin(c, err);
}

ar_status ar__course_borrow(ar_course *c, const ar_runtime *rt, const ar_course_options *o, ar_model *model, ar_dataset *data,
                            ar_dataset *eval_data, ar_error *err) {
    *c = (ar_course){.rt = rt, .o = *o, .model = model, .data = data, .eval_data = eval_data, .beside = 1, .borrows = true};
    c->o.compute = ar_runtime_compute(rt);
    return begin(c, err);
}

/* Of a device: what it has left beside the base, which need not be there yet, less a little for what its library takes; the learners have
 * taken theirs already. */
static void set_device_budget(ar_course *c) {
    ar_device_info info = ar__device_info(c->rt);
    size_t known, base = ar__model_mirror_bytes(c->model, &known);
    int64_t room = (int64_t)(info.free_bytes - info.free_bytes / 32) + (int64_t)known - (int64_t)base;
    c->fixed_bytes = (int64_t)base + c->state_bytes;
    if (c->o.memory && c->o.memory - c->fixed_bytes < room) room = c->o.memory - c->fixed_bytes;
    c->budget = !info.memory_bytes && !c->o.memory ? 0 : room > 1 ? room : 1;
}

/* The given limit, or nine tenths of what the machine has left beside the base. */
void ar__course_set_budget(ar_course *c) {
    if (!c->rt->ops->memory->is_host) {
        set_device_budget(c);
        return;
    }
    int64_t base = (int64_t)ar__model_file_bytes(c->model), available = ar__memory_available();
    int64_t now = ar__memory_anonymous(), to_come = c->data ? (int64_t)ar__dataset_bytes_to_come(c->data) : 0;
    int64_t room = (available / 10 * 9 - base) / c->beside - to_come; /* the base is there once */
    c->fixed_bytes = (now > 0 ? now : 0) + to_come;                   /* ar__alloc touches what it gives, so the state counts already */
    if (c->o.memory) room = c->o.memory - c->fixed_bytes;
    c->budget = !c->o.memory && available <= 0 ? 0 : room > 1 ? room : 1;
}

static ar_status init_batcher(ar_batcher *out, const ar_course *c, const ar_dataset *data, ar_error *err) {
    ar_status s = ar__batcher_init(out, data, c->need.samples, c->choice.tokens, c->o.max_length, c->choice.micro_rows, c->o.pack, err);
    out->pairs = c->pairs;
    return s;
}

static ar_status device_too_small(const ar_course *c, ar_error *err) {
    const double mib = 0x1p20;
    return ar__fail(
        err, AR_ERR_MEMORY,
        "%s: the smallest plan needs %.0f MiB there, the base %.0f and the adapter with its state %.0f of them, and %.0f are to "
        "be had; use a smaller --max-length or --rank, --quantize nf4, or --device cpu",
        ar_runtime_device(c->rt), (double)((int64_t)(c->choice.bytes + c->choice.packing) + c->fixed_bytes) / mib,
        (double)(c->fixed_bytes - c->state_bytes) / mib, (double)c->state_bytes / mib, (double)(c->budget + c->fixed_bytes) / mib);
}

ar_status ar__course_allocate(ar_course *c, ar_error *err) {
    size_t longest = (size_t)ar__dataset_longest(c->data);
    if (c->eval_data && (size_t)ar__dataset_longest(c->eval_data) > longest) longest = (size_t)ar__dataset_longest(c->eval_data);
    c->choice = ar__plan_choose(c, longest);
    if (!c->choice.fits && !c->rt->ops->memory->is_host) return device_too_small(c, err);
    if (!c->choice.fits && c->o.memory)
        return ar__fail(err, AR_ERR_MEMORY,
                        "memory: the smallest plan needs %zu MiB, the limit is %lld MiB; use a smaller --max-length or more --memory",
                        ((c->choice.bytes + c->choice.packing + (size_t)c->fixed_bytes) >> 20) + 1, (long long)(c->o.memory >> 20));
    if (!c->choice.fits)
        ar__log_warn(&c->rt->log, "the smallest plan needs %zu MiB, more than this machine has free",
                     (c->choice.bytes + c->choice.packing) >> 20);
    ar_pass_spec spec = ar__plan_spec(c, &c->choice, longest);
    size_t most = c->need.samples; /* of a list; ranks share out an evaluation as a whole */
    if (ar__share_is_on(&c->share) && c->eval_data) most = ar__max(most, ar__dataset_count(c->eval_data));
    c->parts = ar__alloc(c->learners, sizeof *c->parts);
    c->list = ar__alloc(most, sizeof *c->list);
    c->missing = ar__alloc(c->need.samples, sizeof *c->missing);
    c->nll = ar__alloc(most, sizeof *c->nll);
    c->weight = ar__alloc(c->need.samples, sizeof *c->weight);
    c->balance = c->need.balance ? ar__alloc(c->need.samples, sizeof *c->balance) : NULL;
    c->uneven = c->need.balance ? ar__alloc(c->need.samples, sizeof *c->uneven) : NULL;
    bool there = c->parts && c->list && c->missing && c->nll && c->weight && (!c->need.balance || (c->balance && c->uneven));
    ar_status s = there ? ar__pass_new(&c->pass, c->model, &spec, err) : ar__fail_memory(err, "batches");
    if (!s) s = init_batcher(&c->batcher, c, c->data, err);
    if (!s && c->eval_data) s = init_batcher(&c->eval_batcher, c, c->eval_data, err);
    return s;
}

void ar__course_close(ar_course *c) {
    ar__batcher_release(&c->batcher);
    ar__batcher_release(&c->eval_batcher);
    ar__pass_free(c->pass);
    if (!c->borrows) {
        ar_model_free(c->model);
        ar__dataset_free(c->data);
        ar__dataset_free(c->eval_data);
    }
    ar__chat_free(c->chat);
    ar_tokenizer_free(c->tokenizer);
    free(c->tokenizer_path);
    free(c->ranks);
    free(c->parts);
    free(c->list);
    free(c->missing);
    free(c->nll);
    free(c->weight);
    free(c->balance);
    free(c->uneven);
    ar__share_close(&c->share);
    *c = (ar_course){0};
}
