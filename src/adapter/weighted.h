/* "PATH:0.5": an adapter and a factor on its s, as commands take them. */
#ifndef AR_ADAPTER_WEIGHTED_H
#define AR_ADAPTER_WEIGHTED_H

#include "alphar/error.h"

/* The last colon, if a number follows it and no such path exists; factor 1 otherwise.  *path is malloc'ed.
 * Errors: AR_ERR_VALUE for a factor that is not finite. */
ar_status ar__weighted_split(char **path, double *factor, const char *text, ar_error *err);

#endif
