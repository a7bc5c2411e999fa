/* NumPy archives (.npz): a zip archive of .npy arrays, read only.
 *
 *     NAME.npy    "\x93NUMPY" | u8 major | u8 minor | header length: u16 (version 1), u32 (2, 3) | header | data
 *     header      {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } and spaces, a Python literal
 *
 * Entries must be stored, not deflated: an array is a view of the mapped file, at any alignment.  bfloat16, which NumPy
 * has no name for, is two void bytes ('<V2'), as MLX and ml_dtypes write it. */
#ifndef AR_FORMAT_NPZ_H
#define AR_FORMAT_NPZ_H

#include "alphar/error.h"
#include "base/file.h"
#include "kern/dtype.h"

enum { AR_NPZ_MAX_DIMS = 8 };

typedef struct ar_npz_array {
    const char *name;   /* without .npy; UTF-8 */
    ar_dtype dtype;     /* AR_DTYPE_COUNT where Alphar has no such type (<u4, <c8, …) */
    char dtype_name[8]; /* as the header writes it */
    int dims;
    int64_t shape[AR_NPZ_MAX_DIMS]; /* C order: the last dimension lies together */
    size_t count, bytes;
    const void *data;
} ar_npz_array;

typedef struct ar_npz ar_npz;

ar_status ar__npz_open(ar_npz **out, const char *path, ar_error *err); /* reads headers only */
void ar__npz_close(ar_npz *z);                                         /* NULL is fine */
const char *ar__npz_path(const ar_npz *z);
int ar__npz_count(const ar_npz *z);
const ar_npz_array *ar__npz_at(const ar_npz *z, int i);              /* in the order of the archive */
const ar_npz_array *ar__npz_find(const ar_npz *z, const char *name); /* NULL if absent */
/* The array, which must be there and of a weight dtype (f32, f16, bf16). */
ar_status ar__npz_need(const ar_npz_array **out, const ar_npz *z, const char *name, ar_error *err);

#endif
