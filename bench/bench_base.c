/* A base of random weights on disk: what tools/device-check trains.
 *
 *     bench_base CONFIG.json FOLDER */
#include <stdio.h>

#include "check/random_base.h"

int main(int argc, char **argv) {
    ar_error err;
    if (argc != 3) {
        fprintf(stderr, "usage: bench_base CONFIG.json FOLDER\n");
        return 2;
    }
    if (!ar__random_base_write(argv[2], argv[1], 1, &err)) return 0;
    fprintf(stderr, "bench_base: %s\n", err.message);
    return 1;
}
