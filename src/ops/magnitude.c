#include "ops/magnitude.h"

#include <math.h>

double ar__row_norm(const ar_row_norms *r, size_t j, double s) {
    double square = r->weight2[j] + 2.0 * s * r->cross[j] + s * s * r->update2[j];
    return sqrt(square > 1e-30 ? square : 1e-30);
}
