#include "adapter/fingerprint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/base_name.h"
#include "base/fail.h"

enum { VALUES = 512 }; /* at most; one of each matrix where there are no more */

static uint64_t mix(uint64_t h, const void *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    return h;
}

/* layers.2 before layers.10 */
static int by_path(const void *a, const void *b) {
    return strverscmp(((const ar_fingerprint_module *)a)->path, ((const ar_fingerprint_module *)b)->path);
}

static void hash_modules(char out[AR_FINGERPRINT_CHARS], const ar_fingerprint_module *list, size_t count) {
    uint64_t h = 0xcbf29ce484222325u;
    char shape[64];
    for (size_t i = 0; i < count; i++) {
        int n = snprintf(shape, sizeof shape, " [%lld,%lld]\n", (long long)list[i].n_out, (long long)list[i].n_in);
        h = mix(mix(h, list[i].path, strlen(list[i].path)), shape, (size_t)n);
    }
    snprintf(out, AR_FINGERPRINT_CHARS, "%016llx", (unsigned long long)h);
}

void ar__fingerprint_modules(char architecture[AR_FINGERPRINT_CHARS], ar_buf *weights, ar_fingerprint_module *list, size_t count,
                             ar_fingerprint_read read, void *user) {
    if (count) qsort(list, count, sizeof *list, by_path);
    hash_modules(architecture, list, count);
    size_t next = 0;
    for (size_t k = 0; k < VALUES; k++) {
        size_t i = k * count / VALUES;
        float value = 0;
        if (i < next) i = next;
        for (; i < count; i++) {
            size_t n = (size_t)list[i].n_out * (size_t)list[i].n_in;
            if (list[i].n_in < 2 || !n) continue;
            size_t at = (n / 3 + k * 7919) % n;
            if (!read(&value, user, &list[i], at)) continue;
            ar__buf_printf(weights, "%s%s[%zu]=%.7g", weights->len ? "," : "", list[i].path, at, (double)value);
            break;
        }
        next = i + 1;
    }
}

/* ---- of a base ------------------------------------------------------------------------------------------------------ */
static bool read_element(float *value, const ar_base *base, const ar_base_weight *w, size_t at, float *largest) {
    float *row = w->n_in > 0 ? ar__alloc((size_t)w->n_in, sizeof *row) : NULL;
    bool ok = row && !ar__base_read_rows(row, base, w, (int64_t)(at / (size_t)w->n_in), 1, NULL);
    if (ok) *value = row[at % (size_t)w->n_in];
    for (int64_t j = 0; ok && j < w->n_in; j++) *largest = fmaxf(*largest, fabsf(row[j]));
    free(row);
    return ok;
}

static bool read_base(float *value, void *user, const ar_fingerprint_module *module, size_t at) {
    const ar_base *base = user;
    float largest = 0;
    return read_element(value, base, ar__base_at(base, (int)module->index), at, &largest);
}

/* Weights of modules; of a family of the table only those that it has (GGUF adds tables of its own). */
static bool counts(const ar_base *base, const ar_base_weight *w) {
    const ar_base_info *info = ar__base_info(base);
    size_t n = strlen(w->tensor);
    if (n < 7 || strcmp(w->tensor + n - 7, ".weight") != 0) return false;
    if (info->is_tied && w->kind == AR_MODULE_HEAD) return false;
    const ar_name_row *row = info->names ? ar__names_row(info->names, w->site) : NULL;
    return !info->names || (row && row->slot < AR_SLOT_SCALAR);
}

