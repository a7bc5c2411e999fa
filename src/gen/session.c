#include "gen/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/correction.h"
#include "adapter/weighted.h"
#include "alphar/tune.h"
#include "base/fail.h"
#include "base/file.h"
#include "data/supervise.h"
#include "format/gguf.h"
#include "format/json.h"
#include "gen/stack.h"
#include "model/fingerprint.h"
#include "model/mirror.h"

static ar_status open_one(ar_adapter **out, ar_session *s, const char *text, const ar_session_options *o, ar_error *err) {
    char *path = NULL;
    double factor;
    ar_trained *trained = &s->trained;
    const ar_log *log = &s->rt->log;
    ar_adapter_options how = o->adapter_options;
    how.keeps_stacks = true;
    how.model = o->model; /* names and heads, for formats that do not hold them */
    how.log = log->fn;
    how.log_user = log->user;
    ar_status st = ar__weighted_split(&path, &factor, text, err);
    if (!st) st = ar_adapter_open(out, path, &how, err);
    if (!st) st = ar__adapter_load(*out, err);
    if (!st) ar__adapter_warn_correction(*out, path, o->quantize, log);
    if (!st) st = ar__trained_add(trained, *out, err);
    if (!st && !ar__adapter_note(*out, AR_NOTE_MAX_LENGTH)) st = ar__trained_read(trained, path, "lora", err);
    if (!st && o->has_scale) st = ar_adapter_set_scale(*out, o->scale, err);
    if (!st && o->has_alpha) st = ar_adapter_set_alpha(*out, o->alpha, err);
    if (!st && factor != 1.0) st = ar_adapter_multiply_scale(*out, factor, err);
    s->factor = factor;
    free(path);
    return st;
}

ar_status ar__session_keep_strengths(ar_session *s, ar_error *err) {
    size_t n = s->adapter->pair_count;
    if (!s->own_alpha) s->own_alpha = ar__alloc(n, sizeof *s->own_alpha);
    if (!s->own_scale) s->own_scale = ar__alloc(n, sizeof *s->own_scale);
    if (!s->own_alpha || !s->own_scale) return ar__fail_memory(err, "adapter");
    s->own_default = s->adapter->settings.alpha;
    for (size_t i = 0; i < n; i++) {
        s->own_alpha[i] = s->adapter->pair[i].alpha;
        s->own_scale[i] = s->adapter->pair[i].scale;
    }
    return AR_OK;
}

ar_status ar__session_adapt(ar_session *s, bool alpha, double value, ar_error *err) {
    ar_adapter *ad = s->adapter;
    ad->settings.alpha = s->own_default;
    for (size_t i = 0; i < ad->pair_count; i++) {
        ad->pair[i].alpha = s->own_alpha[i];
        ad->pair[i].scale = s->own_scale[i];
    }
    return alpha ? ar_adapter_set_alpha(ad, value, err) : ar_adapter_set_scale(ad, value, err);
}

static ar_status open_adapters(ar_session *s, const ar_session_options *o, ar_error *err) {
    size_t count = (size_t)o->adapter_count;
    ar_adapter **list = ar__alloc(count, sizeof(ar_adapter *));
    ar_status st = list ? AR_OK : ar__fail_memory(err, "adapters");
    for (size_t i = 0; !st && i < count; i++) st = open_one(&list[i], s, o->adapters[i], o, err);
    if (!st && count == 1) {
        s->adapter = list[0];
        list[0] = NULL;
    } else if (!st) {
        st = ar__adapters_stack(&s->adapter, list, o->adapter_count, err);
    }
    s->stacked = count > 1;
    for (size_t i = 0; list && i < count; i++) ar_adapter_free(list[i]);
    free(list);
    if (!st) st = ar__session_keep_strengths(s, err);
    if (!st) st = ar__attach_wholes(s->model, s->adapter, err);
    return st ? st : ar__attach_new(&s->attachment, s->model, s->adapter, 1.0, err);
}

static void add_eos(ar_session *s, int64_t id) {
    for (int i = 0; i < s->eos_count; i++)
        if (s->eos[i] == id) return;
    if (id >= 0 && id < s->model->arch.vocab && s->eos_count < (int)(sizeof s->eos / sizeof *s->eos)) s->eos[s->eos_count++] = (int32_t)id;
}

