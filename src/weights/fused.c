/* Weights that a base holds inside another one: q, k and v as one tensor (convert_hf_to_gguf.py --fuse-qkv), gate and up as one. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "weights/base.h"

static const struct {
    const char *part, *whole;
} fused[] = {
    {".attn_q", ".attn_qkv"},        {".attn_k", ".attn_qkv"},      {".attn_v", ".attn_qkv"}, {".ffn_gate", ".ffn_gate_up"},
    {".ffn_up", ".ffn_gate_up"},     {".q_proj", ".qkv_proj"},      {".k_proj", ".qkv_proj"}, {".v_proj", ".qkv_proj"},
    {".gate_proj", ".gate_up_proj"}, {".up_proj", ".gate_up_proj"},
};

/* The tensor whose module's path ends in `whole` where another's would end in `part`; NULL: not there. */
static const char *find_whole(const ar_base *base, const char *path, const char *part, const char *whole) {
    size_t n = strlen(path), k = strlen(part);
    if (n < k || strcmp(path + n - k, part) != 0) return NULL;
    ar_buf name = {0};
    ar__buf_add(&name, path, n - k);
    ar__buf_printf(&name, "%s.weight", whole);
    const char *found = NULL;
    for (int i = 0; !name.failed && !found && i < ar__base_count(base); i++) {
        const char *tensor = ar__base_at(base, i)->tensor;
        if (!strcmp(tensor, name.data)) found = tensor;
    }
    ar__buf_release(&name);
    return found;
}

const char *ar__base_fused(const ar_base *base, const char *site) {
    const ar_base_info *info = ar__base_info(base);
    ar_buf stem = {0};
    const char *found = NULL;
    if (!info->is_gguf)
        ar__buf_puts(&stem, site);
    else if (!info->names || ar__names_to_gguf(&stem, info->names, site, NULL))
        ar__buf_clear(&stem);
    for (size_t i = 0; stem.len && !stem.failed && !found && i < sizeof fused / sizeof *fused; i++)
        found = find_whole(base, stem.data, fused[i].part, fused[i].whole);
    ar__buf_release(&stem);
    return found;
}

ar_status ar__base_fail_fused(const ar_base *base, const char *site, const char *tensor, ar_error *err) {
    /* A GGUF base still tells its heads to a conversion; a folder of fused modules names other sites than the adapter. */
    return ar__fail(err, ar__base_info(base)->is_gguf ? AR_ERR_UNSUPPORTED : AR_ERR_MISMATCH,
                    "site '%s': the base %s has this weight inside '%s', fused with others; wanted one of its own%s", site,
                    ar__base_info(base)->path, tensor,
                    ar__base_info(base)->is_gguf
                        ? ", without which llama.cpp loads no adapter for it either: convert the model again without --fuse-qkv"
                        : ": give the base that the adapter was trained on");
}
