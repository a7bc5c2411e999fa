/* The AMX kernels with the tile instructions modelled in C: packing, edges, tiles and the driver around them are the
 * product's own code. */
#include <immintrin.h>

#include "amx_model.h" /* takes the place of the compiler's tile intrinsics in what follows */

#define ar__kernels_amx check_kernels_amx_modelled
#include "../../src/kern/kernels_amx.c"