/* Tokens that end a turn or a message, of a GGUF file. */
static ar_status collect_gguf_eos(ar_session *s, const char *path, ar_error *err) {
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    ar_gguf *g = NULL;
    ar_status st = ar__gguf_open(&g, path, err);
    for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++) {
        int64_t id = -1;
        st = ar__gguf_get_int(&id, g, keys[i], err);
        add_eos(s, id);
    }
    ar__gguf_close(g);
    return st;
}

/* The union of tokenizer, config.json and generation_config.json. */
static ar_status collect_eos(ar_session *s, const char *model_path, ar_error *err) {
    if (s->tokenizer) add_eos(s, ar_tokenizer_eos(s->tokenizer));
    for (int i = 0; i < s->model->arch.eos_count; i++) add_eos(s, s->model->arch.eos[i]);
    if (ar__gguf_is_name(model_path)) return collect_gguf_eos(s, model_path, err);
    char *path = ar__path_join(model_path, "generation_config.json");
    json_t *config = NULL;
    ar_status st = path ? AR_OK : ar__fail_memory(err, model_path);
    if (!st && ar__path_exists(path)) st = ar__json_load_object(&config, path, 1 << 20, err);
    const json_t *eos = json_object_get(config, "eos_token_id");
    int64_t id;
    if (ar__json_as_int(&id, eos)) add_eos(s, id);
    for (size_t i = 0; i < json_array_size(eos); i++)
        if (ar__json_as_int(&id, json_array_get(eos, i))) add_eos(s, id);
    json_decref(config);
    free(path);
    return st;
}

/* A base without a tokenizer can still be asked about ids. */
static ar_status open_tokenizer(ar_session *s, const char *path, ar_error *err) {
    ar_status st = ar_tokenizer_open(&s->tokenizer, path, &s->no_tokenizer);
    if (st == AR_ERR_NOT_FOUND) return AR_OK;
    if (st && err) *err = s->no_tokenizer;
    return st;
}

/* The template that the adapter brings, else the base's; whether that is the one of training is said. */
static ar_status open_chat(ar_session *s, const char *path, const char *name, ar_error *err) {
    const ar_trained *t = &s->trained;
    char hash[17];
    if (name) return ar__chat_open(&s->chat, path, name, s->tokenizer, err);
    if (t->template_text) return ar__chat_open_text(&s->chat, path, t->template_text, s->tokenizer, err);
    ar_status st = ar__chat_open(&s->chat, path, NULL, s->tokenizer, err);
    if (st || !t->template_hash) return st;
    if (s->chat && !s->chat->broken) snprintf(hash, sizeof hash, "%016llx", (unsigned long long)ar__chat_hash(s->chat));
    if (!s->chat || s->chat->broken || strcmp(hash, t->template_hash) != 0)
        ar__log_warn(&s->rt->log,
                     "%s: its chat template is not the one that the adapter was trained with: conversations are written differently now",
                     path);
    return AR_OK;
}

/* What ends an answer, by the template: a token of the vocabulary, or a text. */
static ar_status find_turn_end(ar_session *s, ar_error *err) {
    ar_frames frames;
    s->turn_end_id = -1;
    if (!s->chat) return AR_OK;
    ar_status st = ar__frames_find(&frames, s->chat, err);
    const ar_frame *f = &frames.last;
    size_t from = 0, to;
    size_t space = f->known ? strspn(f->before, " \n") : 0;
    if (space && space == f->before_n) s->turn_begin = ar__strdup(f->before);
    while (f->known && from < f->after_n && strchr(" \n", f->after[from])) from++;
    for (to = from; f->known && to < f->after_n && !strchr(" \n", f->after[to]);) to++;
    char *end = st || to == from ? NULL : ar__strndup(f->after + from, to - from);
    ar__frames_release(&frames);
    s->turn_end_id = end ? ar_tokenizer_find(s->tokenizer, end) : -1;
    if (s->turn_end_id < 0)
        s->turn_end = end;
    else
        free(end);
    return st;
}

ar_status ar_session_set_strength(ar_session *s, bool alpha, double value, ar_error *err) {
    if (!s->adapter) return ar__fail(err, AR_ERR_VALUE, "alpha or scale without an adapter: there is nothing to set");
    if (s->stacked) return ar__fail(err, AR_ERR_UNSUPPORTED, "alpha or scale over several adapters: there is no common one");
    AR_ONE_CALL(s->rt, err);
    ar_attachment *at = NULL;
    ar_status st = ar__session_adapt(s, alpha, value, err);
    if (!st) st = ar__attach_new(&at, s->model, s->adapter, 1.0, err);
    if (st) return st;
    ar__attach_free(s->attachment);
    s->attachment = at;
    return AR_OK;
}

