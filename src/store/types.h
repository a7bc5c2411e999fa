/* Which type a matrix of a GGUF file gets, where all of a model are asked for in one. */
#ifndef AR_STORE_TYPES_H
#define AR_STORE_TYPES_H

#include "alphar/error.h"
#include "kern/dtype.h"

/* A type that can be asked for: written by Alphar, and known to GGUF.  AR_ERR_USAGE, listing them. */
ar_status ar__file_type_read(ar_dtype *out, const char *name, ar_error *err);
/* The type itself where rows of `cols` values are whole blocks; else the nearest with smaller blocks, at last a float. */
ar_dtype ar__file_type_for(ar_dtype type, ar_dtype from, size_t cols);
/* For the head, which every token's choice hangs on, as llama.cpp does it: at least q6_k. */
ar_dtype ar__file_type_of_head(ar_dtype type, ar_dtype from, size_t cols);
/* general.file_type: what llama.cpp calls a file whose matrices are mostly of it. */
uint32_t ar__file_type_number(ar_dtype type);

#endif