ar_status ar__base_fingerprint(char architecture[AR_FINGERPRINT_CHARS], ar_buf *weights, const ar_base *base, ar_error *err) {
    ar_fingerprint_module *list = ar__alloc((size_t)ar__base_count(base), sizeof *list);
    size_t count = 0;
    if (!list) return ar__fail_memory(err, "fingerprint");
    for (int i = 0; i < ar__base_count(base); i++) {
        const ar_base_weight *w = ar__base_at(base, i);
        if (counts(base, w)) list[count++] = (ar_fingerprint_module){w->site, w->n_out, w->n_in, (size_t)i};
    }
    ar__fingerprint_modules(architecture, weights, list, count, read_base, (void *)(uintptr_t)base);
    free(list);
    return weights->failed ? ar__fail_memory(err, "fingerprint") : AR_OK;
}

/* ---- compared ------------------------------------------------------------------------------------------------------- */
/* What quantising to so many bits a weight may: half a step, or a whole one of the largest value where the codes have no place for it. */
static double quantising(double bits, double largest) { return largest / exp2(bits - 1.6); }

/* What rounding to a type may change about a value of a row; quantised types round by the largest of a block. */
static double rounding(ar_dtype type, double value, double largest) {
    const ar_dtype_info *t = ar__dtype(type);
    if (t->block > 1) return quantising(8.0 * (double)t->bytes / (double)t->block, largest);
    return type == AR_BF16 ? ldexp(value, -8) : type == AR_F16 ? ldexp(value, -11) + 1e-7 : 0;
}

/* noted_type: AR_DTYPE_COUNT where the adapter does not say; then any may have been. */
static bool is_near(double noted, ar_dtype noted_type, const ar_base_weight *w, float value, float largest) {
    double size = fabs(noted), bound = 1e-6 * size;
    if (noted_type != w->type) bound += rounding(w->type, size, (double)largest);
    if (w->packed) bound += quantising(w->packed->bits, (double)largest);
    if (noted_type != w->type) bound += rounding(noted_type == AR_DTYPE_COUNT ? AR_BF16 : noted_type, size, (double)largest);
    return fabs(noted - (double)value) <= bound;
}

/* A weight whose numbers can be told from another's: not packed, nor of a type that is not read. */
static bool is_readable(const ar_base *base, const ar_base_weight *w) {
    return ar__dtype(w->type)->to_f32 || (!ar__base_info(base)->quantised && !ar__base_info(base)->is_gguf);
}

/* One "path[index]=value" against the base. */
static ar_base_match check_value(const ar_base *base, ar_dtype type, const char *text, size_t length) {
    char *copy = ar__strndup(text, length), *end = NULL;
    char *open = copy ? strrchr(copy, '[') : NULL;
    ar_base_match match = AR_BASE_UNKNOWN;
    if (open) {
        unsigned long long at = strtoull(open + 1, &end, 10);
        bool whole = end > open + 1 && !strncmp(end, "]=", 2) && end[2];
        double noted = whole ? strtod(end + 2, &end) : NAN;
        *open = '\0';
        const ar_base_weight *w = ar__base_find(base, copy);
        float value = 0, largest = 0;
        bool packed = w ? !is_readable(base, w) : ar__base_info(base)->quantised != NULL;
        bool inside = w && w->n_in > 0 && at / (unsigned long long)w->n_in < (unsigned long long)w->n_out;
        if (!isnan(noted) && *end == '\0' && !packed) {
            if (!inside)
                match = AR_BASE_OTHER_SHAPES; /* no such weight, or a smaller one */
            else if (read_element(&value, base, w, (size_t)at, &largest))
                match = is_near(noted, type, w, value, largest) ? AR_BASE_SAME : AR_BASE_OTHER_WEIGHTS;
        }
    }
    free(copy);
    return match;
}

ar_base_match ar__base_compare(const ar_adapter *ad, const ar_base *base) {
    const char *weights = ar__adapter_note(ad, "base.weights"), *dtype = ar__adapter_note(ad, "base.dtype");
    ar_dtype type = AR_DTYPE_COUNT;
    ar_base_match match = AR_BASE_UNKNOWN;
    if (dtype) ar__dtype_from_name(&type, dtype);
    for (const char *p = weights; p && *p; p += *p == ',') {
        size_t n = strcspn(p, ",");
        ar_base_match one = check_value(base, type, p, n);
        if (one > match) match = one; /* in the order of what they say */
        p += n;
    }
    return match;
}