ar_status ar_session_check_folder(const char *dir, bool overwrite, ar_error *err) {
    if (!ar__path_exists(dir) || ar__dir_is_empty(dir)) return AR_OK;
    if (!ar__path_is_dir(dir)) return ar__fail(err, AR_ERR_EXISTS, "%s: is a file, peft adapters are folders", dir);
    if (ar__dir_holds(dir, "run.json") || ar__dir_holds(dir, "config.json"))
        return ar__fail(err, AR_ERR_EXISTS, "%s: is the folder of a %s, which is never overwritten; give another one", dir,
                        ar__dir_holds(dir, "run.json") ? "training" : "model");
    if (!ar__dir_holds(dir, "adapter_config.json"))
        return ar__fail(err, AR_ERR_EXISTS, "%s: is not empty, and holds no adapter that could be overwritten; give another folder", dir);
    if (!overwrite) return ar__fail(err, AR_ERR_EXISTS, "%s: there is an adapter already; give another folder or --overwrite", dir);
    return AR_OK;
}

ar_status ar_session_save_adapter(const ar_session *s, const char *dir, bool overwrite, ar_error *err) {
    if (!s->adapter || s->stacked) return ar__fail(err, AR_ERR_VALUE, "adapter: wanted one to save");
    ar_status st = ar_session_check_folder(dir, overwrite, err);
    return st ? st : ar_adapter_save(s->adapter, dir, overwrite, err);
}

ar_status ar_session_write_adapter(ar_session *s, const char *dir, bool alpha, double value, bool overwrite, ar_error *err) {
    ar_status st = ar_session_set_strength(s, alpha, value, err);
    return st ? st : ar_session_save_adapter(s, dir, overwrite, err);
}

