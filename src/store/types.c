#include "store/types.h"

#include "base/fail.h"
#include "base/mem.h"
#include "format/gguf.h"

/* `smaller`: what has blocks of 32 and as many bits or the next more, as llama.cpp chooses. */
static const struct {
    ar_dtype type, smaller;
    uint32_t number;
    bool below_q6; /* fewer bits a weight than q6_k */
} types[] = {
    {AR_F32, AR_F32, 0, false},          {AR_F16, AR_F16, 1, false},         {AR_BF16, AR_BF16, 32, false},
    {AR_Q8_0, AR_DTYPE_COUNT, 7, false}, {AR_Q6_K, AR_Q8_0, 18, false},      {AR_Q5_K, AR_Q5_1, 16, true},
    {AR_Q5_1, AR_DTYPE_COUNT, 9, true},  {AR_Q5_0, AR_DTYPE_COUNT, 8, true}, {AR_Q4_K, AR_Q5_0, 14, true},
    {AR_Q4_1, AR_DTYPE_COUNT, 3, true},  {AR_Q4_0, AR_DTYPE_COUNT, 2, true}, {AR_Q3_K, AR_Q4_0, 11, true},
    {AR_Q2_K, AR_Q4_0, 10, true},
};
enum { TYPES = sizeof types / sizeof *types };

static int find(ar_dtype type) {
    int i = 0;
    while (i < TYPES && types[i].type != type) i++;
    return i;
}

ar_status ar__file_type_read(ar_dtype *out, const char *name, ar_error *err) {
    if (ar__dtype_from_name(out, name) && find(*out) < TYPES) return AR_OK;
    ar_buf list = {0};
    for (int i = 0; i < TYPES; i++) ar__buf_printf(&list, "%s, ", ar__dtype(types[i].type)->name);
    ar_status s = ar__fail(err, AR_ERR_USAGE, "type '%s': wanted one of %snf4 or nf4-dq", name, list.data ? list.data : "");
    ar__buf_release(&list);
    return s;
}

ar_dtype ar__file_type_for(ar_dtype type, ar_dtype from, size_t cols) {
    if (cols % ar__dtype(type)->block == 0) return type;
    ar_dtype smaller = types[find(type)].smaller;
    if (smaller != AR_DTYPE_COUNT && cols % ar__dtype(smaller)->block == 0) return smaller;
    return from == AR_F32 || from == AR_F16 ? AR_F16 : AR_BF16; /* a bf16 may be past f16's range */
}

ar_dtype ar__file_type_of_head(ar_dtype type, ar_dtype from, size_t cols) {
    return ar__file_type_for(types[find(type)].below_q6 ? AR_Q6_K : type, from, cols);
}

uint32_t ar__file_type_number(ar_dtype type) { return types[find(type)].number; }
