/* Where a command writes a model: whether it may, and a folder that appears whole or not at all.
 *
 * What wrote an output stands in it, so that a later run may replace it: of a folder COMMAND.json, which lists its files, of a GGUF
 * file the key alphar.COMMAND. */
#ifndef AR_STORE_OUTPUT_H
#define AR_STORE_OUTPUT_H

#include <jansson.h>

#include "alphar/error.h"
#include "base/log.h"
#include "base/strings.h"
#include "format/gguf.h"

typedef struct ar_output {
    const char *path;
    const char *command; /* "merge" */
    bool overwrite;
    ar_strings inputs; /* what path may neither be nor hold; owned */
} ar_output;

/* Whether path may be taken; nothing is written.  AR_ERR_EXISTS. */
ar_status ar__output_check_folder(const ar_output *o, ar_error *err);
ar_status ar__output_check_file(const ar_output *o, ar_error *err);
/* Notes the command and what it read in a GGUF file. */
ar_status ar__output_mark(ar_gguf_writer *w, const char *command, const char *what, ar_error *err);

/* ---- a folder -------------------------------------------------------------------------------------------------------- */
typedef struct ar_outdir {
    char *out, *temporary, *old; /* without slashes at the end */
    ar_strings files;            /* that are in it */
    const ar_log *log;
} ar_outdir;

/* The folder under a temporary name beside `out`, empty.  ar__outdir_end in any case. */
ar_status ar__outdir_begin(ar_outdir *d, const char *out, const ar_log *log, ar_error *err);
ar_status ar__outdir_put(ar_outdir *d, const char *name, const void *bytes, size_t n, ar_error *err);
/* Where a writer of its own puts a file, malloc'ed; and that it has. */
char *ar__outdir_path(const ar_outdir *d, const char *name);
ar_status ar__outdir_note(ar_outdir *d, const char *name, ar_error *err);
/* The small files of `dir` that `wants` says; larger ones are told. */
ar_status ar__outdir_carry(ar_outdir *d, const char *dir, bool (*wants)(const void *user, const char *name), const void *user,
                           ar_error *err);
/* Whether a file goes along with a model: neither weights nor its configuration, the state of a training, or a mark. */
bool ar__outdir_is_carried(const char *name);
/* COMMAND.json: {"alphar", "command", members of `more`, "files"}; takes `more`. */
ar_status ar__outdir_mark(ar_outdir *d, const char *command, json_t *more, ar_error *err);
/* All is there: it takes its name. */
ar_status ar__outdir_install(ar_outdir *d, ar_error *err);
/* What was not installed goes. */
void ar__outdir_end(ar_outdir *d);

#endif
