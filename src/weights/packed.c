#include "weights/packed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "format/json.h"
#include "kern/half.h"

/* ---- reading elements --------------------------------------------------------------------------------------------------*/

static uint32_t word(const ar_tensor *t, int64_t i) {
    uint32_t u;
    memcpy(&u, (const char *)t->data + 4 * i, sizeof u);
    return u;
}

static float real(const ar_tensor *t, int64_t i) {
    const ar_dtype_info *d = ar__dtype(t->dtype);
    float x;
    d->to_f32(&x, (const char *)t->data + (size_t)i * d->bytes, 1);
    return x;
}

static float rounded(ar_dtype type, float x) {
    if (type == AR_BF16) return ar__float_of(ar__bf16_bits(ar__bits_of(x)) << 16);
    return type == AR_F16 ? ar__f16_value(ar__f16_bits(ar__bits_of(x))) : x;
}

/* Value k of a row of words that hold `bits` each, lowest first; a value may cross a word's end. */
static uint32_t field(const ar_tensor *t, int64_t base, int64_t step, int64_t k, int bits) {
    int64_t bit = k * bits, at = bit / 32, shift = bit % 32;
    uint64_t two = word(t, base + at * step);
    if (shift + bits > 32) two |= (uint64_t)word(t, base + (at + 1) * step) << 32;
    return (uint32_t)(two >> shift) & ((1u << bits) - 1);
}

/* 4 bits of exponent (bias 7), 3 of mantissa; 0x7f and 0xff are NaN. */
static float e4m3(unsigned char u) {
    int exponent = u >> 3 & 15, mantissa = u & 7;
    float x = exponent ? ldexpf(1.0f + (float)mantissa / 8.0f, exponent - 7) : ldexpf((float)mantissa / 8.0f, -6);
    if ((u & 0x7f) == 0x7f) x = NAN;
    return u & 0x80 ? -x : x;
}

/* Groups of a row; sizes come from files, and n + group may be past any number. */
static int64_t groups_of(int64_t n, int64_t group) { return n / group + (n % group != 0); }

/* ---- rows ----------------------------------------------------------------------------------------------------------------*/

static float bnb_scale(const ar_packed *p, int64_t block) {
    if (!p->nested) return real(p->scales, block);
    float step = real(p->nested_map, ((const unsigned char *)p->scales->data)[block]);
    return step * real(p->nested, block / p->nested_group) + (float)p->offset;
}

static void row_bnb4(float *dst, const ar_packed *p, int64_t row) {
    const unsigned char *codes = p->codes->data;
    for (int64_t k = 0, i = row * p->n_in; k < p->n_in; k++, i++) {
        unsigned char byte = codes[i / 2];
        dst[k] = rounded(p->type, p->table[i % 2 ? byte & 15 : byte >> 4] * bnb_scale(p, i / p->group));
    }
}

static void row_bnb8(float *dst, const ar_packed *p, int64_t row) {
    const signed char *codes = p->codes->data;
    float scale = real(p->scales, row);
    for (int64_t k = 0; k < p->n_in; k++) dst[k] = rounded(p->type, (float)codes[row * p->n_in + k] * scale * 0.007874015718698502f);
}

/* In the scales' own type, each operation rounded. */
static void row_mlx(float *dst, const ar_packed *p, int64_t row) {
    int64_t words = p->codes->shape[1], groups = p->scales->shape[1];
    for (int64_t k = 0; k < p->n_in; k++) {
        int64_t g = row * groups + k / p->group;
        float q = (float)field(p->codes, row * words, 1, k, p->bits);
        dst[k] = rounded(p->type, rounded(p->type, real(p->scales, g) * q) + real(p->zeros, g));
    }
}

