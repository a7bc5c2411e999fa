/* Modules that transformers 5 names otherwise than the files that it reads and writes: an adapter trained there has its
 * names, the base's folder the file's.  A name is STEM + head + N + tail, where N, an expert's number, may be missing. */
#include <string.h>

#include "base/mem.h"
#include "weights/impl.h"

typedef struct name {
    const char *head, *tail;
} name;

static const struct {
    name code, file;
} renamed[] = {
    /* mixtral, minimax, phimoe */
    {{".mlp", ".gate"}, {".block_sparse_moe", ".gate"}},
    {{".mlp", ".router"}, {".block_sparse_moe", ".gate"}},
    {{".mlp.experts.", ".gate_proj"}, {".block_sparse_moe.experts.", ".w1"}},
    {{".mlp.experts.", ".down_proj"}, {".block_sparse_moe.experts.", ".w2"}},
    {{".mlp.experts.", ".up_proj"}, {".block_sparse_moe.experts.", ".w3"}},
    /* lfm2_moe */
    {{".feed_forward.experts.", ".gate_proj"}, {".feed_forward.experts.", ".w1"}},
    {{".feed_forward.experts.", ".down_proj"}, {".feed_forward.experts.", ".w2"}},
    {{".feed_forward.experts.", ".up_proj"}, {".feed_forward.experts.", ".w3"}},
    /* granitemoe */
    {{".block_sparse_moe.experts", ".gate_up_proj"}, {".block_sparse_moe", ".input_linear"}},
    {{".block_sparse_moe.experts", ".down_proj"}, {".block_sparse_moe", ".output_linear"}},
    {{".block_sparse_moe", ".router"}, {".block_sparse_moe.router", ".layer"}},
};

static bool print_renamed(ar_buf *out, const char *site, const name *from, const name *to) {
    const char *at = strstr(site, from->head), *number = at ? at + strlen(from->head) : NULL;
    size_t digits = at ? strspn(number, "0123456789") : 0;
    if (!at || strcmp(number + digits, from->tail) != 0) return false;
    ar__buf_printf(out, "%.*s%s%.*s%s", (int)(at - site), site, to->head, (int)digits, number, to->tail);
    return true;
}

const ar_base_weight *ar__base_find_renamed(const ar_base *base, const char *site) {
    const ar_base_weight *w = NULL;
    for (size_t i = 0; !w && i < sizeof renamed / sizeof *renamed; i++) {
        ar_buf path = {0};
        if (print_renamed(&path, site, &renamed[i].code, &renamed[i].file) && !path.failed) w = ar__base_find_exact(base, path.data);
        ar__buf_release(&path);
    }
    return w;
}

void ar__base_name_in_files(ar_buf *out, const ar_name_map *map, const char *site) {
    for (size_t i = 0; map->renamed_experts && i < sizeof renamed / sizeof *renamed; i++)
        if (print_renamed(out, site, &renamed[i].code, &renamed[i].file)) return;
    ar__buf_puts(out, site);
}

void ar__base_name_in_code(ar_buf *out, const ar_name_map *map, const char *site) {
    for (size_t i = 0; map->renamed_experts && i < sizeof renamed / sizeof *renamed; i++)
        if (print_renamed(out, site, &renamed[i].file, &renamed[i].code)) return;
    ar__buf_puts(out, site);
}
