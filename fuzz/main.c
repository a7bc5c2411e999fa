/* Runs a target over the files named on the command line, without libFuzzer: the seeds, or a finding to look at. */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "fuzz.h"

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        ar_error err;
        ar_buf bytes = {0};
        if (ar__file_read(&bytes, argv[i], (size_t)1 << 30, &err)) {
            printf("not ok %s: %s\n", argv[i], err.message);
            return 1;
        }
        /* At its exact size, so that the sanitizer sees a read past it. */
        uint8_t *data = malloc(bytes.len ? bytes.len : 1);
        if (!data) return 1;
        for (size_t k = 0; k < bytes.len; k++) data[k] = (uint8_t)bytes.data[k];
        LLVMFuzzerTestOneInput(data, bytes.len);
        free(data);
        ar__buf_release(&bytes);
        printf("ok %s\n", argv[i]);
        fflush(stdout);
    }
    return 0;
}