static uint64_t mix(uint64_t h, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

ar_status ar_session_fingerprint(uint64_t *out, const ar_session *s, ar_error *err) {
    char architecture[AR_FINGERPRINT_CHARS];
    ar_buf weights = {0};
    uint64_t h = 0xcbf29ce484222325u;
    ar_status st = ar__model_fingerprint(architecture, &weights, s->model, err);
    if (st) return st;
    h = mix(h, architecture, strlen(architecture));
    h = mix(h, weights.data, weights.len);
    if (s->model->quantised) h = mix(h, s->model->quantised, strlen(s->model->quantised));
    ar__buf_release(&weights);
    for (size_t i = 0; s->adapter && i < s->adapter->pair_count; i++) {
        const ar_pair *p = &s->adapter->pair[i];
        h = mix(h, p->site, strlen(p->site));
        h = mix(h, &p->scale, sizeof p->scale);
        h = mix(h, p->a, (size_t)p->rank * (size_t)p->n_in * sizeof *p->a);
        h = mix(h, p->b, (size_t)p->rank * (size_t)p->n_out * sizeof *p->b);
        if (p->magnitude) h = mix(h, p->magnitude, (size_t)p->n_out * sizeof *p->magnitude);
    }
    for (size_t i = 0; s->adapter && i < s->adapter->whole_count; i++)
        h = mix(h, s->adapter->whole[i].data, s->adapter->whole[i].count * sizeof *s->adapter->whole[i].data);
    if (s->chat && !s->chat->broken) {
        uint64_t chat = ar__chat_hash(s->chat);
        h = mix(h, &chat, sizeof chat);
    }
    *out = h;
    return AR_OK;
}

const char *ar_session_said(const ar_session *s, const char *answer) {
    size_t n = s->turn_begin ? strlen(s->turn_begin) : 0;
    return n && !strncmp(answer, s->turn_begin, n) ? answer + n : answer;
}

bool ar_session_has_template(const ar_session *s) { return s->chat && !s->chat->broken; }

ar_status ar_session_open(ar_session **out, const ar_runtime *rt, const ar_session_options *o, ar_error *err) {
    *out = NULL;
    AR_ONE_CALL(rt, err);
    if ((o->has_scale || o->has_alpha) && !o->adapter_count)
        return ar__fail(err, AR_ERR_VALUE, "alpha or scale without an adapter: there is nothing to set");
    ar_session *s = ar__alloc(1, sizeof *s);
    if (!s) return ar__fail_memory(err, "session");
    s->rt = rt;
    ar_status st = ar_model_open(&s->model, rt, o->model, err);
    if (!st && o->quantize) st = ar__model_quantise(s->model, o->quantize, err);
    if (!st) st = open_tokenizer(s, o->model, err);
    if (!st) st = collect_eos(s, o->model, err);
    if (!st && o->adapter_count) st = open_adapters(s, o, err);
    if (!st && !o->adapter_count) st = ar__trained_read(&s->trained, o->model, "full", err);
    if (!st && !o->adapter_count) st = ar__trained_read_merged(&s->trained, o->model, err);
    if (!st && s->tokenizer) st = open_chat(s, o->model, o->chat_template, err);
    if (!st) st = find_turn_end(s, err);
    if (!st) st = ar__model_mirror(s->model, err); /* whether a device holds the base is known before anything is asked */
    if (st) {
        ar_session_free(s);
        return st;
    }
    *out = s;
    return AR_OK;
}

void ar_session_free(ar_session *s) {
    if (!s) return;
    ar__attach_free(s->attachment);
    free(s->own_alpha);
    free(s->own_scale);
    ar_model_free(s->model);
    ar_adapter_free(s->adapter);
    ar__chat_free(s->chat);
    free(s->turn_begin);
    free(s->turn_end);
    ar_tokenizer_free(s->tokenizer);
    ar__trained_release(&s->trained);
    free(s);
}

ar_session_form ar_session_trained_form(const ar_session *s) {
    const ar_trained *t = &s->trained;
    return (ar_session_form){.form = t->forms.count == 1 ? t->forms.at[0] : NULL,
                             .map = t->map,
                             .ignore_fields = t->ignored,
                             .max_length = t->max_length,
                             .turns = ar__trained_kind(t) == AR_DATA_MESSAGES};
}

const ar_tokenizer *ar_session_tokenizer(const ar_session *s) { return s->tokenizer; }

ar_status ar_session_need_tokenizer(const ar_session *s, ar_error *err) {
    if (s->tokenizer) return AR_OK;
    if (err) *err = s->no_tokenizer;
    return s->no_tokenizer.status;
}

const ar_model *ar_session_model(const ar_session *s) { return s->model; }

ar_segment ar__session_segment(const ar_session *s, size_t samples) {
    return (ar_segment){0, samples, s->attachment ? s->attachment->ops : NULL};
}

ar_status ar__session_pass(ar_pass **out, const ar_session *s, size_t tokens, size_t samples, size_t longest, size_t head_rows,
                           ar_error *err) {
    const ar_attachment *at = s->attachment;
    size_t piece = ar__head_piece(s->model);
    ar_pass_spec spec = {.tokens = tokens,
                         .samples = samples,
                         .longest = longest,
                         .ranks = at ? at->ranks : NULL,
                         .dora = at && at->dora_count,
                         .head_pieces = (head_rows + piece - 1) / piece};
    return ar__pass_new(out, s->model, &spec, err);
}

ar_status ar__session_check_ids(const ar_session *s, const int32_t *ids, size_t count, ar_error *err) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= s->model->arch.vocab)
            return ar__fail(err, AR_ERR_VALUE, "token %zu is id %d, the base's vocabulary has %lld", i, ids[i],
                            (long long)s->model->arch.vocab);
    return AR_OK;
}

ar_status ar__session_check_length(const ar_session *s, size_t count, ar_error *err) {
    int64_t positions = s->model->arch.max_positions;
    if (!ar__arch_holds(&s->model->arch, count))
        return ar__fail(err, AR_ERR_VALUE, "a text has %zu tokens, and the base has embeddings of %lld positions: use a shorter one", count,
                        (long long)positions);
    if (positions > 0 && count > (size_t)positions)
        ar__log_warn(&s->rt->log, "a text has %zu tokens, the base was made for %lld: what it makes of them says little", count,
                     (long long)positions);
    return AR_OK;
}

ar_status ar__session_not_finite(const ar_session *s, const char *what, ar_error *err) {
    const char *tensor = ar__model_find_nonfinite(s->model);
    if (tensor)
        return ar__fail(err, AR_ERR_NUMERIC, "%s are no numbers because base tensor '%s' holds NaN or infinity; the file is damaged", what,
                        tensor);
    return ar__fail(err, AR_ERR_NUMERIC, "%s are no numbers%s", what, s->adapter ? "; is alpha or scale far too large?" : "");
}