static void row_gptq(float *dst, const ar_packed *p, int64_t row) {
    int64_t outs = p->codes->shape[1], zero_words = p->zeros->shape[1];
    for (int64_t k = 0; k < p->n_in; k++) {
        int64_t g = p->order ? (int64_t)word(p->order, k) : k / p->group;
        int q = (int)field(p->codes, row, outs, k, p->bits), z = (int)field(p->zeros, g * zero_words, 1, row, p->bits) + p->zero;
        dst[k] = rounded(p->type, real(p->scales, g * outs + row) * (float)(q - z));
    }
}

/* Eight columns to a word, the even ones first. */
static void row_awq(float *dst, const ar_packed *p, int64_t row) {
    static const int place[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    int64_t words = p->codes->shape[1], outs = p->scales->shape[1], at = row / 8;
    int shift = 4 * place[row % 8];
    for (int64_t k = 0; k < p->n_in; k++) {
        int64_t g = k / p->group;
        int q = (int)(word(p->codes, k * words + at) >> shift & 15), z = (int)(word(p->zeros, g * words + at) >> shift & 15);
        dst[k] = rounded(p->type, (float)(q - z) * real(p->scales, g * outs + row));
    }
}

static void row_fp8(float *dst, const ar_packed *p, int64_t row) {
    const unsigned char *codes = p->codes->data;
    int64_t tiles = groups_of(p->n_in, p->group);
    for (int64_t k = 0; k < p->n_in; k++)
        dst[k] = rounded(p->type, e4m3(codes[row * p->n_in + k]) * real(p->scales, row / p->group_rows * tiles + k / p->group));
}

static void row_ct(float *dst, const ar_packed *p, int64_t row) {
    int64_t words = p->codes->shape[1], groups = p->scales->dims > 1 ? p->scales->shape[1] : 1;
    int middle = 1 << (p->bits - 1);
    for (int64_t k = 0; k < p->n_in; k++) {
        int64_t g = p->order ? (int64_t)word(p->order, k) : k / p->group;
        float q = (float)((int)field(p->codes, row * words, 1, k, p->bits) - middle);
        if (p->zeros) q -= (float)((int)field(p->zeros, g, groups, row, p->bits) - middle);
        dst[k] = rounded(p->type, q * real(p->scales, row * groups + g));
    }
}

void ar__packed_rows(float *dst, const ar_packed *p, int64_t first, int64_t count) {
    static void (*const rows[])(float *, const ar_packed *, int64_t) = {
        [AR_PACKED_BNB4] = row_bnb4, [AR_PACKED_BNB8] = row_bnb8, [AR_PACKED_MLX] = row_mlx, [AR_PACKED_GPTQ] = row_gptq,
        [AR_PACKED_AWQ] = row_awq,   [AR_PACKED_FP8] = row_fp8,   [AR_PACKED_CT] = row_ct};
    for (int64_t i = 0; i < count; i++) rows[p->kind](dst + i * p->n_in, p, first + i);
}

bool ar__packed_is_nf4(ar_dtype *type, const ar_packed *p) {
    float one[64];
    unsigned char block[36] = {0, 0, 0x80, 0x3f}; /* a scale of 1, and the 16 codes */
    if (p->kind != AR_PACKED_BNB4 || p->group != 64 || p->n_in % 64) return false;
    for (int i = 0; i < 8; i++) block[4 + i] = (unsigned char)((2 * i) << 4 | (2 * i + 1));
    ar__dtype(AR_NF4)->to_f32(one, block, 64);
    for (int i = 0; i < 16; i++)
        if (one[i] != p->table[i]) return false; /* FP4, or a table of somebody's own */
    *type = p->type == AR_BF16 ? AR_NF4_BF16 : p->type == AR_F16 ? AR_NF4_F16 : AR_NF4;
    return true;
}

void ar__packed_nf4(void *dst, const ar_packed *p) {
    char *to = dst;
    for (int64_t b = 0; b < p->n_out * p->n_in / 64; b++, to += 36) {
        float scale = bnb_scale(p, b);
        memcpy(to, &scale, sizeof scale);
        memcpy(to + 4, (const char *)p->codes->data + b * 32, 32);
    }
}

/* ---- finding -------------------------------------------------------------------------------------------------------------*/

typedef struct finder {
    ar_packed *p;
    const ar_tensors *files;
    const ar_tensor *t;
    const json_t *config;
    const char *dtype, *place;
    size_t stem;
    ar_error *err;
} finder;

static size_t stem_of(const char *name, const char *end) {
    size_t n = strlen(name), k = strlen(end);
    return n > k && !strcmp(name + n - k, end) ? n - k : 0;
}

/* STEM + end; NULL: not there. */
static const ar_tensor *beside(const ar_tensors *files, const char *name, size_t stem, const char *end) {
    ar_buf b = {0};
    ar__buf_printf(&b, "%.*s%s", (int)stem, name, end);
    const ar_tensor *t = b.failed ? NULL : ar__tensors_find(files, b.data);
    ar__buf_release(&b);
    return t;
}

static ar_status misfit(const finder *f, const char *what) {
    return ar__fail(f->err, AR_ERR_FORMAT, "%s: tensor '%s' and its parts do not make a quantised matrix: %s", f->place, f->t->name, what);
}

static ar_status need(const ar_tensor **out, const finder *f, const char *end) {
    *out = beside(f->files, f->t->name, f->stem, end);
    if (*out) return AR_OK;
    return ar__fail(f->err, AR_ERR_FORMAT, "%s: tensor '%s' is quantised, and '%.*s%s' is not there", f->place, f->t->name, (int)f->stem,
                    f->t->name, end);
}

static bool is_table(const ar_tensor *t, int64_t rows, int64_t cols) {
    return t->dims == 2 && t->shape[0] == rows && t->shape[1] == cols && ar__dtype_is_float(t->dtype);
}

static bool is_words(const ar_tensor *t, int64_t rows, int64_t cols) {
    return t->dims == 2 && t->shape[0] == rows && t->shape[1] == cols && t->bytes == t->count * 4;
}

static int64_t whole(const json_t *o, const char *key, int64_t otherwise) {
    int64_t n;
    return ar__json_as_int(&n, json_object_get(o, key)) ? n : otherwise;
}

static ar_dtype result_type(const char *name, ar_dtype otherwise) {
    ar_dtype t;
    return name && ar__dtype_from_name(&t, name) && ar__dtype_is_float(t) ? t : otherwise;
}

/* Every index of a group must be one. */
static bool groups_fit(const ar_tensor *order, int64_t n_in, int64_t groups) {
    if (!order) return true;
    if (order->dims != 1 || order->shape[0] != n_in || order->bytes != (size_t)n_in * 4) return false;
    for (int64_t k = 0; k < n_in; k++)
        if (word(order, k) >= groups) return false;
    return true;
}

static ar_status find_bnb4(finder *f, const ar_tensor *state) {
    ar_packed *p = f->p;
    json_t *o = NULL;
    int64_t nested;
    ar_status s = ar__json_read(&o, state->data, state->bytes, 0, state->name, f->err);
    if (s) return s;
    const json_t *shape = json_object_get(o, "shape");
    p->kind = AR_PACKED_BNB4;
    p->bits = 4;
    p->group = whole(o, "blocksize", 0);
    p->nested_group = whole(o, "nested_blocksize", 256);
    p->type = result_type(json_string_value(json_object_get(o, "dtype")), AR_F32);
    p->offset = json_number_value(json_object_get(o, "nested_offset"));
    bool fits = json_array_size(shape) == 2 && ar__json_as_int(&p->n_out, json_array_get(shape, 0)) && p->n_out > 0 &&
                ar__json_as_int(&p->n_in, json_array_get(shape, 1)) && p->n_in > 0 && p->group > 0 && p->nested_group > 0;
    json_decref(o);
    f->stem += strlen(".weight");
    const ar_tensor *map;
    if ((s = need(&p->scales, f, ".absmax")) || (s = need(&map, f, ".quant_map"))) return s;
    p->nested = beside(f->files, f->t->name, f->stem, ".nested_absmax");
    p->nested_map = beside(f->files, f->t->name, f->stem, ".nested_quant_map");
    int64_t count, blocks;
    if (!fits || __builtin_mul_overflow(p->n_out, p->n_in, &count) || f->t->bytes != (size_t)(count / 2 + count % 2))
        return misfit(f, "its shape");
    blocks = groups_of(count, p->group);
    nested = groups_of(blocks, p->nested_group);
    if (map->count != 16 || !ar__dtype_is_float(map->dtype)) return misfit(f, "quant_map is no list of 16 numbers");
    if ((int64_t)p->scales->count != blocks) return misfit(f, "absmax has another number of blocks");
    if (p->nested ? p->scales->dtype != AR_U8 || (int64_t)p->nested->count != nested || !ar__dtype_is_float(p->nested->dtype) ||
                        !p->nested_map || p->nested_map->count != 256 || !ar__dtype_is_float(p->nested_map->dtype)
                  : !ar__dtype_is_float(p->scales->dtype))
        return misfit(f, "the types or sizes of its scales");
    for (int64_t i = 0; i < 16; i++) p->table[i] = real(map, i);
    return AR_OK;
}

static ar_status find_bnb8(finder *f, const ar_tensor *scales) {
    ar_packed *p = f->p;
    p->kind = AR_PACKED_BNB8;
    p->bits = 8;
    p->scales = scales;
    p->type = result_type(f->dtype, AR_F16);
    if (f->t->dims != 2 || scales->dtype != AR_F32 || (int64_t)scales->count != f->t->shape[0])
        return misfit(f, "SCB is no f32 number for each row");
    p->n_out = f->t->shape[0];
    p->n_in = f->t->shape[1];
    return AR_OK;
}

static ar_status find_mlx(finder *f, const ar_tensor *scales) {
    ar_packed *p = f->p;
    p->kind = AR_PACKED_MLX;
    p->scales = scales;
    ar_status s = need(&p->zeros, f, ".biases");
    if (s) return s;
    char *path = ar__strndup(f->t->name, f->stem);
    const json_t *own = path ? json_object_get(f->config, path) : NULL; /* a layer may differ */
    free(path);
    p->bits = (int)whole(json_is_object(own) ? own : f->config, "bits", 4);
    p->group = whole(json_is_object(own) ? own : f->config, "group_size", 64);
    p->type = scales->dtype;
    if (p->bits < 1 || p->bits > 8 || p->group < 1 || f->t->dims != 2 || scales->dims != 2 || !ar__dtype_is_float(scales->dtype))
        return misfit(f, "bits, group_size or scales");
    p->n_out = f->t->shape[0];
    if (__builtin_mul_overflow(scales->shape[1], p->group, &p->n_in) || p->n_in > INT32_MAX ||
        !is_words(f->t, p->n_out, p->n_in * p->bits / 32) || p->n_in * p->bits % 32 || !is_table(scales, p->n_out, p->n_in / p->group) ||
        !is_table(p->zeros, p->n_out, p->n_in / p->group))
        return misfit(f, "its shape");
    return AR_OK;
}

static ar_status find_gptq(finder *f) {
    ar_packed *p = f->p;
    const char *format = json_string_value(json_object_get(f->config, "checkpoint_format"));
    p->kind = AR_PACKED_GPTQ;
    p->bits = (int)whole(f->config, "bits", 4);
    p->zero = format && !strcmp(format, "gptq_v2") ? 0 : 1;
    ar_status s = need(&p->scales, f, ".scales");
    if (!s) s = need(&p->zeros, f, ".qzeros");
    if (s) return s;
    p->order = beside(f->files, f->t->name, f->stem, ".g_idx");
    p->type = p->scales->dtype;
    if (p->bits < 2 || p->bits > 8 || f->t->dims != 2 || p->scales->dims != 2 || f->t->shape[0] < 1 || f->t->shape[0] > INT32_MAX)
        return misfit(f, "bits or dimensions");
    p->n_out = f->t->shape[1];
    p->n_in = f->t->shape[0] * 32 / p->bits;
    int64_t groups = p->scales->shape[0], group = whole(f->config, "group_size", -1);
    p->group = group > 0 ? group : p->n_in;
    bool fits = is_words(f->t, p->n_in * p->bits / 32, p->n_out) && is_table(p->scales, groups, p->n_out) &&
                is_words(p->zeros, groups, (p->n_out * p->bits + 31) / 32) && groups_fit(p->order, p->n_in, groups);
    if (!fits || (!p->order && groups != groups_of(p->n_in, p->group))) return misfit(f, "its shape");
    return AR_OK;
}

static ar_status find_awq(finder *f) {
    ar_packed *p = f->p;
    const char *version = json_string_value(json_object_get(f->config, "version"));
    p->kind = AR_PACKED_AWQ;
    p->bits = 4;
    ar_status s = need(&p->scales, f, ".scales");
    if (!s) s = need(&p->zeros, f, ".qzeros");
    if (s) return s;
    if (version && strcmp(version, "gemm") != 0 && strcmp(version, "GEMM") != 0)
        return ar__fail(f->err, AR_ERR_UNSUPPORTED, "%s: AWQ of version '%.20s', wanted gemm: name the model that it was made from",
                        f->place, version);
    if (whole(f->config, "bits", 4) != 4 || f->t->dims != 2 || p->scales->dims != 2) return misfit(f, "bits or dimensions");
    p->type = p->scales->dtype;
    p->n_in = f->t->shape[0];
    p->n_out = p->scales->shape[1];
    int64_t groups = p->scales->shape[0];
    p->group = groups > 0 ? p->n_in / groups : 0;
    if (p->group < 1 || p->n_in % groups || p->n_out % 8 || !is_words(f->t, p->n_in, p->n_out / 8) ||
        !is_table(p->scales, groups, p->n_out) || !is_words(p->zeros, groups, p->n_out / 8))
        return misfit(f, "its shape");
    return AR_OK;
}

static ar_status find_fp8(finder *f, const ar_tensor *scales, bool tiles) {
    ar_packed *p = f->p;
    const json_t *size = json_object_get(f->config, "weight_block_size");
    p->kind = AR_PACKED_FP8;
    p->bits = 5; /* as far as what is lost of a value goes */
    p->scales = scales;
    p->type = result_type(f->dtype, AR_BF16);
    if (f->t->dims != 2 || !ar__dtype_is_float(scales->dtype)) return misfit(f, "its scales or dimensions");
    p->n_out = f->t->shape[0];
    p->n_in = f->t->shape[1];
    if (p->n_out < 1 || p->n_in < 1) return misfit(f, "its shape");
    p->group_rows = p->group = 128;
    if (json_array_size(size) == 2 &&
        (!ar__json_as_int(&p->group_rows, json_array_get(size, 0)) || !ar__json_as_int(&p->group, json_array_get(size, 1))))
        return misfit(f, "weight_block_size");
    if (!tiles) {
        p->group = p->n_in;
        p->group_rows = scales->count == 1 ? p->n_out : 1;
    }
    if (p->group < 1 || p->group_rows < 1 || (int64_t)scales->count != groups_of(p->n_out, p->group_rows) * groups_of(p->n_in, p->group))
        return misfit(f, "the number of its scales");
    return AR_OK;
}

static ar_status find_ct(finder *f) {
    ar_packed *p = f->p;
    const ar_tensor *shape;
    int64_t size[2];
    p->kind = AR_PACKED_CT;
    ar_status s = need(&p->scales, f, ".weight_scale");
    if (!s) s = need(&shape, f, ".weight_shape");
    if (s) return s;
    if (shape->count != 2 || (shape->dtype != AR_I64 && shape->dtype != AR_I32))
        return misfit(f, "weight_shape is no pair of whole numbers");
    for (int i = 0; i < 2; i++) {
        if (shape->dtype == AR_I64)
            memcpy(&size[i], (const char *)shape->data + 8 * i, 8);
        else
            size[i] = (int32_t)word(shape, i);
    }
    p->zeros = beside(f->files, f->t->name, f->stem, ".weight_zero_point");
    p->order = beside(f->files, f->t->name, f->stem, ".weight_g_idx");
    if (p->order && p->order->bytes >= 4 && word(p->order, 0) == UINT32_MAX) p->order = NULL; /* -1: in their own order */
    p->type = p->scales->dtype;
    p->n_out = size[0];
    p->n_in = size[1];
    if (p->n_out < 1 || p->n_in < 1 || p->n_in > INT32_MAX || f->t->dims != 2 || !ar__dtype_is_float(p->scales->dtype) ||
        p->scales->dims != 2)
        return misfit(f, "its shape or scales");
    p->bits = is_words(f->t, p->n_out, (p->n_in + 7) / 8) ? 4 : 8;
    int64_t groups = p->scales->shape[1];
    p->group = groups > 0 ? groups_of(p->n_in, groups) : 0;
    bool fits = p->group > 0 && is_words(f->t, p->n_out, (p->n_in * p->bits + 31) / 32) && is_table(p->scales, p->n_out, groups) &&
                (!p->zeros || is_words(p->zeros, (p->n_out * p->bits + 31) / 32, groups)) && groups_fit(p->order, p->n_in, groups);
    return fits ? AR_OK : misfit(f, "its shape");
}

static bool is_part(const char *name) {
    static const char *const ends[] = {".absmax",       ".quant_map",     ".nested_absmax", ".nested_quant_map",
                                       ".SCB",          ".weight_format", ".scales",        ".biases",
                                       ".qzeros",       ".g_idx",         ".weight_scale",  ".weight_scale_inv",
                                       ".weight_shape", ".weight_g_idx",  ".input_scale",   ".weight_zero_point"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (stem_of(name, ends[i])) return true;
    return strstr(name, ".quant_state.") != NULL;
}

ar_status ar__packed_find(ar_packed_role *role, ar_packed *out, size_t *stem, const ar_tensors *files, const ar_tensor *t,
                          const json_t *config, const char *dtype, const char *place, ar_error *err) {
    *out = (ar_packed){.codes = t};
    finder f = {out, files, t, config, dtype, place, stem_of(t->name, ".weight"), err};
    const char *method = json_string_value(json_object_get(config, "quant_method"));
    const ar_tensor *found;
    ar_status s = AR_OK;
    size_t own = f.stem;
    *role = is_part(t->name) ? AR_PACKED_PART : AR_PACKED_NOT;
    if (f.stem && t->dtype == AR_U8 &&
        ((found = beside(files, t->name, f.stem, ".weight.quant_state.bitsandbytes__nf4")) ||
         (found = beside(files, t->name, f.stem, ".weight.quant_state.bitsandbytes__fp4"))))
        s = find_bnb4(&f, found);
    else if (f.stem && t->dtype == AR_I8 && (found = beside(files, t->name, f.stem, ".SCB")))
        s = find_bnb8(&f, found);
    else if (f.stem && !strcmp(t->dtype_name, "U32") && (found = beside(files, t->name, f.stem, ".scales")))
        s = find_mlx(&f, found);
    else if (f.stem && !strcmp(t->dtype_name, "F8_E4M3") && (found = beside(files, t->name, f.stem, ".weight_scale_inv")))
        s = find_fp8(&f, found, true);
    else if (f.stem && !strcmp(t->dtype_name, "F8_E4M3") && (found = beside(files, t->name, f.stem, ".weight_scale")))
        s = find_fp8(&f, found, false);
    else if ((f.stem = own = stem_of(t->name, ".qweight")) > 0)
        s = method && !strcmp(method, "awq") ? find_awq(&f) : find_gptq(&f);
    else if ((f.stem = own = stem_of(t->name, ".weight_packed")) > 0)
        s = find_ct(&f);
    else
        return AR_OK;
    *role = AR_PACKED_MAIN;
    *stem = own;
    return s;
}
