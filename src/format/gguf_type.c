/* ggml's tensor types: number → name, block, bytes, and the row of the dtype table where there is one.
 *
 * The numbers are for ever: those of removed types are never given again. */
#include "base/mem.h"
#include "format/gguf.h"

static const ar_ggml_type table[] = {
    [0] = {"F32", 1, 4, AR_F32},
    [1] = {"F16", 1, 2, AR_F16},
    [2] = {"Q4_0", 32, 18, AR_Q4_0},
    [3] = {"Q4_1", 32, 20, AR_Q4_1},
    [4] = {"Q4_2", 0, 0, AR_DTYPE_COUNT},
    [5] = {"Q4_3", 0, 0, AR_DTYPE_COUNT},
    [6] = {"Q5_0", 32, 22, AR_Q5_0},
    [7] = {"Q5_1", 32, 24, AR_Q5_1},
    [8] = {"Q8_0", 32, 34, AR_Q8_0},
    [9] = {"Q8_1", 32, 36, AR_DTYPE_COUNT}, /* as ggml has it; the Python package still says 40, from before its sums were halves */
    [10] = {"Q2_K", 256, 84, AR_Q2_K},
    [11] = {"Q3_K", 256, 110, AR_Q3_K},
    [12] = {"Q4_K", 256, 144, AR_Q4_K},
    [13] = {"Q5_K", 256, 176, AR_Q5_K},
    [14] = {"Q6_K", 256, 210, AR_Q6_K},
    [15] = {"Q8_K", 256, 292, AR_DTYPE_COUNT},
    [16] = {"IQ2_XXS", 256, 66, AR_IQ2_XXS},
    [17] = {"IQ2_XS", 256, 74, AR_IQ2_XS},
    [18] = {"IQ3_XXS", 256, 98, AR_IQ3_XXS},
    [19] = {"IQ1_S", 256, 50, AR_IQ1_S},
    [20] = {"IQ4_NL", 32, 18, AR_IQ4_NL},
    [21] = {"IQ3_S", 256, 110, AR_IQ3_S},
    [22] = {"IQ2_S", 256, 82, AR_IQ2_S},
    [23] = {"IQ4_XS", 256, 136, AR_IQ4_XS},
    [24] = {"I8", 1, 1, AR_I8},
    [25] = {"I16", 1, 2, AR_I16},
    [26] = {"I32", 1, 4, AR_I32},
    [27] = {"I64", 1, 8, AR_I64},
    [28] = {"F64", 1, 8, AR_F64},
    [29] = {"IQ1_M", 256, 56, AR_IQ1_M},
    [30] = {"BF16", 1, 2, AR_BF16},
    [31] = {"Q4_0_4_4", 0, 0, AR_DTYPE_COUNT},
    [32] = {"Q4_0_4_8", 0, 0, AR_DTYPE_COUNT},
    [33] = {"Q4_0_8_8", 0, 0, AR_DTYPE_COUNT},
    [34] = {"TQ1_0", 256, 54, AR_TQ1_0},
    [35] = {"TQ2_0", 256, 66, AR_TQ2_0},
    [36] = {"IQ4_NL_4_4", 0, 0, AR_DTYPE_COUNT},
    [37] = {"IQ4_NL_4_8", 0, 0, AR_DTYPE_COUNT},
    [38] = {"IQ4_NL_8_8", 0, 0, AR_DTYPE_COUNT},
    [39] = {"MXFP4", 32, 17, AR_MXFP4},
    [40] = {"NVFP4", 64, 36, AR_NVFP4},
    [41] = {"Q1_0", 128, 18, AR_Q1_0},
    [42] = {"Q2_0", 64, 18, AR_Q2_0},
};

enum { TYPE_COUNT = sizeof table / sizeof *table };

ar_ggml_type ar__ggml_type(uint32_t type) { return type < TYPE_COUNT ? table[type] : (ar_ggml_type){.dtype = AR_DTYPE_COUNT}; }

bool ar__ggml_type_of(uint32_t *out, ar_dtype t) {
    for (uint32_t i = 0; i < TYPE_COUNT; i++) {
        if (t == AR_DTYPE_COUNT || table[i].dtype != t) continue;
        *out = i;
        return true;
    }
    return false;
}

bool ar__ggml_size(size_t *count, size_t *bytes, const ar_ggml_type *type, int dims, const int64_t *ne) {
    size_t n = 1;
    for (int i = 0; i < dims; i++)
        if (ne[i] < 0 || !ar__mul(&n, n, (size_t)ne[i])) return false;
    *count = n;
    return n <= INT64_MAX && (dims ? (size_t)ne[0] : 1) % type->block == 0 && ar__mul(bytes, n / type->block, type->bytes);
}
