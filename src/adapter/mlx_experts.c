/* Experts: one module each in Hugging Face, one SwitchLinear for all of a layer in mlx-lm.
 *
 *     model.layers.0.mlp.experts.3.up_proj           →  model.layers.0.mlp.switch_mlp.up_proj, expert 3
 *     model.layers.0.block_sparse_moe.experts.3.w1   →  model.layers.0.block_sparse_moe.switch_mlp.gate_proj
 *
 * gpt_oss's layer holds them as mlp.experts.up_proj, gemma 4's as experts.switch_glu.up_proj. */
#include <stdlib.h>
#include <string.h>

#include "adapter/mlx.h"

static const char experts[] = ".experts.";
static const char *const holders[] = {".switch_mlp.", ".experts.switch_glu.", ".experts."}; /* the last: whose name has neither */

/* mixtral's names of the three. */
static const struct { const char *hf, *mlx; } parts[] = {{"w1", "gate_proj"}, {"w2", "down_proj"}, {"w3", "up_proj"}};

bool ar__mlx_expert_read(ar_mlx_expert *out, const char *site) {
    const char *at = strstr(site, experts), *number = at ? at + sizeof experts - 1 : NULL;
    size_t digits = at ? strspn(number, "0123456789") : 0;
    if (!digits || digits > 6 || number[digits] != '.') return false;
    *out = (ar_mlx_expert){.stem = (size_t)(at - site), .index = strtol(number, NULL, 10), .part = number + digits + 1};
    return true;
}

void ar__mlx_expert_stack(ar_buf *out, const char *site, const ar_mlx_expert *x) {
    const char *part = x->part;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strcmp(part, parts[i].hf)) part = parts[i].mlx;
    ar__buf_add(out, site, x->stem);
    ar__buf_printf(out, "%s%s", holders[0], part);
}

void ar__mlx_expert_site(ar_buf *out, const char *stack, int64_t index, bool mixtral) {
    const char *at = NULL, *part = "";
    for (size_t i = 0; !at && i < sizeof holders / sizeof *holders; i++)
        if ((at = strstr(stack, holders[i]))) part = at + strlen(holders[i]);
    if (!at) return;
    for (size_t i = 0; mixtral && i < sizeof parts / sizeof *parts; i++)
        if (!strcmp(part, parts[i].mlx)) part = parts[i].hf;
    ar__buf_add(out, stack, (size_t)(at - stack));
    ar__buf_printf(out, "%s%lld.%s", experts, (long long)index, part);
}

int64_t ar__mlx_expert_count(const ar_base *base, const char *site, const ar_mlx_expert *x) {
    ar_buf path = {0};
    int64_t count = 0;
    for (bool more = true; more; count += more) {
        ar__buf_clear(&path);
        ar__buf_add(&path, site, x->stem);
        ar__buf_printf(&path, "%s%lld.%s", experts, (long long)count, x->part);
        more = !path.failed && ar__base_find(base, path.data);
    }
    ar__buf_release(&path);
    return count;
}
