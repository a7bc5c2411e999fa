/* The library's side of names.py.
 *
 *     names_tool table                 a line for each row: architecture, model types, HF path, GGUF, MLX, kind, order, conv1d
 *     names_tool rows ORDER N H KV     for each GGUF row its Hugging Face row
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/names.h"

static void show(const ar_name_map *map, const ar_name_row *list, int64_t layer) {
    static const char *const kinds[] = {"linear", "head", "embedding", "norm"};
    for (; list->hf; list++) {
        ar_buf hf = {0}, stem = {0}, mlx = {0};
        ar_name name = {list, layer};
        ar__names_print(&hf, map, &name);
        if (ar__names_to_gguf(&stem, map, hf.data, NULL)) exit(1);
        ar__names_to_mlx(&mlx, map, hf.data, false);
        printf("%s\t", map->gguf);
        for (int k = 0; k < AR_NAME_TYPES && map->model_type[k]; k++) printf("%s%s", k ? "," : "", map->model_type[k]);
        printf("\t%s\t%s\t%s\t%s\t%d\t%d\n", hf.data, stem.data, mlx.data, kinds[list->kind], (int)list->order, list->is_conv1d);
        ar__buf_release(&hf);
        ar__buf_release(&stem);
        ar__buf_release(&mlx);
    }
}

static int rows(char **argv) {
    ar_row_map m;
    ar_error err;
    int64_t n = atoll(argv[1]);
    ar_head_counts counts = ar__head_counts_read(argv[2]);
    if (ar__row_map_init(&m, (ar_row_order)atoi(argv[0]), n, &counts, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (int64_t i = 0; i < n; i++) printf("%lld\n", (long long)ar__row_from_gguf(&m, i));
    return 0;
}

int main(int argc, char **argv) {
    const ar_name_map *map;
    if (argc == 5 && !strcmp(argv[1], "rows")) return rows(argv + 2);
    for (int i = 0; (map = ar__names_at(i)); i++) {
        show(map, map->top, -1);
        for (int g = 0; g < AR_NAME_GROUPS && map->group[g]; g++) show(map, map->group[g], 1);
    }
    return 0;
}
