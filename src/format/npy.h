/* One .npy array: the header checked.  Internal to npz. */
#ifndef AR_FORMAT_NPY_H
#define AR_FORMAT_NPY_H

#include "format/npz.h"

/* Fills all but the name from the file's bytes.  place: what messages begin with. */
ar_status ar__npy_read(ar_npz_array *out, const unsigned char *bytes, size_t n, const char *place, ar_error *err);

#endif
