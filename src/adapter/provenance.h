/* Provenance in the metadata of a safetensors file, all values strings: "alphar.version", "alphar.policy", "alphar.scales"
 * (a JSON object, site to s) and the adapter's notes.  Other programs ignore it. */
#ifndef AR_ADAPTER_PROVENANCE_H
#define AR_ADAPTER_PROVENANCE_H

#include "adapter/adapter.h"
#include "format/safetensors.h"

#define AR_NOTE_PREFIX "alphar."
/* Notes that begin so came from a kohya file, whose writer gives them back under the names that they had. */
#define AR_NOTE_FOREIGN "kohya."
/* Notes that begin so are key-values of a GGUF adapter (adapter/gguf.h). */
#define AR_NOTE_GGUF "gguf."

/* How a format's own s meets the one in the metadata. */
typedef struct ar_provenance {
    const char *source; /* what gives the file's s, for the message: "adapter_config.json" */
    double tolerance;   /* relative; 0: the format keeps every double, and the metadata's last bits count.  Past 0 the
                         * file's s stays wherever the two agree. */
    ar_trust trust;     /* which counts where they do not */
} ar_provenance;

ar_status ar__provenance_read(ar_adapter *ad, const ar_st_set *st, const char *place, const ar_provenance *rule, ar_error *err);

/* The s that the file will have by its format's rule; NULL stands for each pair's own. */
typedef double (*ar_scale_fn)(const ar_pair *p, const void *user);
ar_status ar__provenance_write(ar_st_writer *w, const ar_adapter *ad, ar_scale_fn scale_of, const void *user, ar_error *err);
/* The same without the notes that begin with prefix. */
ar_status ar__provenance_write_but(ar_st_writer *w, const ar_adapter *ad, const char *prefix, ar_scale_fn scale_of, const void *user,
                                   ar_error *err);

#endif
