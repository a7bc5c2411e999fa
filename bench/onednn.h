/* The rival for products that the build itself does not need: Y[m, n] = X[m, k] · op(W), weights packed beforehand. */
#ifndef AR_BENCH_ONEDNN_H
#define AR_BENCH_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct onednn onednn;

/* w: row-major f32 [n][k] (rows) or [k][n].  bf16: X and W are rounded once, before the clock starts.  NULL where the
 * library is not in this build or has no such product. */
onednn *onednn_open(bool bf16, const float *x, const float *w, bool rows, size_t m, size_t n, size_t k);
void onednn_run(onednn *d);
const float *onednn_result(const onednn *d);
void onednn_close(onednn *d); /* NULL is fine */
const char *onednn_version(void);

#endif
