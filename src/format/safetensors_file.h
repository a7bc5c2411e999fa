/* One safetensors file: the header checked and turned into tensors.  Internal to the format's own files. */
#ifndef AR_FORMAT_SAFETENSORS_FILE_H
#define AR_FORMAT_SAFETENSORS_FILE_H

#include "format/safetensors.h"

typedef struct ar_st_file {
    char *path;
    ar_filemap map;
    json_t *header; /* names and metadata of the tensors live here */
    ar_tensor *tensor;
    size_t count;
} ar_st_file;

ar_status ar__st_file_open(ar_st_file *out, const char *path, ar_error *err);
void ar__st_file_release(ar_st_file *f); /* safe on a zeroed or half-built one */

#endif
