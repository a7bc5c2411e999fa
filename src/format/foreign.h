/* A file that is not of the format asked for: what people have under that name instead, and what helps. */
#ifndef AR_FORMAT_FOREIGN_H
#define AR_FORMAT_FOREIGN_H

#include "alphar/error.h"
#include "base/file.h"

/* Sets the message and returns its status.  wanted: "safetensors", "GGUF", …; found: what the reader of that format
 * stumbled over, said where the file is of no known kind. */
ar_status ar__foreign_file(const ar_filemap *m, const char *path, const char *wanted, const char *found, ar_error *err);

/* Whether the file begins as a zip archive whose first entry is a NumPy array. */
bool ar__foreign_is_npz(const ar_filemap *m);

#endif
