/* Whether a base's weights are quantised, and how: packed in another shape, they are no matrices that an adapter could be
 * compared with or merged into, and the adapter was not made for another base.
 *
 *     quantization_config   transformers: quant_method and what belongs to it
 *     quantization          MLX: {"bits", "group_size"}
 *     X.weight.absmax, X.SCB, X.qweight, X.weight_packed, X.weight_scale_inv      tensors, where no configuration says it */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "format/json.h"
#include "weights/impl.h"

static const char *text_of(const json_t *root, const char *key) { return json_string_value(json_object_get(root, key)); }

/* "bits" at the top, or of compressed-tensors' first group; 0: not said. */
static int64_t bits_of(const json_t *q) {
    static const char *const keys[] = {"bits", "w_bit", "num_bits"};
    int64_t bits = 0;
    const char *name;
    json_t *group;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !bits; i++) ar__json_as_int(&bits, json_object_get(q, keys[i]));
    json_object_foreach(json_object_get(q, "config_groups"), name, group) if (!bits)
        ar__json_as_int(&bits, json_object_get(json_object_get(group, "weights"), "num_bits"));
    if (!bits && json_is_true(json_object_get(q, "load_in_4bit"))) bits = 4;
    if (!bits && json_is_true(json_object_get(q, "load_in_8bit"))) bits = 8;
    return bits > 0 && bits <= 64 ? bits : 0;
}

static void describe(ar_buf *out, const json_t *q, bool mlx) {
    static const struct {
        const char *method, *name;
    } known[] = {{"bitsandbytes", "bitsandbytes"},
                 {"gptq", "GPTQ"},
                 {"awq", "AWQ"},
                 {"compressed-tensors", "compressed-tensors"},
                 {"fp8", "FP8"},
                 {"fbgemm_fp8", "FP8"},
                 {"mxfp4", "MXFP4"},
                 {"hqq", "HQQ"}};
    const char *method = text_of(q, "quant_method"), *type = text_of(q, "bnb_4bit_quant_type"), *format = text_of(q, "format");
    const char *name = method ? method : mlx ? "MLX" : "quantization_config";
    int64_t bits = bits_of(q);
    for (size_t i = 0; method && i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].method, method)) name = known[i].name;
    ar__buf_printf(out, "%.60s", name);
    if (bits) ar__buf_printf(out, ", %lld bits", (long long)bits);
    if (bits == 4 && type) ar__buf_printf(out, " (%.20s)", type);
    if (format) ar__buf_printf(out, " (%.40s)", format);
}

static ar_status take(ar_base *base, ar_buf *text, ar_error *err) {
    if (text->failed) {
        ar__buf_release(text);
        return ar__fail_memory(err, base->path);
    }
    base->info.quantised = base->quantised = text->data;
    return AR_OK;
}

ar_status ar__base_quantised_read(ar_base *base, const json_t *root, const json_t *text, ar_error *err) {
    const json_t *const in[] = {root, text};
    ar_buf out = {0};
    for (int i = 0; i < 2; i++) {
        const json_t *hf = json_object_get(in[i], "quantization_config"), *mlx = json_object_get(in[i], "quantization");
        bool named = text_of(hf, "quant_method");
        if (!json_object_size(hf) && !json_object_size(mlx)) continue;
        describe(&out, named || !mlx ? hf : mlx, !named && (mlx || json_object_get(hf, "group_size")));
        base->packing = json_incref((json_t *)(uintptr_t)(named || !mlx ? hf : mlx));
        const char *dtype = text_of(in[i], "torch_dtype") ? text_of(in[i], "torch_dtype") : text_of(in[i], "dtype");
        if (!dtype) dtype = text_of(root, "torch_dtype") ? text_of(root, "torch_dtype") : text_of(root, "dtype");
        if (dtype && !(base->dtype = ar__strdup(dtype))) return ar__fail_memory(err, base->path);
        return take(base, &out, err);
    }
    return AR_OK;
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), k = strlen(end);
    return n > k && !strcmp(name + n - k, end);
}

ar_status ar__base_quantised_guess(ar_base *base, ar_error *err) {
    static const struct {
        const char *end, *name;
    } signs[] = {{".weight.absmax", "bitsandbytes, 4 bits"},
                 {".SCB", "bitsandbytes, 8 bits"},
                 {".qweight", "GPTQ or AWQ"},
                 {".weight_packed", "compressed-tensors"},
                 {".weight_scale_inv", "FP8"}};
    ar_buf out = {0};
    for (size_t i = 0; !base->gguf && !base->quantised && i < base->count; i++)
        for (size_t k = 0; !out.len && k < sizeof signs / sizeof *signs; k++)
            if (ends_with(base->weight[i].tensor, signs[k].end)) ar__buf_puts(&out, signs[k].name);
    return out.len || out.failed ? take(base, &out, err) : AR_OK;
}
