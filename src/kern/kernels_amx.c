/* AMX: 32x32 of C in four tiles, 32 of k at a time.
 *
 *   left    [k / 32][32 rows][32]     two A tiles of 16 rows x 64 bytes: rows as they lie
 *   right   [k / 2][32 columns][2]    two B tiles of 16 pairs of k x 16 columns, 128 bytes from one pair to the next
 *
 *   tiles   0 1   C of rows 0..15       4 5   A, upper and lower rows
 *           2 3   C of rows 16..31      6 7   B, left and right columns
 *
 * A sum starts at zero and is then added to C, never at C: so an element at the edge, which goes through a spare tile,
 * has the same bits as one inside.  The unit flushes denormals.  Packing is AVX-512 BF16's, which such CPUs have. */
#include "kern/kernels.h"
#include "kern/pairs512.h"

enum { MR = 32, NR = 32, KR = 32, HALF = 16 };

/* Intel SDM, TILECFG: palette 1, every tile 16 rows of 64 bytes. */
static void begin(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    _tile_loadconfig(&config);
}

static void end(void) { _tile_release(); }

static void store(float *to, size_t ld) {
    _tile_stored(0, to, ld * sizeof(float));
    _tile_stored(1, to + HALF, ld * sizeof(float));
    _tile_stored(2, to + HALF * ld, ld * sizeof(float));
    _tile_stored(3, to + HALF * ld + HALF, ld * sizeof(float));
}

static void run(size_t k, const uint16_t *a, const uint16_t *b, float *c, size_t ldc, size_t rows, bool accumulate) {
    (void)rows;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t p = 0; p < k; p += KR, a += MR * KR, b += NR * KR) {
        _tile_loadd(4, a, KR * sizeof *a);
        _tile_loadd(6, b, 2 * NR * sizeof *b);
        _tile_loadd(7, b + 2 * HALF, 2 * NR * sizeof *b);
        _tile_loadd(5, a + HALF * KR, KR * sizeof *a);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    if (!accumulate) {
        store(c, ldc);
        return;
    }
    _Alignas(64) float sum[MR * NR];
    store(sum, NR);
    for (size_t i = 0; i < MR; i++)
        for (size_t j = 0; j < NR; j += HALF)
            _mm512_storeu_ps(c + i * ldc + j, _mm512_add_ps(_mm512_loadu_ps(c + i * ldc + j), _mm512_load_ps(sum + i * NR + j)));
}

static size_t depth_of(size_t k) { return (k + KR - 1) / KR * KR; }

static void left(uint16_t *dst, const float *src, size_t ld, size_t rows, size_t k) {
    for (size_t p = 0; p < k; p += KR, dst += MR * KR)
        for (size_t i = 0; i < MR; i++)
            _mm512_storeu_si512(dst + i * KR, i < rows ? round32(src + i * ld + p, k - p) : _mm512_setzero_si512());
}

static void right_rows(uint16_t *dst, const uint16_t *src, size_t ld, size_t cols, size_t k) {
    pairs_of_rows(dst, NR, src, ld, cols, k, depth_of(k));
}

static void right_columns(uint16_t *dst, const uint16_t *src, size_t ld, size_t cols, size_t k) {
    pairs_of_columns(dst, NR, src, ld, cols, k, depth_of(k));
}

void ar__kernels_amx(ar_kernels *k) {
    k->matrix = (ar_bf16_tile){.mr = MR,
                               .nr = NR,
                               .kr = KR,
                               .step = MR,
                               .run = run,
                               .left = left,
                               .right_rows = right_rows,
                               .right_columns = right_columns,
                               .begin = begin,
                               .end = end};
}
