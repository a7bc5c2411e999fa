/* The tile instructions in plain C (Intel SDM volume 2), so that all that surrounds them can be tested anywhere.
 * One set of tiles per thread.  TDPBF16PS adds the pairs of k in ascending order; the real unit may round otherwise
 * within the same bound. */
#ifndef ALPHAR_AMX_MODEL_H
#define ALPHAR_AMX_MODEL_H

#include <stdlib.h>
#include <string.h>

#include "kern/dtype.h"
#include "kern/half.h"

enum { TILES = 8, TILE_ROWS = 16, TILE_BYTES = 64 };

static _Thread_local unsigned char tile_data[TILES][TILE_ROWS][TILE_BYTES];
static _Thread_local int tile_configured;

/* Only what a whole register file of 16 x 64 bytes needs; anything else is a mistake of the caller. */
static void model_loadconfig(const void *config) {
    const unsigned char *c = config;
    if (c[0] != 1 || c[1] != 0) abort();
    for (int i = 0; i < TILES; i++) {
        uint16_t bytes;
        memcpy(&bytes, c + 16 + 2 * i, sizeof bytes);
        if (bytes != TILE_BYTES || c[48 + i] != TILE_ROWS) abort();
    }
    memset(tile_data, 0, sizeof tile_data);
    tile_configured = 1;
}

static void model_release(void) { tile_configured = 0; }

static void model_move(int t, char *memory, size_t stride, int store) {
    if (!tile_configured) abort();
    for (size_t i = 0; i < TILE_ROWS; i++) {
        char *at = memory + i * stride;
        if (store)
            memcpy(at, tile_data[t][i], TILE_BYTES);
        else
            memcpy(tile_data[t][i], at, TILE_BYTES);
    }
}

static void model_zero(int t) {
    if (!tile_configured) abort();
    memset(tile_data[t], 0, sizeof tile_data[t]);
}

static void model_dpbf16ps(int c, int a, int b) {
    if (!tile_configured) abort();
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float sum;
            memcpy(&sum, &tile_data[c][m][4 * n], sizeof sum);
            for (int k = 0; k < 16; k++)
                for (int half = 0; half < 2; half++) {
                    uint16_t x, y;
                    memcpy(&x, &tile_data[a][m][4 * k + 2 * half], sizeof x);
                    memcpy(&y, &tile_data[b][k][4 * n + 2 * half], sizeof y);
                    sum += ar__bf16_to_f32(x) * ar__bf16_to_f32(y);
                }
            memcpy(&tile_data[c][m][4 * n], &sum, sizeof sum);
        }
}

/* In place of the compiler's. */
#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig model_loadconfig
#define _tile_release model_release
#define _tile_loadd(t, base, stride) model_move(t, (char *)(size_t)(base), stride, 0)
#define _tile_stored(t, base, stride) model_move(t, (char *)(size_t)(base), stride, 1)
#define _tile_zero model_zero
#define _tile_dpbf16ps model_dpbf16ps

#endif
