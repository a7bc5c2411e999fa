/* Without libdnnl-dev: there is no such rival. */
#include "onednn.h"

onednn *onednn_open(bool bf16, const float *x, const float *w, bool rows, size_t m, size_t n, size_t k) {
    (void)bf16, (void)x, (void)w, (void)rows, (void)m, (void)n, (void)k;
    return NULL;
}
void onednn_run(onednn *d) { (void)d; }
const float *onednn_result(const onednn *d) {
    (void)d;
    return NULL;
}
void onednn_close(onednn *d) { (void)d; }
const char *onednn_version(void) { return NULL; }
