/* Between the two files of advise. */
#ifndef AR_ADAPTER_ALGEBRA_ADVISE_H
#define AR_ADAPTER_ALGEBRA_ADVISE_H

#include "alphar/advise.h"

/* Fills out->tools from out->recipe. */
void ar__advise_tools(ar_advice *out);

#endif
