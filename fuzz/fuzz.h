/* What the fuzz targets share.  A target is one file, fuzz_NAME.c, with LLVMFuzzerTestOneInput and seeds in
 * corpus/NAME: it opens the input as a reader of the product would and looks at everything that came of it.
 *
 * Here a mapped file is a block of memory of exactly its size (see fuzz.c), so that the sanitizer sees a read one byte
 * past it.  Two programs come of each target: libFuzzer's (make fuzz), and one that runs the seeds (make test). */
#ifndef ALPHAR_FUZZ_H
#define ALPHAR_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Path of a file that holds these bytes until the next call.  Its name has no suffix: where that matters, a folder of
 * one file is the way. */
const char *fuzz_file(const uint8_t *data, size_t size);
/* Path of a folder with `count` files.  The input is their contents, in the order of the names, divided by NUL bytes;
 * the last one has the rest, whatever it holds.  A part that is missing makes no file.  Valid until the next call. */
const char *fuzz_folder(const uint8_t *data, size_t size, const char *const *names, int count);
/* Opens it as an adapter of any format, loads every pair, and checks what must hold. */
void fuzz_open_adapter(const char *path);
/* A path in the folder of this process, for a target that writes. */
const char *fuzz_path(const char *name);
/* Reads all of it. */
void fuzz_touch(const void *bytes, size_t n);
/* Ends the process with the message unless it holds: a finding. */
void fuzz_check(int holds, const char *message);

#endif
