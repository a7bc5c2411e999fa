/* What is said about a tokenizer beside its vocabulary: tokenizer_config.json and special_tokens_map.json of a folder, the
 * key-values of a GGUF file. */
#ifndef AR_TEXT_BESIDE_H
#define AR_TEXT_BESIDE_H

#include <jansson.h>

#include "alphar/error.h"

/* path: a folder, a file in one, or a GGUF file, whose folder is not looked at.  *config and *map: objects, NULL where there is none;
 * the caller json_decref's.  Of a GGUF file *config has bos_token, eos_token, …, add_bos_token, add_eos_token and chat_template as
 * tokenizer_config.json would. */
ar_status ar__tokenizer_beside(json_t **config, json_t **map, const char *path, ar_error *err);
/* The folder of a folder or file; NULL: out of memory. */
char *ar__tokenizer_folder(const char *path);

#endif
