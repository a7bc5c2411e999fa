/* The AMX kernels with the tile instructions modelled in C: packing, edges, tiles and the driver around them are the
 * product's own code. */
#define AR_AMX_MODEL "../tests/checkasm/amx_model.h"
#define ar__kernels_amx check_kernels_amx_modelled
#include "../../src/kern/kernels_amx.c"