void ar__base_match_say(ar_buf *out, ar_base_match match, const char *place, const ar_base *base) {
    const char *path = ar__base_info(base)->path;
    if (match == AR_BASE_OTHER_WEIGHTS)
        ar__buf_printf(out,
                       "%s was trained on another base of the same shapes than %s: the weights have other values (the same model in fewer "
                       "bits, a fine-tuned one, or its base)",
                       place, path);
    if (match == AR_BASE_OTHER_SHAPES)
        ar__buf_printf(out, "%s was trained on another base than %s: names or shapes of the weights differ", place, path);
}

/* An adapter from elsewhere has nothing but the base's name. */
void ar__base_note_name(const ar_adapter *ad, const char *place, const ar_base *base, const ar_log *log) {
    const ar_base_info *info = ar__base_info(base);
    const char *named = ad->settings.base;
    if (ar__base_compare(ad, base) != AR_BASE_UNKNOWN || !named || !*named || ar__base_name_is_like(named, info->path) ||
        (info->own_name && ar__base_name_is_like(named, info->own_name)))
        return;
    ar__log_info(log,
                 "%s names '%s' as its base, the one given is %s: where these are different models, the result is not what was trained",
                 place, named, info->path);
}

enum { COPY_ROWS = 64 }; /* compared of a copy, spread over it */

ar_status ar__base_compare_copy(bool *same, const ar_base *base, const char *site, const ar_tensor *copy, ar_error *err) {
    const ar_base_weight *w = ar__base_find(base, site);
    const ar_dtype_info *type = ar__dtype(copy->dtype);
    *same = true;
    if (!w || w->is_conv1d || w->dims != 2 || copy->dims != 2 || copy->shape[1] != w->n_in || !type->to_f32 || type->block > 1)
        return AR_OK;
    size_t n = (size_t)w->n_in;
    int64_t rows = copy->shape[0] < w->n_out ? copy->shape[0] : w->n_out, step = rows > COPY_ROWS ? rows / COPY_ROWS : 1;
    float *mine = ar__alloc(n, sizeof *mine), *theirs = ar__alloc(n, sizeof *theirs);
    ar_status s = mine && theirs ? AR_OK : ar__fail_memory(err, site);
    for (int64_t i = 0; !s && *same && i < rows; i += step) {
        float largest = 0;
        if (ar__base_read_rows(mine, base, w, i, 1, NULL)) break; /* quantised beyond reading: nothing is known */
        type->to_f32(theirs, (const char *)copy->data + (size_t)i * n * type->bytes, n);
        for (size_t j = 0; j < n; j++) largest = fmaxf(largest, fabsf(mine[j]));
        for (size_t j = 0; j < n; j++) *same &= is_near((double)theirs[j], copy->dtype, w, mine[j], largest);
    }
    free(mine);
    free(theirs);
    return s;
}

void ar__base_warn_copies(const char *place, const ar_base *base, const ar_log *log) {
    ar_buf text = {0};
    ar__base_match_say(&text, AR_BASE_OTHER_WEIGHTS, place, base);
    if (!text.failed) ar__log_warn(log, "%s; the copies of the base's weights in it say so", text.data);
    ar__buf_release(&text);
}

ar_status ar__base_warn(const ar_adapter *ad, const char *place, const ar_base *base, const ar_log *log, ar_error *err) {
    ar_base_match match = ar__base_compare(ad, base);
    ar_buf text = {0};
    if (match == AR_BASE_UNKNOWN || match == AR_BASE_SAME) return AR_OK;
    ar__base_match_say(&text, match, place, base);
    if (!text.failed) ar__log_warn(log, "%s", text.data);
    bool failed = text.failed;
    ar__buf_release(&text);
    return failed ? ar__fail_memory(err, place) : AR_OK;
}
