/* Two fingerprints of a base, kept as notes in adapters made on it.
 *
 *   base.architecture   FNV-1a over the path and shape of every module with a weight, by path, 16 hex digits.  A tied head
 *                       is none.
 *   base.weights        "path[index]=value" at a fixed position of every matrix (of 512, spread over the list); the index counts
 *                       along the rows of [n_out, n_in] (embedding [vocab, dim]), the value is dequantised.  A copy in
 *                       another dtype or file format is the same base within that type's rounding. */
#ifndef AR_ADAPTER_FINGERPRINT_H
#define AR_ADAPTER_FINGERPRINT_H

#include "adapter/adapter.h"
#include "base/log.h"
#include "base/mem.h"
#include "weights/base.h"

enum { AR_FINGERPRINT_CHARS = 17 };

typedef struct ar_fingerprint_module {
    const char *path;
    int64_t n_out, n_in; /* n_in 1: a norm, which gives no values */
    size_t index;        /* the caller's */
} ar_fingerprint_module;

/* Element `at` of a module's weight; false where it cannot be read. */
typedef bool (*ar_fingerprint_read)(float *value, void *user, const ar_fingerprint_module *module, size_t at);

/* Sorts the list.  out->failed is the caller's. */
void ar__fingerprint_modules(char architecture[AR_FINGERPRINT_CHARS], ar_buf *weights, ar_fingerprint_module *list, size_t count,
                             ar_fingerprint_read read, void *user);

/* The same of a base of any family, in any file format. */
ar_status ar__base_fingerprint(char architecture[AR_FINGERPRINT_CHARS], ar_buf *weights, const ar_base *base, ar_error *err);

typedef enum ar_base_match {
    AR_BASE_UNKNOWN, /* the adapter has no fingerprint that could be compared */
    AR_BASE_SAME,
    AR_BASE_OTHER_WEIGHTS, /* of the same shapes */
    AR_BASE_OTHER_SHAPES
} ar_base_match;
/* Whether the adapter was trained on this base, by its notes. */
ar_base_match ar__base_compare(const ar_adapter *ad, const ar_base *base);

/* A line where nothing but the base's name can tell whether it is this one, and the names differ.  place: of the adapter. */
void ar__base_note_name(const ar_adapter *ad, const char *place, const ar_base *base, const ar_log *log);
/* Says so where it was trained on another. */
ar_status ar__base_warn(const ar_adapter *ad, const char *place, const ar_base *base, const ar_log *log, ar_error *err);

/* A copy of a base's weight that an adapter's file carries along: *same is false where it differs from this base's beyond
 * what storing in another type explains.  Rows past the base's (a vocabulary that was extended) are not compared. */
ar_status ar__base_compare_copy(bool *same, const ar_base *base, const char *site, const ar_tensor *copy, ar_error *err);
void ar__base_warn_copies(const char *place, const ar_base *base, const ar_log *log);

/* Appends the one sentence for it; nothing where the base is the same, or nothing is known. */
void ar__base_match_say(ar_buf *out, ar_base_match match, const char *place, const ar_base *base);

#endif
