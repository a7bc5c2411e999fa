/* Modules that transformers 5 names otherwise than the files that it reads and writes: an adapter trained there has its
 * names, the base's folder the file's.  A name is STEM + head + N + tail, where N, an expert's number, may be missing. */
#include <string.h>

#include "base/mem.h"
#include "weights/impl.h"

static const struct {
    const char *head, *tail, *file_head, *file_tail;
} renamed[] = {
    /* mixtral, minimax, phimoe */
    {".mlp", ".gate", ".block_sparse_moe", ".gate"},
    {".mlp", ".router", ".block_sparse_moe", ".gate"},
    {".mlp.experts.", ".gate_proj", ".block_sparse_moe.experts.", ".w1"},
    {".mlp.experts.", ".down_proj", ".block_sparse_moe.experts.", ".w2"},
    {".mlp.experts.", ".up_proj", ".block_sparse_moe.experts.", ".w3"},
    /* lfm2_moe */
    {".feed_forward.experts.", ".gate_proj", ".feed_forward.experts.", ".w1"},
    {".feed_forward.experts.", ".down_proj", ".feed_forward.experts.", ".w2"},
    {".feed_forward.experts.", ".up_proj", ".feed_forward.experts.", ".w3"},
    /* granitemoe */
    {".block_sparse_moe.experts", ".gate_up_proj", ".block_sparse_moe", ".input_linear"},
    {".block_sparse_moe.experts", ".down_proj", ".block_sparse_moe", ".output_linear"},
    {".block_sparse_moe", ".router", ".block_sparse_moe.router", ".layer"},
};

const ar_base_weight *ar__base_find_renamed(const ar_base *base, const char *site) {
    const ar_base_weight *w = NULL;
    for (size_t i = 0; !w && i < sizeof renamed / sizeof *renamed; i++) {
        const char *at = strstr(site, renamed[i].head), *number = at ? at + strlen(renamed[i].head) : NULL;
        size_t digits = at ? strspn(number, "0123456789") : 0;
        if (!at || strcmp(number + digits, renamed[i].tail) != 0) continue;
        ar_buf name = {0};
        ar__buf_printf(&name, "%.*s%s%.*s%s", (int)(at - site), site, renamed[i].file_head, (int)digits, number, renamed[i].file_tail);
        if (!name.failed) w = ar__base_find_exact(base, name.data);
        ar__buf_release(&name);
    }
    return w;
}
