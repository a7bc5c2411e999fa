/* SentencePiece's tokenizer.model: a protobuf.
 *
 *     ModelProto:     1 pieces*, 2 trainer_spec, 3 normalizer_spec
 *     SentencePiece:  1 text, 2 score (float), 3 type
 *     TrainerSpec:    3 model_type, 24 treat_whitespace_as_suffix, 35 byte_fallback, 41 bos_id, 42 eos_id, 44 unk_surface
 *     NormalizerSpec: 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces */
#ifndef AR_TEXT_SPM_H
#define AR_TEXT_SPM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alphar/error.h"
#include "text/charsmap.h"
#include "text/trie.h"

typedef enum ar_spm_type { AR_SPM_NORMAL = 1, AR_SPM_UNKNOWN, AR_SPM_CONTROL, AR_SPM_USER, AR_SPM_UNUSED, AR_SPM_BYTE } ar_spm_type;

typedef struct ar_spm_piece {
    const char *text; /* in the file's bytes */
    size_t len;
    float score;
    ar_spm_type type;
    bool rstrip; /* a control piece that takes the whitespace behind it */
} ar_spm_piece;

/* The file as read; views into its bytes. */
typedef struct ar_spm_file {
    ar_spm_piece *piece;
    size_t count, cap;
    int model_type; /* 1 unigram, 2 BPE, 3 word, 4 character */
    int bos, eos;
    bool byte_fallback, suffix_space, dummy_prefix, squeeze, escape;
    const char *charsmap, *unk_surface;
    size_t charsmap_len, unk_surface_len;
} ar_spm_file;

ar_status ar__spm_parse(ar_spm_file *out, const unsigned char *data, size_t n, ar_error *err);

/* What encoding and decoding need of it besides the model. */
typedef struct ar_spm {
    ar_charsmap map;
    ar_trie user;    /* user-defined pieces: taken whole, before anything else */
    ar_trie control; /* pieces that no text becomes, but what a chat template writes */
    uint8_t *type;   /* by id */
    bool *rstrip;    /* by id */
    int16_t *byte;   /* by id: the byte that it stands for, -1 */
    char *unk_surface;
    size_t unk_surface_len;
    bool suffix_space, dummy_prefix, squeeze, escape;
    bool legacy; /* a text behind a control piece is prefixed as well, as transformers once did (tokenizer_config.json) */
} ar_spm;

void ar__spm_release(ar_spm *spm);
/* Appends the normalised form of valid UTF-8. */
void ar__spm_normalize(ar_buf *out, const ar_spm *spm, const char *s, size_t n, bool no_prefix);

#endif
