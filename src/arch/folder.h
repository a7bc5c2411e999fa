/* The folder of a base, by what people give for one: an adapter, a folder of the Hugging Face cache, a name on the hub. */
#ifndef AR_ARCH_FOLDER_H
#define AR_ARCH_FOLDER_H

#include "alphar/error.h"

/* AR_OK where path is a folder with a config.json; else an error that says what it is and what to do. */
ar_status ar__folder_check(const char *path, ar_error *err);

#endif
